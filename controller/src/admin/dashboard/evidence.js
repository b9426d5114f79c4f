// What speaks against a canary and what for it, each beside its threshold; and both sides on one scale.

import { h } from "./dom.js";
import { amount, badge, exactly, ms, percent } from "./words.js";

const called = (criterion) => (typeof criterion === "object" && "slowerThan" in criterion ? `slower than ${criterion.slowerThan / 1000} ms` : typeof criterion === "object" ? "errors" : "slow");

/** What is known of canary and baseline by their counts, and how far it is from a verdict. */
export function evidence(view) {
  if (view.kind !== "CanaryDeploy") return null;
  const e = view.evidence;
  return h("section", { "aria-labelledby": "evidence", class: "evidence" },
    h("h2", { id: "evidence" }, "Evidence ", view.verdict && badge(view.verdict, { pass: "good", fail: "bad" }[view.verdict] ?? "wait")),
    e ? weighed(e) : nothing(view));
}

function nothing(view) {
  if (view.step === null) return h("p", { class: "quiet" }, "There is none: nothing is compared now. It is gathered from the first step of the next version on; ", h("code", {}, "sluicegate judge FILE"), " tries a configuration on a recording.");
  return h("p", { class: "quiet" }, "None yet: it comes with the first requests to canary and baseline. If none come, look whether traffic goes through the proxies: ", h("code", {}, `sluicegate describe ${view.splits[0]?.replace(/^default\//, "") ?? "SPLIT"}`));
}

function weighed(e) {
  const [warns, fails] = [[e.warning, "does not pass by itself"], [e.harm.decidesAt, "rolls back"]];
  const proves = (c) => [[c.harmless.decidesAt, e.passWhen === "provenHarmless" ? "passes" : "proves it"]];
  return [
    scale("of harm, in all", e.harm, [warns, fails], "bad"),
    e.criteria.map((c) => [
      e.criteria.length > 1 && scale(`of harm by ${called(c.criterion)}`, c.harm, [warns, [c.harm.decidesAt, "rolls back"]], "bad"),
      scale(`of harmlessness by ${called(c.criterion)}`, c.harmless, proves(c), "good"),
      beside(called(c.criterion), [["canary", c.canary], ["baseline", c.baseline]]),
      h("p", { class: "quiet sight" }, sees(c), " ", near(c, e)),
    ]),
    e.limits.map((l) => [
      scale(`against the limit of ${percent(l.max)} ${called(l.criterion)}`, l.harm, [warns, [l.harm.decidesAt, "rolls back"]], "bad"),
      beside(`${called(l.criterion)}, at most ${percent(l.max)}`, [["canary", l.canary]], l.max),
    ]),
    h("ul", { class: "reasons" }, e.reasons.map((reason) => h("li", {}, reason))),
    h("p", { class: "missing" }, e.missing > 0 && [badge("missing", "wait"), ` reports of ${e.missing} proxies: `, h("code", {}, "sluicegate get proxies")]),
  ];
}

function sees(c) {
  if (!c.couldSee) return `This step cannot see anything yet in ${called(c.criterion)}: too few requests.`;
  return `This step sees a canary with ${percent(c.couldSee.rate)} ${called(c.criterion)} beside ${percent(c.couldSee.beside)}, four times in five; it cannot see less.`;
}

/** How far it is to a verdict, in requests. */
function near(c, e) {
  const some = (n) => `${Number(n.toPrecision(2)).toLocaleString("en")} more requests`;
  const few = [["canary", c.canary], ["baseline", c.baseline]].filter(([, side]) => side.step.requests < e.minRequests);
  const parts = few.map(([name, side]) => `${e.minRequests - side.step.requests} more on the ${name} before it can pass`);
  // What is that far away is not in sight.
  if (c.failsAfter && c.failsAfter < 100 * (c.canary.step.requests + c.baseline.step.requests)) parts.push(`if it goes on like this, about ${some(c.failsAfter)} of both show harm`);
  if (c.provenAfter) parts.push(`if it goes on like this, about ${some(c.provenAfter)} of both prove it harmless`);
  return parts.length ? `It needs: ${parts.join("; ")}.` : "";
}

/** A level on a log scale from a tenth to ten times its last threshold; thresholds are marked, and 1, which says nothing. */
function scale(what, level, marks, as) {
  const last = marks.at(-1)[0];
  const [low, high] = [Math.log10(0.1), Math.log10(last * 10)];
  const at = (v) => `${Math.min(100, Math.max(0, ((Math.log10(Math.max(v, 1e-9)) - low) / (high - low)) * 100))}%`;
  const was = level.peak > level.value * 1.01 && level.peak > 1.01;
  const text = `${amount(level.value)} ${what}${was ? `, at most ${amount(level.peak)} so far` : ""}; 1 says nothing, ${marks.map(([limit, does]) => `${amount(limit)} ${does}`).join(", ")}`;
  return h("div", { class: `scale ${as}` },
    h("div", { class: "line", role: "img", "aria-label": text },
      h("span", { class: "fill", style: { width: at(level.value) } }),
      h("span", { class: "mark one", style: { left: at(1) } }),
      was && h("span", { class: "mark peak", style: { left: at(level.peak) } }),
      marks.map(([limit], index) => h("span", { class: `mark limit ${index + 1 < marks.length ? "soft" : ""}`, style: { left: at(limit) } }))),
    h("p", {}, text));
}

/** Rates with what their counts do not refute, on one scale; with a limit, that too. */
function beside(title, sides, limit) {
  const most = Math.max(...sides.map(([, s]) => s.rate ?? 0), limit ?? 0, 0.0001);
  const top = Math.min(1, Math.max(most * 2, Math.min(...sides.map(([, s]) => s.highest))));
  const x = (share) => `${(Math.min(share, top) / top) * 100}%`;
  const side = ([name, s]) => h("div", { class: "side" },
    h("span", {}, name),
    h("div", { class: "line", role: "img", "aria-label": `${name}: ${percent(s.rate)}, between ${percent(s.lowest)} and ${percent(s.highest)}` },
      h("span", { class: `range role-${name}`, style: { left: x(s.lowest), width: `calc(${x(s.highest)} - ${x(s.lowest)})` } }),
      limit && h("span", { class: "mark limit", style: { left: x(limit) } }),
      s.rate !== null && h("span", { class: "mark point", style: { left: x(s.rate) } })),
    h("span", { class: "number" }, `${percent(s.rate)}  (${s.step.bad} of ${s.step.requests})`));
  return h("div", { class: "beside" },
    h("h3", {}, title), sides.map(side),
    h("p", { class: "quiet" }, `0 to ${percent(top)}; the range is what the counts of this step do not refute${limit ? "; the thick mark is the limit" : ""}`));
}

/** What was counted of each subset in the last minute. */
export function numbers(split) {
  if (!split?.subsets.some((s) => s.counts)) return null;
  const silent = split.subsets.every((s) => !s.counts?.requests);
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
    h("div", { class: "wide", tabindex: "0", role: "group", "aria-labelledby": "numbers" }, h("table", { class: "fixed" },
      h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, split.subsets.map(row)))),
    silent && h("p", { class: "quiet" }, "No request has been counted yet. Send one through a proxy that serves this split, then: ", h("code", {}, `sluicegate describe ${split.name.replace(/^default\//, "")}`)),
    h("p", { class: "quiet" }, `${short(split)}: requests since the proxies started; the rest of the last ${Math.round(split.subsets[0].counts?.windowSeconds ?? 60)} s. A line is as long as its number, beside the largest of its column.`));
}

const short = (split) => `split ${split.name.replace(/^default\//, "")}`;
