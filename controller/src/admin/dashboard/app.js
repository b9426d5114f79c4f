// The page: which view the address asks for, and when it is drawn.

import { listen } from "./actions.js";
import * as charts from "./charts.js";
import { h } from "./dom.js";
import * as list from "./list.js";
import * as rollout from "./rollout.js";
import * as split from "./split.js";
import { follow, known, onNews } from "./stream.js";
import { short, tick } from "./words.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
let drawn = "";
let due = false;

/** `#/rollout/default/app` → `["rollout", "default/app"]`. */
function route() {
  const [, kind, namespace, name] = decodeURIComponent(location.hash).split("/");
  return name && (kind === "rollout" || kind === "split") ? [kind, `${namespace}/${name}`] : ["list", ""];
}

function draw() {
  due = false;
  const [kind, name] = route();
  follow(kind, name);
  if (!known.whole) return;
  const place = `${kind}/${name}`;
  const moved = drawn !== "" && drawn !== place;
  if (drawn !== place) main.replaceChildren();
  drawn = place;
  if (kind === "list") list.show(main);
  else if (kind === "rollout") rollout.show(main, name);
  else split.show(main, name);
  document.title = name ? `${short(name)} – Sluicegate` : "Sluicegate";
  if (moved) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

/** Draws once per frame, however much happens. */
function soon() {
  if (due) return;
  due = true;
  requestAnimationFrame(draw);
}

onNews((state) => {
  if (link.dataset.state !== state) {
    link.dataset.state = state;
    link.replaceChildren(h("span", { "aria-hidden": "true" }, state === "live" ? "● " : "✕ "), state === "live" ? "live" : "no connection to the controller; what you see is old; trying again …");
    document.body.classList.toggle("lost", state === "lost");
  }
  soon();
});
addEventListener("hashchange", () => location.hash.startsWith("#/") && soon());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
setInterval(tick, 1000);
listen();
charts.listen(soon);
draw();
