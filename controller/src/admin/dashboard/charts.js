// Charts of a rollout over time: weights as they were published, and canary beside baseline on the same scales.

import { h } from "./dom.js";
import { known, skew } from "./stream.js";
import { atRest, inForce, linear, log, pointAt, run } from "./times.js";
import { exactly, ms, percent, short, time } from "./words.js";

const WIDE = 1000;
const HIGH = 100;
/** Rows of the table. */
const ROWS = 24;
const LATENCIES = ["p50", "p95", "p99"];
/** From bottom to top. */
const ROLES = ["canary", "baseline", "main"];

/** Where the pointer is, or else the slider: 0 to 1 of the time shown. */
let hover = null;
let slid = 1;
let of = "";

/** Hears the pointer and the slider; `moved` draws anew. */
export function listen(moved) {
  const over = (event) => {
    const plot = event.target.closest?.(".plot");
    const box = plot?.getBoundingClientRect();
    const at = box ? Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) : null;
    if (at === hover) return;
    hover = at;
    moved();
  };
  document.addEventListener("pointermove", over);
  document.addEventListener("pointerdown", over);
  document.addEventListener("input", (event) => {
    if (event.target.id !== "moment") return;
    slid = event.target.value / 1000;
    moved();
  });
}

/** All charts of a rollout. */
export function charts(view) {
  if (of !== view.name) [of, slid, hover] = [view.name, 1, null];
  const series = known.series;
  const shown = run(view, series, Math.floor((Date.now() + skew()) / 1000) * 1000);
  if (!shown) return section(h("p", { class: "quiet" }, "Nothing has been under way yet. The charts begin with the next version: write it into ", h("code", {}, view.file || "its document"), "."));
  const at = shown.from + (hover ?? slid) * (shown.until - shown.from);
  const points = (series?.points ?? []).filter((p) => Date.parse(p.until) > shown.from);
  const sides = view.kind === "CanaryTest" ? ["canary", "main"] : ["canary", "baseline"];
  const point = pointAt(points, at);
  return section(
    weightsChart(shown, at),
    series ? besides(shown, points, sides, point, at) : h("p", { class: "quiet", id: "no-series" }, missing(view)),
    h("label", { class: "moment" }, "Moment ", h("input", { type: "range", id: "moment", min: 0, max: 1000, step: 5, value: 1000, "aria-valuetext": readout(shown, point, sides, at) })),
    h("p", { class: "readout", "aria-hidden": "true" }, readout(shown, point, sides, at)),
    series && foot(series, sides),
    series && points.length > 0 && table(points, sides));
}

function section(...inside) {
  return h("section", { "aria-labelledby": "charts" }, h("h2", { id: "charts" }, "Over time"), inside);
}

function missing(view) {
  if (atRest(view)) return `What the proxies count over time is remembered while a version is under way, and for some minutes after. The next one begins when ${view.file || "its document"} says another version.`;
  return "What was counted over time is in the memory of the controller that leads this rollout, which this page does not reach. The weights are from the rollout's history.";
}

function foot(series, sides) {
  return h("p", { class: "quiet" },
    `Remembered since `, time(series.since), ` ago. Solid: ${sides[0]}; dashed: ${sides[1]}. A band is what the counts of that time do not refute, at ${percent(series.confidence)}, however often one looks; rates are exact. Both sides are always on one scale, and so are the three latencies.`);
}

const clock = (at) => new Date(at).toLocaleTimeString("en-GB");

function readout(shown, point, sides, at) {
  const { weights } = inForce(shown.weights, at);
  const parts = [`${clock(at)}: weights ${ROLES.filter((role) => weights[role] !== undefined).map((role) => `${role} ${exactly(weights[role])}`).join(", ")}`];
  for (const name of sides) {
    const side = point?.sides[name];
    if (side) parts.push(`${name} ${side.rate.toFixed(1)}/s, ${percent(side.errors?.[0])} errors, p95 ${ms(side.p95?.[0])}`);
  }
  return parts.join("; ");
}

/** The weights, one upon the other. */
function weightsChart(shown, at) {
  const roles = ROLES.filter((role) => shown.weights.some((one) => one.weights[role] > 0));
  const x = across(shown);
  const ends = (index) => x(shown.weights[index + 1]?.at ?? shown.until);
  const now = inForce(shown.weights, at);
  let below = 0;
  const labels = roles.map((role) => {
    const weight = now.weights[role] ?? 0;
    below += weight;
    return { name: role, text: `${role} ${exactly(weight)}`, y: (below - weight / 2) / 100 };
  });
  const part = (role, order) => {
    const under = (one) => roles.slice(0, order).reduce((sum, other) => sum + (one.weights[other] ?? 0), 0);
    const box = (one, index) => {
      const [low, high] = [under(one), under(one) + (one.weights[role] ?? 0)];
      return high > low ? `M${x(one.at)} ${HIGH - high}H${ends(index)}V${HIGH - low}H${x(one.at)}Z` : "";
    };
    return h("path", { class: `area of-${role}`, d: shown.weights.map(box).join("") });
  };
  const said = `weights at ${clock(at)}: ${labels.map((label) => label.text).join(", ")}; from bottom to top canary, baseline, main`;
  return figure("weights", "Weights", "linear, 0 to 100 %, one upon the other", said, shown, at, { top: "100 %", low: "0 %" }, roles.map(part), labels, shown.marks);
}

/** Canary beside the other: rate, errors, latencies. */
function besides(shown, points, sides, point, at) {
  const all = (key) => points.flatMap((p) => sides.map((name) => p.sides[name] && value(p.sides[name], key))).filter(Boolean);
  const latency = log(LATENCIES.flatMap(all));
  const one = (key, title, scale, said, unit) => {
    const y = (v) => HIGH * (1 - scale.at(v));
    const drawn = sides.flatMap((name) => line(points, name, key, across(shown), y));
    const labels = sides.map((name) => {
      const side = point?.sides[name];
      const of = side && value(side, key);
      return { name, text: `${name} ${of ? said(of[0]) : "–"}`, long: of && key !== "rate" ? ` (${said(of[1])} to ${of[2] === null ? "?" : said(of[2])})` : "", y: of ? scale.at(of[0]) : name === "canary" ? 0.6 : 0.2 };
    });
    const words = `${title} at ${clock(at)}: ${labels.map((label) => label.text + label.long).join(", ")}`;
    return figure(key, title, unit, words, shown, at, { top: said(scale.top), low: scale.log ? said(scale.low) : "0" }, drawn, labels, shown.marks);
  };
  const rate = (v) => `${v >= 100 ? v.toFixed(0) : v.toFixed(1)}/s`;
  return h("div", { class: "charts" },
    one("rate", "Rate", linear(all("rate"), 1), rate, "linear"),
    one("errors", "Errors", linear(all("errors"), 0.001, 1), percent, "linear"),
    LATENCIES.map((key) => one(key, key, latency ?? { low: 1, top: 10, log: true, at: () => 0 }, ms, "log")),
    h("p", { class: "quiet nothing" }, all("rate").length ? "" : nothing(points)));
}

const nothing = (points) => [points.length ? "No request has come to either side yet: send some through a proxy; " : "The first point comes after five seconds; meanwhile ", h("code", {}, `sluicegate watch ${short(of)}`)];

const value = (side, key) => (key === "rate" ? [side.rate, side.rate, side.rate] : side[key]);

const across = (shown) => (at) => Math.round(((Math.min(Math.max(at, shown.from), shown.until) - shown.from) / (shown.until - shown.from)) * WIDE * 10) / 10;

/** A side's band and line; where it had nothing there is a gap. */
function line(points, name, key, x, y) {
  let [path, band, last] = ["", "", -Infinity];
  const at = (v) => Math.round(y(v) * 10) / 10;
  for (const p of points) {
    const of = p.sides[name] && value(p.sides[name], key);
    const [from, until] = [Date.parse(p.until) - p.seconds * 1000, Date.parse(p.until)];
    if (!of || x(until) <= x(from)) continue;
    const [middle, low, high] = [at(of[0]), at(of[1]), of[2] === null ? 0 : at(of[2])];
    path += `${from - last > 1500 ? "M" : "L"}${x(from)} ${middle}H${x(until)}`;
    band += `M${x(from)} ${high}H${x(until)}V${low}H${x(from)}Z`;
    last = until;
  }
  return [key !== "rate" && h("path", { class: `band of-${name}`, d: band }), h("path", { class: `stroke of-${name}`, d: path })];
}

/** A frame with a title, the drawing, a line at the moment looked at, and labels at its end. */
function figure(key, title, unit, said, shown, at, scale, drawn, labels, marks) {
  const x = across(shown);
  const placed = apart(labels);
  return h("figure", { class: "chart", "data-chart": key },
    h("figcaption", {}, title, " ", h("small", {}, unit)),
    h("div", { class: "frame" },
      h("div", { class: "plot", role: "img", "aria-label": said, "data-top": scale.top, "data-low": scale.low },
        h("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true" },
          drawn, marks.map((mark) => h("line", { class: "step", x1: x(mark.at), x2: x(mark.at), y1: 0, y2: HIGH })),
          h("line", { class: "cursor", x1: x(at), x2: x(at), y1: 0, y2: HIGH })),
        h("span", { class: "high" }, scale.top), h("span", { class: "low" }, scale.low),
        key === "weights" && marks.map((mark) => h("span", { class: "nth", style: { left: `${x(mark.at) / (WIDE / 100)}%` } }, mark.step))),
      h("div", { class: "ends", "aria-hidden": "true" }, placed.map((label) => h("span", { class: `end of-${label.name}`, style: { bottom: `${label.y * 100}%` } }, label.text)))),
    h("p", { class: "axis", "aria-hidden": "true" }, h("span", {}, clock(shown.from)),
      key === "weights" ? h("span", {}, marks.length ? `dashed: steps ${marks.map((mark) => mark.step).join(", ")}` : "") : "", h("span", {}, clock(shown.until))));
}

/** Labels, each far enough from the one below it, and inside. */
function apart(labels) {
  const least = 0.18;
  const sorted = labels.map((label) => ({ ...label })).sort((a, b) => a.y - b.y);
  sorted.forEach((label, at) => (label.y = Math.max(label.y - least / 2, at ? sorted[at - 1].y + least : 0)));
  let most = 1 - least;
  for (const label of sorted.toReversed()) most = (label.y = Math.min(label.y, most)) - least;
  return sorted;
}

/** The same as numbers, the newest first. */
function table(points, sides) {
  const every = Math.ceil(points.length / ROWS);
  const some = points.toReversed().filter((_, at) => at % every === 0);
  const range = (of, said) => (of ? `${said(of[0])} (${said(of[1])} – ${of[2] === null ? "?" : said(of[2])})` : "–");
  const cells = (side) => [side ? `${side.rate.toFixed(1)}/s` : "–", range(side?.errors, percent), ...LATENCIES.map((key) => range(side?.[key], ms))].map((text) => h("td", {}, text));
  const row = (p) => sides.map((name, at) => h("tr", {},
    at === 0 && h("th", { scope: "rowgroup", rowspan: sides.length }, clock(p.until)), h("th", { scope: "row" }, name), h("td", {}, exactly(p.weights[name] ?? 0)), cells(p.sides[name])));
  const heads = ["Until", "Role", "Weight", "Rate", "Errors", ...LATENCIES];
  return h("details", { class: "as-table" }, h("summary", {}, "The same as a table"),
    h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Numbers over time" }, h("table", {},
      h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))),
      some.map((p) => h("tbody", {}, row(p))))));
}
