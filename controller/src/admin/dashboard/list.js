// The list: every rollout and split, what wants somebody first.

import { children, h, morph } from "./dom.js";
import { known } from "./stream.js";
import { asks, badge, exactly, phase, rank, short, time, toneOf, versions } from "./words.js";

let filter = "";
/** Of each row: what it was made of, and its element. */
const rows = new Map();

/** Renews the list in `main`, or makes it. */
export function show(main) {
  if (!main.querySelector("#list")) main.replaceChildren(frame());
  const all = [];
  for (const view of known.rollouts.values()) all.push({ key: `rollout/${view.name}`, name: view.name, view });
  for (const split of known.splits.values()) all.push({ key: `split/${split.name}`, name: split.name, split });
  const found = all.filter((one) => one.key.includes(filter));
  for (const one of found) one.rank = rank(one);
  found.sort((a, b) => a.rank - b.rank || (a.view ? 0 : 1) - (b.view ? 0 : 1) || (a.name < b.name ? -1 : 1));
  children(main.querySelector("#count"), [document.createTextNode(count(all))]);
  children(main.querySelector("#problems"), problems());
  place(main.querySelector("#list"), found);
  children(main.querySelector("#empty"), empty(all, found));
}

function frame() {
  const search = h("input", { type: "search", id: "filter", placeholder: "name, or split/ or rollout/", autocomplete: "off", spellcheck: "false" });
  search.value = filter;
  search.addEventListener("input", () => {
    filter = search.value.trim();
    show(document.getElementById("main"));
  });
  const heads = ["What", "Phase", "Step", "Weights", "Verdict", "Acked", "For"].map((text) => h("span", {}, text));
  return h("div", { class: "page" },
    h("div", { class: "bar" }, h("h1", {}, "Rollouts and splits"), h("p", { id: "count" }), h("label", { class: "search" }, "Find ", search)),
    h("div", { id: "problems" }),
    h("div", { class: "row heads", "aria-hidden": "true" }, heads),
    h("ul", { id: "list", "aria-label": "Rollouts and splits" }),
    h("div", { id: "empty" }));
}

function count(all) {
  if (!known.whole) return "…";
  const views = known.rollouts.size;
  const wanted = all.filter((one) => rank(one) < 2).length;
  const one = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
  return `${one(views, "rollout")}, ${one(known.splits.size, "split")}` + (wanted ? `; ${wanted} want${wanted === 1 ? "s" : ""} somebody` : "");
}

function problems() {
  const text = (p) => `${p.file}${p.line ? `:${p.line}` : ""}${p.column ? `:${p.column}` : ""}: ${p.message}`;
  const wrong = known.problems.map((p) => h("p", { class: "note bad" }, badge("problem", "bad"), " ", text(p)));
  const vain = known.missing.map((m) => h("p", { class: "note wait" }, badge("missing", "wait"), ` ${m.proxies} live proxies ask for the split ${m.name}, which there is not`));
  return [...wrong, ...vain];
}

function empty(all, found) {
  if (known.whole && found.length && !known.rollouts.size) {
    return [h("p", { class: "quiet" }, "There is no rollout yet: ", h("code", {}, "cp examples/canary-deploy.yaml FOLDER/"), ", and change its ", h("code", {}, "version"), " to begin one.")];
  }
  if (!known.whole || found.length) return [];
  if (all.length) return [h("p", { class: "note" }, `Nothing is called like ${filter}.`)];
  if (known.looker) return [h("p", { class: "note" }, `There is no split and no rollout in ${known.looker.namespace ? `namespace ${known.looker.namespace}` : "the cluster"} that you may see.`)];
  return [h("div", { class: "note" },
    h("p", {}, "There is no split and no rollout yet. Put YAML into the controller's folder; to begin with:"),
    h("pre", {}, "cp examples/traffic-split.yaml FOLDER/"))];
}

/** Puts the rows in order; rows whose data is the same stay as they are. */
function place(list, found) {
  const seen = new Set();
  let after = null;
  for (const one of found) {
    seen.add(one.key);
    const of = one.view ?? one.split;
    let row = rows.get(one.key);
    if (row?.element.parentNode !== list) row = undefined;
    if (!row) rows.set(one.key, (row = { of, element: make(one) }));
    else if (row.of !== of) {
      row.of = of;
      row.element = morph(row.element, make(one));
    }
    const next = after ? after.nextSibling : list.firstChild;
    if (next !== row.element) list.insertBefore(row.element, next);
    after = row.element;
  }
  for (const [key, row] of rows) {
    if (seen.has(key)) continue;
    row.element.remove();
    rows.delete(key);
  }
}

function make({ key, view, split }) {
  const [kind] = key.split("/");
  const name = view?.name ?? split.name;
  const cell = (title, ...inside) => h("span", { class: "cell", "data-title": title }, ...inside);
  const link = h("a", { href: `#/${kind}/${name}` }, short(name));
  const acked = (of) => h("span", { class: of.live && of.acked === of.live ? "" : "late" }, `${of.acked}/${of.live}`);
  if (view) {
    return h("li", { class: "row", "data-key": key },
      cell("", link, h("small", {}, `${view.kind || "rollout"} ${versions(view) ?? ""}`)),
      cell("Phase", badge(phase(view), toneOf(view)), asks(view) && h("small", {}, "waits for a person")),
      cell("Step", view.step ? `${view.step}/${view.steps.length}` : "–"),
      cell("Weights", bar([["canary", view.weights.canary], ["baseline", view.weights.baseline], ["main", view.weights.main]])),
      cell("Verdict", view.verdict ? badge(view.verdict, { pass: "good", fail: "bad" }[view.verdict] ?? "wait") : "–"),
      cell("Acked", acked(view)), cell("For", time(view.since)),
      view.trouble && h("small", { class: "trouble" }, "✕ ", view.trouble));
  }
  const bad = split.conditions.find((c) => c.status === "False");
  return h("li", { class: "row", "data-key": key },
    cell("", link, h("small", {}, "split")),
    cell("Phase", split.generation === null ? badge("Refused", "bad") : badge(bad ? bad.reason : "InForce", bad ? (bad.reason === "Waiting" ? "wait" : "bad") : "good")),
    cell("Step", "–"),
    cell("Weights", bar(split.subsets.map((s) => [s.name, String(s.share * 100)]))),
    cell("Verdict", "–"), cell("Acked", acked(split)), cell("For", time(split.since)),
    split.problems.length > 0 && h("small", { class: "trouble" }, "✕ ", split.problems[0].message));
}

/** Weights side by side; `of`: names with percents. */
export function bar(of) {
  const parts = of.map(([name, weight]) => [name, Number(weight ?? 0)]).filter(([, weight]) => weight > 0);
  const text = parts.map(([name, weight]) => `${name} ${exactly(weight)}`).join(", ") || "no weight";
  const piece = ([name, weight], at) => h("span", { class: `part role-${["canary", "baseline", "main"].includes(name) ? name : at % 6}`, style: { width: `${weight}%` } });
  return h("span", { class: "weights", title: text },
    h("span", { class: "track", "aria-hidden": "true" }, parts.map(piece)), h("small", {}, text));
}
