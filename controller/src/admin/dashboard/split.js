// A split: its weights, its proxies, what was counted.

import { button, refusals } from "./actions.js";
import { children, h } from "./dom.js";
import { numbers } from "./evidence.js";
import { bar } from "./list.js";
import { known } from "./stream.js";
import { badge, exactly, ms, short, time, typed } from "./words.js";

/** Renews the view of a split. */
export function show(main, name) {
  const listed = known.splits.get(name);
  const split = listed && known.details.get(name)?.generation >= (listed.generation ?? 0) ? known.details.get(name) : listed;
  children(main, [split ? page(split) : h("div", { class: "page" }, h("h1", {}, short(name)), h("p", { class: "note" }, "There is no such split (any more): ", h("code", {}, "sluicegate get splits"), " lists those there are. ", h("a", { href: "#/" }, "All of them")))]);
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
function proxies(split, only = () => true) {
  const list = (split.proxies ?? []).filter(only).sort((a, b) => isLate(b) - isLate(a) || (a.node < b.node ? -1 : 1));
  if (!split.live && !list.length) return nobody(split.name);
  if (!list.length) return h("p", { class: "quiet" }, "None.");
  const order = split.subsets.map((s) => s.name);
  const row = (p) => h("tr", {},
    h("th", { scope: "row" }, p.node || "–"), h("td", {}, badge(p.state)), h("td", {}, badge(p.standing)),
    h("td", {}, p.generation ?? "none yet"), h("td", {}, runs(p, order)), h("td", {}, lag(p, split)), h("td", {}, p.version || "–"));
  const heads = ["Proxy", "State", "Standing", "Generation", "Runs", "Ack lag", "Filter"];
  return h("div", { class: "wide tall", tabindex: "0", role: "group", "aria-label": `Proxies of split ${short(split.name)}` }, h("table", { class: "fixed" },
    h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, list.map(row))));
}

const isLate = (p) => p.standing !== "acked" || p.state !== "live";

/** The weights that a proxy runs, in the order of the split's subsets. */
function runs(p, order) {
  if (!p.weights) return p.generation === null ? "the fallback of its configuration" : "unknown here";
  const all = Object.entries(p.weights).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  const sum = all.reduce((sum, [, weight]) => sum + weight, 0);
  return all.map(([name, weight]) => `${name} ${exactly(sum ? (weight / sum) * 100 : 0)}`).join(", ");
}

const lag = (p, split) => (p.lagMs !== null ? ms(p.lagMs) : p.state === "live" ? [time(split.since), " so far"] : "–");

const nobody = (name) => h("p", { class: "quiet" }, "No proxy asks for this split yet: give an Envoy the filter with ", h("code", {}, `"split": "${name}"`), " in its configuration; then ", h("code", {}, "sluicegate get proxies"), " lists it.");

/** The live proxies that have not acked, of each split of a rollout. */
export function late(view, details) {
  const behind = (p) => p.state === "live" && p.standing !== "acked";
  const one = (split) => {
    const count = (split.proxies ?? []).filter(behind).length;
    return [h("h3", {}, h("a", { href: `#/split/${split.name}` }, `Split ${short(split.name)}`), `: generation ${split.generation ?? "–"}, acked by ${split.acked} of ${split.live}`),
      count || !split.live ? proxies(split, behind) : h("p", { class: "quiet" }, `All have acked${split.propagatedMs === null ? "" : `, the last one after ${ms(split.propagatedMs)}`}.`)];
  };
  return h("section", { "aria-labelledby": "late", class: "late-ones" },
    h("h2", { id: "late" }, "Proxies that have not acked"),
    details.length ? details.map(one) : h("p", { class: "quiet" }, view.splits.length ? "…" : "It names no split."));
}
