// The page: which view the address asks for, and when it is drawn.

import { listen } from "./actions.js";
import * as charts from "./charts.js";
import { h } from "./dom.js";
import * as list from "./list.js";
import * as rollout from "./rollout.js";
import * as split from "./split.js";
import { follow, known, onNews } from "./stream.js";
import * as trial from "./trial.js";
import { short, tick, typed } from "./words.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
const who = document.getElementById("who");
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

function words(state) {
  if (state === "live") return "live";
  const silent = state === "old" ? "no answer of the API server" : known.looker ? "no connection to `sluicegate dashboard`" : "no connection to the controller";
  return [typed(silent), "; what you see is old; trying again …"];
}

onNews((state) => {
  if (link.dataset.state !== state) {
    link.dataset.state = state;
    link.replaceChildren(h("span", { "aria-hidden": "true" }, state === "live" ? "● " : "✕ "), ...[words(state)].flat(2));
    document.body.classList.toggle("lost", state !== "live");
  }
  const at = known.looker;
  who.textContent = at ? `${at.context}, ${at.namespace ? `namespace ${at.namespace}` : "all namespaces"}, as ${at.user}` : "";
  soon();
});
addEventListener("hashchange", () => location.hash.startsWith("#/") && soon());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
setInterval(tick, 1000);
listen();
trial.listen();
charts.listen(soon);
draw();
