// What the controller tells, as it tells it: one line to it, opened again when it breaks.

/**
 * Everything that is known. Values are replaced when they change, never altered. `details`: the splits that are looked at, with proxies and
 * counts; `series`: what was counted over time of the rollout that is looked at, null when whoever tells has no memory of it.
 */
export const known = { splits: new Map(), rollouts: new Map(), details: new Map(), series: null, problems: [], missing: [], token: "", version: "", whole: false, looker: null, access: null };

// Beats come every five seconds.
const SILENT = 15_000;
const AGAIN = [300, 700, 1500, 3000, 5000];

let source = null;
let about = "";
let failed = 0;
let heard = 0;
let ahead = 0;
let retry = 0;
let listeners = [];

/** How far the controller's clock is ahead of this one, ms. */
export const skew = () => ahead;

/** Calls this after every event, with `opening`, `live`, `old` (the API server is away) or `lost`. */
export const onNews = (listener) => listeners.push(listener);

const say = (state) => listeners.forEach((listener) => listener(state));

/** Follows everything, and one `split` or `rollout` in detail. */
export function follow(kind, name) {
  const wanted = kind === "list" ? "" : `?${kind}=${encodeURIComponent(name)}`;
  if (source && wanted === about) return;
  if (wanted !== about) Object.assign(known, { details: new Map(), series: null });
  about = wanted;
  open();
}

function open() {
  clearTimeout(retry);
  source?.close();
  heard = Date.now();
  source = new EventSource("/v1/events" + about);
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
    Object.assign(known, { version: news.hello.version, token: news.hello.token, looker: news.hello.looker ?? null, whole: true, series: null });
    keepOnly(known.splits, news.splits);
    keepOnly(known.rollouts, news.rollouts);
  }
  renew(known.splits, news.splits);
  renew(known.rollouts, news.rollouts);
  for (const gone of news.gone ?? []) {
    const [kind, ...name] = gone.split("/");
    if (kind === "split") known.splits.delete(name.join("/"));
    else if (kind === "rollout") known.rollouts.delete(name.join("/"));
    else if (name.length) known.details.delete(name.join("/"));
    else known.details.clear();
  }
  for (const detail of [...(news.details ?? []), ...(news.detail ? [news.detail] : [])]) known.details.set(detail.name, detail);
  if (news.series) known.series = { ...news.series, points: news.series.whole ? news.series.points : [...(known.series?.points ?? []), ...news.series.points] };
  if (news.store) Object.assign(known, news.store);
  if (news.access) known.access = news.access;
  say(known.access?.lost ? "old" : "live");
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
