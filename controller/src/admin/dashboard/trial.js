// A CanaryTest: what is tried, how much of the traffic it gets, and the buttons that start, change and end it.

import { ask, barred, field, path, person, post, until } from "./actions.js";
import { h } from "./dom.js";
import { known } from "./stream.js";
import { exactly, short, span, time } from "./words.js";

const MOST = 50;
const LEAST = 0.001;
const ENDING = ["Drain", "Clear", "Gone"];

const splits = (view) => view.splits.map(short).join(" and ");
const pods = (n) => `${n} pod${n === 1 ? " is" : "s are"} ready`;
const canary = (view) => Number(view.weights.canary ?? 0);

/** Where a test is, in a sentence. */
export function tells(view) {
  const { test, phase } = view;
  if (view.kind !== "CanaryTest" || !test) return null;
  const now = `${exactly(canary(view))} of ${splits(view)} goes to ${view.version}`;
  const ends = test.ends && phase !== "Off" ? [" It ends by itself in ", time(test.ends), "."] : test.durationMs && !test.over ? ` It ends by itself ${span(test.durationMs / 1000)} after the proxies have the weight.` : "";
  if (phase === "Off") return h("p", {}, test.over ? `The time of ${view.version} is over: main has all the traffic.` : `${view.version} is not tried: main has all the traffic.`);
  if (ENDING.includes(phase)) return h("p", {}, `It ends: ${phase === "Drain" ? "the canary's traffic goes to main, then its pods go" : "main has all the traffic, the canary's pods go"}.`);
  return h("p", {}, phase === "On" || phase === "Trim" ? `${now}.` : `${now}, and ${exactly(test.weight)} is wanted.`, ends);
}

const open = (view) => view.kind === "CanaryTest" && view.test && !ENDING.includes(view.phase);

/** The verb of all that can be done with a test, if anything can be. */
export const verbs = (view) => (open(view) ? ["weight"] : []);

/** What can be done with a test as it stands. */
export function buttons(view) {
  if (!open(view)) return [];
  const one = (does, text, as = "") => h("button", { type: "button", class: as, "data-trial": does, "data-about": view.name, ...barred("weight", view.name) }, text);
  if (view.phase === "Off") return [one("start", "Start …", "main")];
  return [one("weigh", "Change the weight …"), one("end", "End …", "danger")];
}

/** Hears those buttons. */
export function listen() {
  document.addEventListener("click", (event) => {
    const pressed = event.target.closest?.("button[data-trial]");
    const view = pressed && known.rollouts.get(pressed.dataset.about);
    if (!view?.test || pressed.hasAttribute("aria-disabled")) return;
    if (pressed.dataset.trial === "end") askEnd(view);
    else askWeight(view, pressed.dataset.trial === "start");
  });
}

/** A slider for whole percents and a field for any weight, which say the same. */
function weight(value, changed) {
  const slider = h("input", { id: "trial-slider", type: "range", min: "1", max: String(MOST), step: "1" });
  const number = h("input", { id: "trial-weight", type: "number", min: String(LEAST), max: String(MOST), step: String(LEAST), required: true, inputmode: "decimal" });
  const mirror = () => {
    slider.value = number.value || "1";
    slider.setAttribute("aria-valuetext", number.value ? exactly(number.value) : "no weight");
    changed();
  };
  number.value = value;
  slider.addEventListener("input", () => {
    number.value = slider.value;
    mirror();
  });
  number.addEventListener("input", mirror);
  return { number, mirror, fields: [field("The canary's weight", slider, "by whole percents, with the arrow keys too"), field("The same, exactly", number, `percent, ${LEAST} to ${MOST}`)] };
}

function askWeight(view, start) {
  const { test } = view;
  const will = h("p", { role: "status" });
  const version = h("input", { id: "trial-version", required: true, maxlength: "256", autocomplete: "off", spellcheck: "false" });
  version.value = view.version;
  const at = weight(start ? (Number(test.weight) || 1) : Number(test.weight), () => {
    const to = at.number.validity.valid ? exactly(at.number.value) : "–";
    will.textContent = start ? `${to} of ${splits(view)}'s traffic goes to ${version.value}, as soon as ${pods(test.replicas)}.` + (test.durationMs ? ` It ends by itself after ${span(test.durationMs / 1000)}.` : "")
      : `The canary goes from ${exactly(canary(view))} to ${to} of ${splits(view)}'s traffic.`;
  });
  version.addEventListener("input", at.mirror);
  version.disabled = !test.named;
  at.mirror();
  const who = person();
  const what = start && field("Version to try", version, test.named ? `written into ${known.looker ? "the object" : "its YAML file"}` : "what its images say: change it in its document");
  const title = start ? `Start ${short(view.name)}` : `Weight of ${short(view.name)}`;
  ask(title, will, [what, ...at.fields, ...who.fields].filter(Boolean), start ? "Start it" : "Set it", false, () => {
    const tries = start && test.named && version.value !== view.version ? { version: version.value } : {};
    return say(view, { weight: Number(at.number.value), ...tries, ...who.says() }, tries.version ?? view.version);
  });
}

function askEnd(view) {
  const who = person();
  const text = canary(view) > 0 ? `The canary's ${exactly(canary(view))} goes to main, then its pods go.` : "The canary has no traffic yet; its pods go.";
  ask(`End ${short(view.name)}`, h("p", {}, text), who.fields, "End it", true, () => say(view, { weight: 0, ...who.says() }, view.version));
}

/** Says it, and follows what comes of it; gives what failed, or nothing. */
async function say(view, wants, version) {
  const done = await post(`/v1/rollouts/${path(view.name)}/weight`, wants);
  if (done.error) return done.error;
  const text = wants.weight ? `${short(view.name)}: ${exactly(wants.weight)} to ${version}` : `${short(view.name)}: all traffic to main`;
  let read = false;
  until(() => {
    const now = known.rollouts.get(view.name);
    // The stream may be behind the answer.
    read ||= Number(now?.test?.weight) === wants.weight;
    return reached(text, wants.weight, now, read);
  });
}

/** How far it is: `[text, done]`; `read`: the document has said so. */
function reached(text, weight, view, read) {
  if (!view) return [`${text}; the test is deleted`, true];
  // Without traffic for a canary there are only its pods left to wait for.
  const there = weight ? ["On", "Trim"].includes(view.phase) : ["Clear", "Off"].includes(view.phase);
  if (!there || canary(view) !== weight) {
    if (read && Number(view.test?.weight) !== weight) return [`${text}; its document says something else by now`, true];
    return [`${text}; waits for ${view.waits} …`, false];
  }
  if (!view.live) return [`${text}; no proxy is there to ack it`, true];
  if (view.acked < view.live) return [`${text}; acked by ${view.acked} of ${view.live} proxies …`, false];
  return [`${text}; acked by all ${view.live} proxies`, true];
}
