// What the controller tells, as it tells it: one line to it, opened again when it breaks.

/** Everything that is known. Values are replaced when they change, never altered. */
export const known = { splits: new Map(), rollouts: new Map(), detail: null, problems: [], missing: [], token: "", version: "", whole: false };

// Beats come every five seconds.
const SILENT = 15_000;
const AGAIN = [300, 700, 1500, 3000, 5000];

let source = null;
let about = null;
let failed = 0;
let heard = 0;
let ahead = 0;
let retry = 0;
let listeners = [];

/** How far the controller's clock is ahead of this one, ms. */
export const skew = () => ahead;

/** Calls this after every event, with `opening`, `live` or `lost`. */
export const onNews = (listener) => listeners.push(listener);

const say = (state) => listeners.forEach((listener) => listener(state));

/** Follows everything, and this split in detail (null: none). */
export function follow(split) {
  if (source && split === about) return;
  if (split !== about) known.detail = null;
  about = split;
  open();
}

function open() {
  clearTimeout(retry);
  source?.close();
  heard = Date.now();
  source = new EventSource("/v1/events" + (about ? `?split=${encodeURIComponent(about)}` : ""));
  source.onmessage = (event) => take(JSON.parse(event.data));
  source.onerror = lost;
}

function lost() {
  source?.close();
  source = null;
  say("lost");
  clearTimeout(retry);
  if (!document.hidden) retry = setTimeout(open, AGAIN[Math.min(failed++, AGAIN.length - 1)]);
}

function take(news) {
  failed = 0;
  heard = Date.now();
  ahead = Date.parse(news.now) - heard;
  if (news.hello) {
    // The page is part of the program: another program has another page.
    if (known.version && known.version !== news.hello.version) return location.reload();
    Object.assign(known, { version: news.hello.version, token: news.hello.token, whole: true });
    keepOnly(known.splits, news.splits);
    keepOnly(known.rollouts, news.rollouts);
  }
  renew(known.splits, news.splits);
  renew(known.rollouts, news.rollouts);
  for (const gone of news.gone ?? []) {
    const [kind, ...name] = gone.split("/");
    if (kind === "split") known.splits.delete(name.join("/"));
    else if (kind === "rollout") known.rollouts.delete(name.join("/"));
    else known.detail = null;
  }
  if (news.detail) known.detail = news.detail;
  if (news.store) Object.assign(known, news.store);
  say("live");
}

/** What is as it was stays the same object: after each break of the line everything comes again, and nobody is to draw that anew. */
function renew(map, list) {
  for (const one of list ?? []) {
    const was = map.get(one.name);
    if (!was || JSON.stringify(was) !== JSON.stringify(one)) map.set(one.name, one);
  }
}

function keepOnly(map, list) {
  const names = new Set((list ?? []).map((one) => one.name));
  for (const name of map.keys()) if (!names.has(name)) map.delete(name);
}

// A line that is broken somewhere on the way says nothing for ever.
setInterval(() => source && Date.now() - heard > SILENT && lost(), 1000);

// A browser has few lines to one server: a page that nobody sees gives its one back.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
    clearTimeout(retry);
  } else open();
});
