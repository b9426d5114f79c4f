// What speaks against a canary and what for it, each beside its threshold; and both sides on one scale.

import { h } from "./dom.js";
import { amount, badge, exactly, ms, percent } from "./words.js";

const called = (criterion) => (typeof criterion === "object" && "slowerThan" in criterion ? `slower than ${criterion.slowerThan / 1000} ms` : typeof criterion === "object" ? "errors" : "slow");

/** The evidence of a rollout; nothing when it has none. */
export function evidence(view) {
  const e = view.evidence;
  if (!e) return null;
  const [harm, limit] = [e.harm, e.harm.decidesAt];
  return h("section", { "aria-labelledby": "evidence" },
    h("h2", { id: "evidence" }, "Evidence ", view.verdict && badge(view.verdict, { pass: "good", fail: "bad" }[view.verdict] ?? "wait")),
    scale("of harm, in all", harm.value, limit, "rolls back", "bad"),
    e.criteria.map((c) => [
      e.criteria.length > 1 && scale(`of harm by ${called(c.criterion)}`, c.harm.value, c.harm.decidesAt, "rolls back", "bad"),
      scale(`of harmlessness by ${called(c.criterion)}`, c.harmless.value, c.harmless.decidesAt, "proves it", "good"),
      beside(c),
      h("p", { class: "quiet" }, sees(c)),
    ]),
    h("ul", { class: "reasons" }, e.reasons.map((reason) => h("li", {}, reason))),
    e.missing > 0 && h("p", { class: "note wait" }, badge("missing", "wait"), ` reports of ${e.missing} proxies`));
}

function sees(c) {
  if (!c.couldSee) return `This step cannot see anything yet in ${called(c.criterion)}: too few requests.`;
  return `This step sees a canary with ${percent(c.couldSee.rate)} ${called(c.criterion)} beside ${percent(c.couldSee.beside)}, four times in five; it cannot see less.`;
}

/** A value on a log scale from a tenth to ten times its threshold, which is marked, as 1 is: that says nothing. */
function scale(what, value, limit, does, as) {
  const [low, high] = [Math.log10(0.1), Math.log10(limit * 10)];
  const at = (v) => `${Math.min(100, Math.max(0, ((Math.log10(Math.max(v, 1e-9)) - low) / (high - low)) * 100))}%`;
  const text = `${amount(value)} ${what}; 1 says nothing, ${amount(limit)} ${does}`;
  return h("div", { class: `scale ${as}` },
    h("div", { class: "line", role: "img", "aria-label": text },
      h("span", { class: "fill", style: { width: at(value) } }),
      h("span", { class: "mark one", style: { left: at(1) } }),
      h("span", { class: "mark limit", style: { left: at(limit) } })),
    h("p", {}, text));
}

/** Both sides' rates with what their counts do not refute, on one scale. */
function beside(c) {
  const most = Math.max(c.canary.rate ?? 0, c.baseline.rate ?? 0, 0.0001);
  const top = Math.min(1, Math.max(most * 2, Math.min(c.canary.highest, c.baseline.highest)));
  const x = (share) => `${(Math.min(share, top) / top) * 100}%`;
  const side = (name, s) => h("div", { class: "side" },
    h("span", {}, name),
    h("div", { class: "line", role: "img", "aria-label": `${name}: ${percent(s.rate)}, between ${percent(s.lowest)} and ${percent(s.highest)}` },
      h("span", { class: `range role-${name}`, style: { left: x(s.lowest), width: `calc(${x(s.highest)} - ${x(s.lowest)})` } }),
      s.rate !== null && h("span", { class: "mark point", style: { left: x(s.rate) } })),
    h("span", { class: "number" }, `${percent(s.rate)}  (${s.step.bad} of ${s.step.requests})`));
  return h("div", { class: "beside" },
    h("h3", {}, called(c.criterion)), side("canary", c.canary), side("baseline", c.baseline),
    h("p", { class: "quiet" }, `0 to ${percent(top)}; the range is what the counts of this step do not refute`));
}

/** What was counted of each subset in the last minute. */
export function numbers(split) {
  if (!split?.subsets.some((s) => s.counts)) return null;
  const top = { rate: 0, errors: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0 };
  for (const { counts } of split.subsets) for (const key of Object.keys(top)) top[key] = Math.max(top[key], counts?.[key] ?? 0);
  const cell = (counts, key, shown) => h("td", {},
    h("span", {}, shown(counts?.[key] ?? null)),
    h("span", { class: "spark", "aria-hidden": "true" }, h("span", { style: { width: `${top[key] ? ((counts?.[key] ?? 0) / top[key]) * 100 : 0}%` } })));
  const row = (s) => h("tr", {},
    h("th", { scope: "row" }, s.name), h("td", {}, exactly(s.share * 100)),
    h("td", {}, (s.counts?.requests ?? 0).toLocaleString("en")),
    cell(s.counts, "rate", (v) => (v === null ? "–" : `${v.toFixed(1)}/s`)), cell(s.counts, "errors", percent),
    cell(s.counts, "p50Ms", ms), cell(s.counts, "p95Ms", ms), cell(s.counts, "p99Ms", ms));
  const heads = ["Subset", "Weight", "Requests", "Rate", "Errors", "p50", "p95", "p99"];
  return h("section", { "aria-labelledby": "numbers" },
    h("h2", { id: "numbers" }, "Side by side"),
    h("div", { class: "wide", tabindex: "0", role: "group", "aria-labelledby": "numbers" }, h("table", {},
      h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, split.subsets.map(row)))),
    h("p", { class: "quiet" }, `${short(split)}: requests since the proxies started; the rest of the last ${Math.round(split.subsets[0].counts?.windowSeconds ?? 60)} s. A line is as long as its number, beside the largest of its column.`));
}

const short = (split) => `split ${split.name.replace(/^default\//, "")}`;
