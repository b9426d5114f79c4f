// From what is known of a rollout to what is drawn over time. No elements here.

const REST = new Set(["", "Idle", "Promoted", "RolledBack", "Off", "Gone"]);
/** After the end of a run so much more is shown, ms. */
const AFTER = 60_000;
/** As many entries as a history keeps: its beginning is not the run's then. */
const KEPT = 100;

export const atRest = (view) => REST.has(view.phase);

/**
 * The run under way, or else the last one: `{ from, until, weights, marks }` in ms. `weights` are `{ at, weights }` in percent by
 * role, each in force from `at` on; `marks` are where steps began. Null when nothing was under way as far as is known.
 */
export function run(view, series, now) {
  const all = view.history;
  const rests = (entry) => REST.has(entry.phase);
  const first = all.findLastIndex((entry, at) => !rests(entry) && (at === 0 || rests(all[at - 1])));
  if (first < 0) return null;
  const entries = all.slice(first);
  const end = entries.findIndex(rests);
  const from = Date.parse(entries[0].at);
  const until = Math.max(from + 1000, end < 0 ? now : Math.min(now, Date.parse(entries[end].at) + AFTER));
  const changed = entries.filter((entry) => entry.weights).map((entry) => ({ at: Date.parse(entry.at), weights: numbers(entry.weights) }));
  const before = all.slice(0, first).findLast((entry) => entry.weights);
  if (changed.length && changed[0].at > from) {
    const cut = first === 0 && all.length >= KEPT;
    changed.unshift({ at: from, weights: before ? numbers(before.weights) : cut ? changed[0].weights : { main: 100 } });
  }
  // An older program wrote no weights into the history.
  const told = (series?.points ?? []).map((p) => ({ at: Date.parse(p.until) - p.seconds * 1000, weights: p.weights }));
  const weights = changed.length ? changed : told.length ? told : [{ at: from, weights: numbers(view.weights) }];
  const marks = entries.filter((entry, at) => entry.step && entry.weights && entries.slice(0, at).every((e) => !e.weights || e.step !== entry.step));
  return { from, until, weights, marks: marks.map((entry) => ({ at: Date.parse(entry.at), step: entry.step })) };
}

const numbers = (weights) => Object.fromEntries(Object.entries(weights).map(([role, weight]) => [role, Number(weight)]));

/** The last of a list, in order of `at`, that had begun at this moment. */
export const inForce = (list, at) => list.findLast((one) => one.at <= at) ?? list[0];

/** The point of the series that this moment is in, or the last before it. */
export const pointAt = (points, at) => points.find((p) => Date.parse(p.until) >= at && Date.parse(p.until) - p.seconds * 1000 <= at) ?? points.findLast((p) => Date.parse(p.until) <= at);

/** The next 1, 2 or 5 of a decade, up or down. */
export function round(value, up = true) {
  const decade = 10 ** Math.floor(Math.log10(value));
  const steps = up ? [1, 2, 5, 10] : [5, 2, 1];
  return decade * steps.find((step) => (up ? step * decade >= value * 0.9999 : step * decade <= value * 1.0001));
}

/** A linear scale from 0 that shows all values, and of intervals at least the narrowest. */
export function linear(estimates, least, most = Infinity) {
  const highest = Math.max(0, ...estimates.map(([value]) => value));
  const narrowest = estimates.length ? Math.min(...estimates.map(([, , high]) => high ?? Infinity)) : 0;
  const top = Math.min(most, round(Math.max(least, highest * 1.3, narrowest * 1.2)));
  return { low: 0, top, at: (v) => Math.min(1, Math.max(0, v / top)) };
}

/** The same on a log scale; null without values. */
export function log(estimates) {
  const values = estimates.map(([value]) => value).filter((v) => v > 0);
  if (!values.length) return null;
  const least = Math.min(...values);
  const [low, top] = [round(least * 0.7, false), round(Math.max(...values) * 1.4)];
  return { low, top, log: true, at: (v) => Math.min(1, Math.max(0, Math.log(Math.max(v, low / 10) / low) / Math.log(top / low))) };
}
