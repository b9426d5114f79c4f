// A rollout: where it is, why it waits, what is known, what can be said.

import { button, refusals, verbs } from "./actions.js";
import { charts } from "./charts.js";
import { children, h } from "./dom.js";
import { evidence, numbers } from "./evidence.js";
import { judgments } from "./judgments.js";
import { bar } from "./list.js";
import { elsewhere, late } from "./split.js";
import { known } from "./stream.js";
import * as trial from "./trial.js";
import { badge, exactly, phase, short, time, toneOf, typed, versions } from "./words.js";

/** Renews the view of a rollout. */
export function show(main, name) {
  const view = known.rollouts.get(name);
  children(main, [view ? page(view) : h("div", { class: "page" }, h("h1", {}, short(name)), h("p", { class: "note" }, "There is no such rollout (any more): ", h("code", {}, "sluicegate get rollouts"), " lists those there are. ", h("a", { href: "#/" }, "All of them")))]);
}

function page(view) {
  const details = view.splits.map((name) => known.details.get(name)).filter(Boolean);
  return h("div", { class: "page" },
    h("div", { class: "bar" },
      h("h1", {}, short(view.name), " ", badge(phase(view), toneOf(view))),
      h("p", {}, `${view.kind} ${versions(view) ?? ""}, for `, time(view.since), ` in this phase; ${view.acked} of ${view.live} proxies acked`)),
    h("div", { class: "notes" },
      known.problems.filter((p) => p.file === view.file).map((p) => h("p", { class: "note bad", role: "alert" }, badge("problem", "bad"), ` ${p.file}${p.line ? `:${p.line}` : ""}: ${p.message}`)),
      view.trouble && h("p", { class: "note bad", role: "alert" }, badge("trouble", "bad"), " ", view.trouble),
      view.why && h("p", { class: "note bad" }, badge("back", "bad"), ` rolled back: ${view.why}`),
      view.notYet && h("p", { class: "note wait" }, badge("probe", "wait"), " ", view.notYet),
      view.pending && h("p", { class: "note wait" }, badge("pending", "wait"), ` ${view.pending} is wanted and not begun yet`)),
    h("div", { class: "now" },
      view.steps.length > 0 && track(view),
      trial.tells(view),
      h("p", { class: "waits" }, view.waits ? [h("strong", {}, "Waits for "), typed(view.waits)] : "Waits for nothing."),
      h("div", { class: "buttons", role: "group", "aria-label": "What you can say" }, verbs(view).map(([verb, text, as]) => button(verb, view.name, text, as)), trial.buttons(view)),
      refusals([...verbs(view).map(([verb]) => verb), ...trial.verbs(view)], view.name)),
    weights(view), charts(view), evidence(view), metrics(view), numbers(details[0]),
    known.looker ? elsewhere(view.splits[0] ?? view.name) : late(view, details),
    judgments(view), events(view), conditions(view));
}

function track(view) {
  const done = ["Update", "Switch", "CleanUp", "Watch", "Promoted"].includes(view.phase);
  const step = (weight, at) => {
    const state = done || at + 1 < view.step ? "done" : at + 1 === view.step ? "here" : "to come";
    return h("li", { class: state.replace(" ", "-"), "aria-current": state === "here" ? "step" : null },
      h("span", { "aria-hidden": "true" }, { done: "✓", here: "▶", "to come": "○" }[state]), ` ${exactly(weight)}`,
      h("span", { class: "unseen" }, `, ${state}`));
  };
  const end = { Promoted: "done", RolledBack: "to-come" }[view.phase] ?? (done ? "here" : "to-come");
  return h("ol", { class: "steps", "aria-label": "Steps" }, view.steps.map(step),
    h("li", { class: end, "aria-current": end === "here" ? "step" : null }, h("span", { "aria-hidden": "true" }, { done: "✓", here: "▶" }[end] ?? "○"), " promoted"));
}

function weights(view) {
  const role = (name) => {
    const pods = view.pods[name];
    return h("tr", {},
      h("th", { scope: "row" }, name), h("td", {}, exactly(view.weights[name] ?? 0)),
      h("td", {}, pods ? `${pods.ready} of ${pods.replicas} ready` : "–"), h("td", {}, pods?.version ?? "–"), h("td", {}, pods?.trouble ?? ""));
  };
  const heads = ["Role", "Weight", "Pods", "Version", "Trouble"];
  return h("section", { "aria-labelledby": "weights" },
    h("h2", { id: "weights" }, "Weights"),
    bar(["canary", "baseline", "main"].map((name) => [name, view.weights[name]])),
    h("div", { class: "wide", tabindex: "0", role: "group", "aria-labelledby": "weights" }, h("table", { class: "fixed" },
      h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, ["canary", "baseline", "main"].filter((name) => name !== "baseline" || view.kind !== "CanaryTest").map(role)))));
}

function metrics(view) {
  const judgment = view.metrics?.judgment;
  if (!judgment) return null;
  const as = { pass: "good", high: "bad", low: "bad" };
  return h("section", { "aria-labelledby": "metrics" },
    h("h2", { id: "metrics" }, "Metrics", judgment.score === null ? "" : `: ${Math.round(judgment.score)} of 100`),
    judgment.metrics.map((m) => h("p", {}, badge(m.class ?? "error", as[m.class] ?? "wait"), ` ${m.name}: ${m.reason}`)));
}

/** What makes something happen. */
const next = (view) => (view.kind === "CanaryTest" ? "Start it" : ["Write another version into ", h("code", {}, view.file || "its document")]);

function events(view) {
  const list = [...view.history].reverse();
  return h("section", { "aria-labelledby": "events", class: "happened" },
    h("h2", { id: "events" }, "Events"),
    list.length ? h("ol", { class: "events", tabindex: "0", "aria-labelledby": "events" }, list.map((e) => h("li", {}, time(e.at), badge(e.phase, "plain"), h("span", {}, e.message)))) : h("p", { class: "quiet" }, "Nothing has happened yet. ", next(view), ", and follow it here or by ", h("code", {}, `sluicegate watch ${short(view.name)}`), "."));
}

function conditions(view) {
  if (!view.conditions.length) return null;
  return h("details", {}, h("summary", {}, "Conditions"),
    view.conditions.map((c) => h("p", {}, badge(c.type, "plain"), ` ${c.status}, ${c.reason}: ${c.message} (`, time(c.lastTransitionTime), ")")));
}
