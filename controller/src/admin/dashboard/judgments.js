// Who judged a rollout, when and why, and what became of it.

import { h } from "./dom.js";
import { badge, short, time } from "./words.js";

/** What persons said, and the evidence, the newest first. */
export function judgments(view) {
  const said = view.history.map((entry, at) => entry.said && { ...entry.said, at: entry.at, became: became(view.history, at) }).filter(Boolean).reverse();
  const named = new Set(said.map((one) => one.document));
  const others = Object.entries(view.judgments ?? {}).filter(([name]) => !named.has(name));
  const heads = ["When", "Who", "Said", "Step", "Why", "What became of it"];
  const row = (one) => h("tr", {},
    h("td", {}, time(one.at)), h("th", { scope: "row" }, one.by, one.document && h("small", {}, ` in ${short(one.document)}`)),
    h("td", {}, badge(one.verb, one.refused ? "bad" : "plain")), h("td", {}, one.step ?? "–"), h("td", {}, one.why || "–"), h("td", {}, one.became));
  return h("section", { "aria-labelledby": "judgments", class: "judgments" },
    h("h2", { id: "judgments" }, "Judgments"),
    said.length
      ? h("div", { class: "wide tall", tabindex: "0", role: "group", "aria-labelledby": "judgments" }, h("table", { class: "fixed" },
        h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, said.map(row))))
      : h("p", { class: "quiet" }, nobody(view)),
    others.length > 0 && h("ul", {}, others.map(([name, outcome]) => h("li", {}, `${short(name)}: ${outcome}`))));
}

const nobody = (view) => view.kind === "CanaryTest"
  ? ["A canary test is not judged: look at the charts, and change its weight or delete it. ", h("code", {}, `sluicegate watch ${short(view.name)}`), " follows it."]
  : ["Nobody has judged anything yet. The buttons above do, or: ", h("code", {}, `sluicegate continue ${short(view.name)} --by NAME --reason WHY`)];

function became(history, at) {
  const { said, message } = history[at];
  if (said.refused) return `refused: ${said.refused}`;
  if (said.by === "evidence") return message;
  if (said.verb === "pause") return "the weights stay as they are";
  const next = history.slice(at + 1).find((entry) => !entry.said || entry.said.by === "evidence");
  return next ? next.message : said.verb === "resume" ? "it goes on" : "nothing yet";
}
