// A split: its weights, its proxies, what was counted.

import { button, refusals } from "./actions.js";
import { children, h } from "./dom.js";
import { numbers } from "./evidence.js";
import { bar } from "./list.js";
import { known } from "./stream.js";
import { badge, ms, short, time, typed } from "./words.js";

/** Renews the view of a split. */
export function show(main, name) {
  const listed = known.splits.get(name);
  const split = listed && known.detail?.name === name && known.detail.generation >= (listed.generation ?? 0) ? known.detail : listed;
  children(main, [split ? page(split) : h("div", { class: "page" }, h("h1", {}, short(name)), h("p", { class: "note" }, "There is no such split (any more). ", h("a", { href: "#/" }, "All of them")))]);
}

/** The rollout that leads a split, if one does. */
export const leader = (name) => [...known.rollouts.values()].find((view) => view.splits.includes(name) && view.phase !== "Gone");

function page(split) {
  const led = leader(split.name);
  return h("div", { class: "page" },
    h("div", { class: "bar" }, h("h1", {}, short(split.name)), h("p", {}, "split, generation ", split.generation ?? "–", ", for ", time(split.since), `; ${split.assignment}`)),
    split.problems.map((p) => h("p", { class: "note bad", role: "alert" }, badge("problem", "bad"), ` ${p.file}${p.line ? `:${p.line}` : ""}: ${p.message}`)),
    h("section", { "aria-labelledby": "weights" },
      h("h2", { id: "weights" }, "Weights"),
      bar(split.subsets.map((s) => [s.name, String(s.share * 100)])),
      led ? h("p", {}, "Led by ", h("a", { href: `#/rollout/${led.name}` }, `${led.kind} ${short(led.name)}`), ": its weights are changed there.")
        : split.generation !== null && [h("p", { class: "buttons" }, button("weights", split.name, "Change the weights …")), refusals(["weights"], split.name)]),
    h("section", { "aria-labelledby": "conditions" },
      h("h2", { id: "conditions" }, "Conditions"),
      split.conditions.map((c) => h("p", {}, badge(c.type, { True: "good", False: "bad" }[c.status] ?? "wait"), ` ${c.reason}: ${c.message}`))),
    numbers(split),
    h("section", { "aria-labelledby": "proxies" },
      h("h2", { id: "proxies" }, `Proxies: ${split.acked} of ${split.live} acked`),
      known.looker ? elsewhere(split.name) : proxies(split)));
}

/** Where to find what is not in the objects of a cluster. */
export const elsewhere = (name) => h("p", { class: "quiet" }, typed(`Which proxies there are, and what they count just now, only a controller knows: \`kubectl port-forward\` to port 7071 of the one that leads, then \`sluicegate describe ${name}\`.`));

/** A table of proxies; those that have not acked first. */
export function proxies(split, only = () => true) {
  const late = (p) => p.standing !== "acked" || p.state !== "live";
  const list = (split.proxies ?? []).filter(only).sort((a, b) => late(b) - late(a) || (a.node < b.node ? -1 : 1));
  if (!list.length) return h("p", { class: "quiet" }, split.live ? "None." : "No proxy asks for this split yet: give an Envoy the filter and the name of the split.");
  const row = (p) => h("tr", {},
    h("th", { scope: "row" }, p.node || "–"), h("td", {}, badge(p.state)), h("td", {}, badge(p.standing)),
    h("td", {}, p.generation ?? "–"), h("td", {}, ms(p.lagMs)), h("td", {}, p.version || "–"));
  return h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Proxies" }, h("table", {},
    h("thead", {}, h("tr", {}, ["Proxy", "State", "Standing", "Generation", "Lag", "Filter"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, list.map(row))));
}
