// What a person can do: each is asked about first, with what it will do, and followed until the proxies have acked it.

import { h } from "./dom.js";
import { known, onNews } from "./stream.js";
import { asks, exactly, short } from "./words.js";

const dialog = document.getElementById("ask");
const said = document.getElementById("said");
const BACK = ["Shed", "Restore", "Return", "Clear"];
const MOVING = ["Scale", "Probe", "Weigh", "Hold"];
/** What was done and has not reached everybody: `{ text, split, generation }`, or `{ look }`. */
let pending = null;

/** Why Kubernetes would refuse a verb about this rollout or split: `{ why, id }`, or nothing. */
function refusal(verb, about) {
  const namespace = about.split("/")[0];
  const at = known.access?.mayNot.findIndex((one) => one.namespace === namespace && one.verbs.includes(verb)) ?? -1;
  return at < 0 ? null : { why: known.access.mayNot[at].why, id: `may-not-${at}` };
}

/** What makes a button of no use, where Kubernetes would refuse it: it can be reached all the same, and says why. */
export function barred(verb, about) {
  const no = refusal(verb, about);
  return no ? { "aria-disabled": "true", "aria-describedby": no.id } : {};
}

/** A button for a verb about this rollout or split. */
export const button = (verb, about, text, as = "") => h("button", { type: "button", class: as, "data-verb": verb, "data-about": about, ...barred(verb, about) }, text);

/** Why some of these verbs are of no use, for those who see the buttons and for those who hear of them. */
export function refusals(verbs, about) {
  const all = new Map(verbs.map((verb) => refusal(verb, about)).filter(Boolean).map((no) => [no.id, no.why]));
  return [...all].map(([id, why]) => h("p", { class: "note wait", id }, why));
}

/** What may be said to a rollout as it stands. */
export function verbs(view) {
  if (view.kind !== "CanaryDeploy" || BACK.includes(view.phase)) return [];
  if (["Promoted", "Watch"].includes(view.phase)) return [...(view.phase === "Watch" ? [["rollback", "Roll back …", "danger"]] : []), ["undo", "Undo …", "danger"]];
  if (!MOVING.includes(view.phase)) return [];
  return [
    view.phase === "Hold" && ["continue", "Continue …", asks(view) ? "main" : ""],
    view.paused ? ["resume", "Resume …"] : ["pause", "Pause …"],
    ["promote", "Promote …", "danger"], ["rollback", "Roll back …", "danger"],
  ].filter(Boolean);
}

/** What will come of it, in a sentence. */
function will(view, verb) {
  const next = view.steps[view.step ?? 0];
  const pods = view.pods.main;
  const main = pods ? `${pods.ready} ready ${pods.version} pod${pods.ready === 1 ? "" : "s"} of main` : "main";
  const left = view.steps.slice(view.step ?? 0).map(exactly).join(", ");
  return {
    continue: next ? `Step ${view.step} of ${view.steps.length} is good: the canary goes from ${exactly(view.weights.canary ?? 0)} to ${exactly(next)}.`
      : `The last step is good: main gets ${view.version}, then all traffic.`,
    promote: left ? `Steps ${left} are not judged any more: the last one is set up, then main gets ${view.version} and all traffic.` : `Main gets ${view.version}, then all traffic.`,
    rollback: `The canary's ${exactly(view.weights.canary ?? 0)} goes to ${main}, the baseline's ${exactly(view.weights.baseline ?? 0)} too; ${view.version} is not tried again until its document says another version.`,
    pause: `The weights stay as they are until somebody resumes; a verdict of fail still rolls back.`,
    resume: `It goes on with step ${view.step} of ${view.steps.length}.`,
    undo: `Main gets the version before ${view.stable || view.version} by a rollout back.`,
  }[verb];
}

/** Hears every button of the page. */
export function listen() {
  document.addEventListener("click", (event) => {
    const pressed = event.target.closest?.("button[data-verb]");
    if (!pressed || pressed.hasAttribute("aria-disabled")) return;
    const { verb, about } = pressed.dataset;
    if (verb === "weights") askWeights(known.splits.get(about));
    else askVerb(known.rollouts.get(about), verb, pressed.textContent.replace(" …", ""));
  });
  onNews(progress);
}

/** An input with its label. */
export function field(label, input, hint) {
  return h("label", {}, h("span", {}, label), input, hint && h("small", {}, hint));
}

/** Who, and why; `says()` is both as they are sent. A cluster knows who. */
export function person(required = false) {
  const by = !known.looker && h("input", { id: "by", required: true, autocomplete: "username", maxlength: "100" });
  if (by) by.value = localStorage.getItem("by") ?? "";
  const reason = h("input", { id: "reason", autocomplete: "off", maxlength: "500", required });
  const who = by ? field("Who", by, "for the record; nobody checks it here") : h("p", { class: "quiet" }, `The record will name ${known.looker.user}.`);
  return {
    fields: [who, field(required ? "Why" : "Why (may be empty)", reason)],
    says() {
      if (by) localStorage.setItem("by", by.value.trim());
      return { ...(by ? { by: by.value.trim() } : {}), reason: reason.value.trim() };
    },
  };
}

/** Opens the dialog; `send` gives what failed, or nothing. */
export function ask(title, text, fields, does, danger, send) {
  const why = h("p", { class: "note bad", role: "alert", hidden: true });
  const go = h("button", { type: "submit", class: danger ? "danger" : "main" }, does);
  const no = h("button", { type: "button" }, "Leave it");
  const form = h("form", {}, h("h2", { id: "ask-title" }, title), text, fields, why, h("div", { class: "buttons" }, go, no));
  no.addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    const failed = await send().catch((error) => `${known.looker ? "`sluicegate dashboard`" : "the controller"} does not answer (${error.message}); nothing is known to have changed`);
    go.disabled = false;
    if (!failed) return dialog.close();
    why.hidden = false;
    why.textContent = failed;
  });
  dialog.replaceChildren(form);
  dialog.showModal();
}

function askVerb(view, verb, title) {
  if (!view) return;
  const { step } = view;
  const who = person(verb === "promote");
  const fails = view.verdict === "fail" && ["continue", "promote"].includes(verb);
  const over = fails && h("input", { id: "over", type: "checkbox", required: true });
  const fields = [
    ...who.fields,
    fails && h("label", { class: "check" }, over, h("span", {}, "The evidence says fail. Go on all the same; from then on it is not listened to.")),
  ];
  ask(`${title} ${short(view.name)}`, h("p", {}, will(view, verb)), fields.filter(Boolean), title, ["rollback", "promote", "undo"].includes(verb), async () => {
    const split = view.splits[0];
    const generation = known.splits.get(split)?.generation ?? 0;
    const stays = ["pause", "resume"].includes(verb);
    const say = { ...who.says(), ...(step ? { step } : {}), ...(over ? { override: over.checked } : {}) };
    const failed = await post(`/v1/rollouts/${path(view.name)}/${verb}`, say);
    if (!failed.error) watch(`${title} ${short(view.name)}: said`, stays ? null : split, generation + 1);
    return failed.error;
  });
}

function askWeights(split) {
  if (!split) return;
  const total = h("p", { class: "quiet", role: "status" });
  const inputs = split.subsets.map((s, at) => {
    const input = h("input", { id: `weight-${at}`, type: "number", min: "0", max: "1000000", step: "1", required: true, inputmode: "numeric" });
    input.value = s.weight;
    input.addEventListener("input", count);
    return input;
  });
  function count() {
    const sum = inputs.reduce((sum, input) => sum + Number(input.value), 0);
    const part = (s, at) => `${s.name} ${sum ? exactly((Number(inputs[at].value) / sum) * 100) : "–"}`;
    total.textContent = sum ? `That is ${split.subsets.map(part).join(", ")}.` : "All weights are 0: nothing would be left to send requests to.";
  }
  count();
  const fields = [split.subsets.map((s, at) => field(s.name, inputs[at])), total];
  ask(`Weights of ${short(split.name)}`, h("p", {}, `They are written into ${known.looker ? "the object" : "its YAML file"}, and in force at once.`), fields, "Set them", false, async () => {
    const weights = Object.fromEntries(split.subsets.map((s, at) => [s.name, Number(inputs[at].value)]));
    const done = await post(`/v1/splits/${path(split.name)}/weights`, { weights });
    if (done.error) return done.error;
    watch(done.changed ? `Weights of ${short(split.name)}: written` : `Weights of ${short(split.name)}: they were so already`, split.name, done.generation);
  });
}

/** A name as part of an address. */
export const path = (name) => name.split("/").map(encodeURIComponent).join("/");

/** What the controller answers; `{ error }` where it refuses. */
export async function post(to, body) {
  const answer = await fetch(to, {
    method: "POST",
    headers: { "content-type": "application/json", "x-sluicegate-token": known.token },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  try {
    const json = JSON.parse(text);
    return answer.ok ? json : { error: json.error ?? text };
  } catch {
    return { error: text || `status ${answer.status}` };
  }
}

/** From now on it is told how far this has got; without a split there is nothing to wait for. */
function watch(text, split, generation) {
  pending = split && { text, split, generation, began: Date.now() };
  tell(text + (split ? "; waits for the proxies …" : ", and written down"), !split);
  if (split) progress();
}

/** From now on what this looks at is told, after each news, until it is done: `look()` gives `[text, done]`. */
export function until(look) {
  pending = { look };
  progress();
}

function progress() {
  if (pending?.look) {
    const [text, done] = pending.look();
    if (done) pending = null;
    return tell(text, done);
  }
  const split = pending && known.splits.get(pending.split);
  if (!split || split.generation < pending.generation) return;
  // In a cluster the weights are told before anybody can have acked them.
  if (split.conditions.some((c) => c.type === "Propagated" && c.reason === "Publishing")) return;
  const { text } = pending;
  if (split.acked < split.live) return tell(`${text}; generation ${split.generation} acked by ${split.acked} of ${split.live} proxies …`, false);
  pending = null;
  const took = split.propagatedMs === null ? "" : `, within ${Math.round(split.propagatedMs)} ms`;
  tell(split.live ? `${text}; generation ${split.generation} acked by all ${split.live} proxies${took}` : `${text}; no proxy is there to ack it`, true);
}

function tell(text, done) {
  // News that change nothing are not read out again.
  if (said.dataset.text === text && said.firstChild) return;
  said.dataset.text = text;
  const close = h("button", { type: "button", "aria-label": "Hide this" }, "✕");
  close.addEventListener("click", () => said.replaceChildren());
  said.replaceChildren(h("p", { class: done ? "good" : "wait" }, h("span", { "aria-hidden": "true" }, done ? "✓ " : "… "), text), close);
}
