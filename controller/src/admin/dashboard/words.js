// Numbers, times and tones in words.

import { h } from "./dom.js";
import { known, skew } from "./stream.js";

/** `default/app` is `app`, as on the command line. */
export const short = (name) => name.replace(/^default\//, "");

/** A share, 0 to 1, in percent with the digits that matter. */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  const p = share * 100;
  return `${p.toFixed(p >= 10 || p <= 0 ? 0 : p >= 1 ? 1 : p >= 0.1 ? 2 : 3)} %`;
}

/** A weight in percent, to the thousandth. */
export const exactly = (percent) => `${Number(Number(percent).toFixed(3))} %`;

/** Evidence: few digits, however large. */
export const amount = (v) => (v >= 1e6 ? v.toExponential(0) : v >= 10 ? v.toFixed(0) : v.toFixed(2));

/** Milliseconds. */
export function ms(v) {
  if (v === null || v === undefined) return "–";
  return v >= 1000 ? `${(v / 1000).toFixed(1)} s` : v >= 10 ? `${v.toFixed(0)} ms` : `${v.toFixed(1)} ms`;
}

/** So many seconds. */
export function span(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [size, unit] of units) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.floor(seconds)} s`;
}

/** How long ago, by the controller's clock; what is still to come is so long from now. */
export const age = (at) => span(Math.abs(Date.now() + skew() - Date.parse(at)) / 1000);

/** A moment: how long ago, the exact time on hover. */
export function time(at) {
  if (!at) return h("span", {}, "–");
  return h("time", { datetime: at, title: new Date(at).toLocaleString() + `  (${at})` }, age(at));
}

/** Brings all times on the page up to date. */
export function tick() {
  for (const element of document.querySelectorAll("time[datetime]")) {
    const text = age(element.getAttribute("datetime"));
    if (element.textContent !== text) element.firstChild.data = text;
  }
}

const GOOD = new Set(["Promoted", "Idle", "On", "Off", "pass", "acked", "live", "True"]);
const BAD = new Set(["Shed", "Restore", "Return", "Clear", "RolledBack", "Unknown", "fail", "conflict", "ahead", "lost", "False"]);
const SIGN = { good: "✓", bad: "✕", wait: "…", plain: "" };

/** good, bad or wait. */
export const tone = (word) => (GOOD.has(word) ? "good" : BAD.has(word) ? "bad" : "wait");

/** A word with a sign before it: its colour is not all there is to see. */
export function badge(word, as = tone(word)) {
  return h("span", { class: `badge ${as}` }, SIGN[as] && h("span", { "aria-hidden": "true" }, SIGN[as]), word);
}

/** Text in which `what is typed` is set apart. */
export const typed = (text) => text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));

/** That of a rollout's phase: to clear up is how a test ends, and no failure. */
export const toneOf = (view) => (view.kind === "CanaryTest" && view.phase === "Clear" ? "wait" : tone(phase(view)));

/** Where a rollout is, in a word. */
export const phase = (view) => (view.paused ? "Paused" : view.phase || "Unknown");

/** `v1 → v2`. */
export function versions(view) {
  if (view.version && view.stable && view.version !== view.stable) return `${view.stable} → ${view.version}`;
  return view.version ?? view.stable;
}

/** Whether the weights of a rollout wait for a person. */
export const asks = (view) => view.phase === "Hold" && !view.paused && view.waits.includes("a person");

/** Acks take milliseconds: a split that has waited no longer than this, ms, does not leave its place in the list for it. */
const MOMENT = 3000;

/** What comes first in the list: 0 is wrong, 1 wants somebody, 2 moves, 3 is at rest. */
export function rank({ view, split }) {
  if (view) {
    if (known.problems.some((p) => p.file === view.file) || view.trouble || view.verdict === "fail" || view.overdue || (toneOf(view) === "bad" && view.phase !== "RolledBack")) return 0;
    if (asks(view) || view.paused) return 1;
    return toneOf(view) === "wait" ? 2 : 3;
  }
  if (split.problems.length || split.conditions.some((c) => c.type === "Accepted" && c.status === "False")) return 0;
  const spread = split.conditions.find((c) => c.type === "Propagated");
  if (spread?.status !== "False") return 3;
  if (spread.reason !== "Waiting") return 0;
  return Date.now() + skew() - Date.parse(spread.lastTransitionTime) < MOMENT ? 3 : 2;
}
