// The list: every rollout and split, what wants somebody first.

import { children, h, morph } from "./dom.js";
import { known } from "./stream.js";
import { asks, badge, exactly, phase, rank, short, time, toneOf, versions } from "./words.js";

/** So many rows are made or renewed at once; the others follow in the next frames, so that the page never stops. */
const SLICE = 50;
let filter = "";
let page = null;
let due = false;
/** Of each row: what it was made of, and its element. */
const rows = new Map();

/** Renews the list in `main`, or makes it. */
export function show(main) {
  page ??= frame();
  if (page.parentNode !== main) main.replaceChildren(page);
  const all = [];
  for (const view of known.rollouts.values()) all.push({ key: `rollout/${view.name}`, name: view.name, of: view, view });
  for (const split of known.splits.values()) all.push({ key: `split/${split.name}`, name: split.name, of: split, split });
  for (const one of all) one.rank = rank(one);
  const found = all.filter((one) => one.key.includes(filter));
  found.sort((a, b) => a.rank - b.rank || (a.view ? 0 : 1) - (b.view ? 0 : 1) || (a.name < b.name ? -1 : 1));
  const list = page.querySelector("#list");
  const stay = settled(list, found);
  const held = hold(list, stay);
  children(page.querySelector("#count"), [document.createTextNode(count(all))]);
  children(page.querySelector("#problems"), problems());
  children(page.querySelector("#empty"), empty(all, found));
  if (place(list, found, stay)) later(main);
  const moved = held ? held.row.getBoundingClientRect().top - held.top : 0;
  if (Math.abs(moved) >= 1) scrollBy(0, moved);
}

/** Goes on in the next frame, if the list is still what is shown. */
function later(main) {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    if (page.parentNode === main) show(main);
  });
}

function frame() {
  const search = h("input", { type: "search", id: "filter", placeholder: "name, or split/ or rollout/", autocomplete: "off", spellcheck: "false", size: "28" });
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
  const wanted = all.filter((one) => one.rank < 2).length;
  const one = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
  return `${one(views, "rollout")}, ${one(known.splits.size, "split")}` + (wanted ? `; ${wanted} want${wanted === 1 ? "s" : ""} somebody` : "");
}

function problems() {
  const text = (p) => `${p.file}${p.line ? `:${p.line}` : ""}${p.column ? `:${p.column}` : ""}: ${p.message}`;
  const wrong = known.problems.map((p) => h("p", { class: "note bad" }, badge("problem", "bad"), " ", text(p)));
  const vain = known.missing.map((m) => h("p", { class: "note wait" }, badge("missing", "wait"), ` ${m.proxies} live proxies ask for the split ${m.name}, which there is not`));
  return [...wrong, ...vain];
}

const FIRST = `apiVersion: sluicegate.dev/v1alpha1
kind: TrafficSplit
metadata: { name: backend }
spec:
  subsets: [{ name: v1, weight: 90 }, { name: v2, weight: 10 }]
  default: v1`;

function empty(all, found) {
  if (!known.whole || found.length) return [];
  if (all.length) return [h("p", { class: "note" }, `Nothing is called like ${filter}.`)];
  if (known.looker) return [h("p", { class: "note" }, `There is no split and no rollout in ${known.looker.namespace ? `namespace ${known.looker.namespace}` : "the cluster"} that you may see.`)];
  return [h("div", { class: "note" },
    h("p", {}, "There is no split and no rollout yet. To begin with, save this as ", h("code", {}, "backend.yaml"), " in the folder of ", h("code", {}, "sluicegate serve --dir FOLDER"), "; in a cluster, ", h("code", {}, "kubectl apply -f backend.yaml"), ":"),
    h("pre", { tabindex: "0" }, FIRST),
    h("p", {}, "It is here at once. Its page has a button that changes the weights; so does ", h("code", {}, "sluicegate set-weight backend v1=50 v2=50"), "."))];
}

/** The keys of the rows that need not move: of those that there are, the most that are in order already. */
function settled(list, found) {
  const places = new Map([...list.children].map((element, at) => [element.dataset.key, at]));
  return rising(found.map((one) => [one.key, places.get(one.key)]));
}

/** Under the header, the row that is read, and where it is: what comes above it is not to move it. Browsers have no eye for rows that are not laid out. */
function hold(list, stay) {
  const { left, top } = list.getBoundingClientRect();
  const edge = document.querySelector("header").getBoundingClientRect().bottom;
  if (top >= edge) return null;
  let row = document.elementFromPoint(left + 1, edge + 1)?.closest("#list > li");
  while (row && !stay.has(row.dataset.key)) row = row.nextElementSibling;
  return row && { row, top: row.getBoundingClientRect().top };
}

/** Puts the rows in order; rows whose data is the same stay as they are. Whether some are still to be done. */
function place(list, found, stay) {
  const focus = document.activeElement;
  const wanted = new Set(found.map((one) => one.key));
  for (const [key, row] of rows) {
    if (!stay.has(key)) row.element.remove();
    if (!wanted.has(key)) rows.delete(key);
  }
  let left = SLICE;
  let more = false;
  let next = list.firstChild;
  for (const one of found) {
    let row = rows.get(one.key);
    if (row?.of !== one.of) {
      if (left > 0) {
        left -= 1;
        const element = row ? morph(row.element, make(one)) : make(one);
        rows.set(one.key, (row = { of: one.of, element }));
      } else more = true;
    }
    if (!row) continue;
    if (row.element === next) next = next.nextSibling;
    else list.insertBefore(row.element, next);
  }
  if (focus !== document.activeElement && list.contains(focus)) focus.focus({ preventScroll: true });
  return more;
}

/** Of `[key, place]`, the most whose places rise already: one row that goes to the end is to move no other. */
function rising(list) {
  const ends = [];
  const before = [];
  list.forEach(([, place], at) => {
    if (place === undefined) return;
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[ends[middle]][1] < place) low = middle + 1;
      else high = middle;
    }
    before[at] = ends[low - 1];
    ends[low] = at;
  });
  const stay = new Set();
  for (let at = ends.at(-1); at !== undefined; at = before[at]) stay.add(list[at][0]);
  return stay;
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
