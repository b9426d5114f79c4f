"""Prints core/golden/metrics.json: what SciPy and NumPy say about generated cases, as an oracle for core/src/judge/metrics.

    python3 -m venv /tmp/oracle
    /tmp/oracle/bin/pip install numpy==2.2.6 scipy==1.15.3
    /tmp/oracle/bin/python core/golden/metrics.py > core/golden/metrics.json

Nothing here is taken from the code it checks: ranks are `scipy.stats.rankdata`, percentiles `numpy.percentile`
(method "linear", which is R-7), interval ends `scipy.optimize.brentq`, quantiles `scipy.stats.norm`. Every z at shift 0
is also compared with the p-value of `scipy.stats.mannwhitneyu`, every interval end with an exact search over all
pairwise differences, and the estimate is found by that search alone. Seeds are fixed; a second run prints the same.
"""

import json
import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import mannwhitneyu, norm, rankdata

DEFAULTS = dict(
    direction="either", nan="remove", outliers="keep", effectSize="ratioOfMeans", tolerance=0.25, confidence=0.98,
    allowedIncrease=None, allowedDecrease=None, looks=1,
)


def z(canary, baseline, shift):
    m, n = len(canary), len(baseline)
    values = np.concatenate([canary - shift, baseline])
    dz = rankdata(values)[:m].sum() - m * (m + 1) / 2 - m * n / 2
    _, t = np.unique(values, return_counts=True)
    t = t.astype(float)
    variance = m * n / 12 * ((m + n + 1) - (t**3 - t).sum() / ((m + n) * (m + n - 1)))
    return (dz - 0.5 * np.sign(dz)) / math.sqrt(variance) if variance > 0 else 0.0


def check_z(canary, baseline):
    """Against SciPy's own test: its continuity correction also applies at dz = 0, where its p-value is 1 either way."""
    ours = 2 * norm.sf(abs(z(canary, baseline, 0.0)))
    theirs = mannwhitneyu(canary, baseline, alternative="two-sided", method="asymptotic", use_continuity=True).pvalue
    assert abs(ours - theirs) < 1e-9, (ours, theirs)


def interval(canary, baseline, confidence, looks):
    if len(set(canary)) == 1 and len(set(baseline)) == 1:
        shift = canary[0] - baseline[0]
        return dict(low=shift, high=shift, estimate=shift)
    least, most = canary.min() - baseline.max(), canary.max() - baseline.min()
    reach = norm.isf((1 - confidence) / 2 / looks)

    def root(level):
        f = lambda shift: z(canary, baseline, shift) - level
        if f(least) <= 0:
            return least
        if f(most) >= 0:
            return most
        return brentq(f, least, most, xtol=(most - least) * 1e-14, maxiter=1000)

    # The steps of the staircase are at the pairwise differences; between two of them it is flat. Differences that
    # differ by rounding only are one step.
    every = np.sort((canary[:, None] - baseline[None, :]).ravel())
    gap = (most - least) * 1e-12
    steps = [every[0]] + [b for a, b in zip(every, every[1:]) if b - a > gap]
    height = lambda i: z(canary, baseline, (steps[i] + steps[i + 1]) / 2)

    def exact(level):
        """The step before which the staircase is above the level, and behind which it is not."""
        if z(canary, baseline, least) <= level:
            return least
        if z(canary, baseline, most) >= level:
            return most
        at, end = 0, len(steps) - 1
        while at < end:
            middle = (at + end) // 2
            at, end = (at, middle) if height(middle) <= level else (middle + 1, end)
        return steps[at]

    low, high = root(reach), root(-reach)
    scale = most - least
    assert abs(low - exact(reach)) < 1e-10 * scale, (low, exact(reach))
    assert abs(high - exact(-reach)) < 1e-10 * scale, (high, exact(-reach))
    tiny = 1e-9
    return dict(low=exact(reach), high=exact(-reach), estimate=(exact(tiny) + exact(-tiny)) / 2)


def prepare(case):
    length = max(len(case["canary"]), len(case["baseline"]))
    some = any(x is not None for x in case["canary"] + case["baseline"])
    sides = []
    for name in ("canary", "baseline"):
        values = [x for x in case[name] if x is not None]
        if case["nan"] == "replace" and some:
            values += [0.0] * (length - len(values))
        values = np.sort(np.array(values, dtype=float))
        if case["outliers"] == "remove" and len(values):
            p01, q1, q3, p99 = np.percentile(values, [1, 25, 75, 99], method="linear")
            low, high = min(p01, q1 - 3 * (q3 - q1)), max(p99, q3 + 3 * (q3 - q1))
            values = values[(values >= low) & (values <= high)]
        sides.append(values)
    return sides


def judged(case):
    canary, baseline = prepare(case)
    out = dict(used=[len(canary), len(baseline)])
    if not len(canary) or not len(baseline):
        return out | dict({"class": "nodata"})
    if np.array_equal(canary, baseline) or len(set(canary) | set(baseline)) == 1:
        return out | dict({"class": "pass"})
    found = interval(canary, baseline, case["confidence"], case["looks"])
    if len(set(canary)) > 1 or len(set(baseline)) > 1:
        check_z(canary, baseline)
        out["z"] = z(canary, baseline, 0.0)
    out |= found
    if case["effectSize"] == "ratioOfMeans":
        neutral, effect = 1.0, canary.mean() / baseline.mean() if baseline.mean() > 0 else None
    else:
        neutral, effect = 0.5, mannwhitneyu(canary, baseline).statistic / (len(canary) * len(baseline))
    out["effect"] = effect
    bound = case["tolerance"] * abs(found["estimate"])
    up = neutral if case["allowedIncrease"] is None else case["allowedIncrease"]
    down = neutral if case["allowedDecrease"] is None else case["allowedDecrease"]
    # No class may hang on the last bits.
    scale = max(canary.max(), baseline.max()) - min(canary.min(), baseline.min())
    for a, b in [(found["low"], bound), (found["high"], -bound)]:
        assert a == b or abs(a - b) > 1e-9 * scale, (case["name"], a, b)
    for a, b in [(effect, up), (effect, down)] if effect else []:
        assert a == b or abs(a - b) > 1e-9, (case["name"], a, b)
    out["class"] = "pass"
    if case["direction"] in ("increase", "either") and found["low"] > bound and (effect is None or effect >= up):
        out["class"] = "high"
    elif case["direction"] in ("decrease", "either") and found["high"] < -bound and (effect is None or effect <= down):
        out["class"] = "low"
    return out


def cases():
    rng = np.random.default_rng(20240613)
    normal = lambda n, mean=100.0, sd=10.0: [float(x) for x in rng.normal(mean, sd, n)]
    skewed = lambda n, scale=0.02: [float(x) for x in rng.lognormal(0, 0.7, n) * scale]
    counts = lambda n, mean: [float(x) for x in rng.poisson(mean, n)]

    def case(name, canary, baseline, **more):
        return dict(name=name, canary=canary, baseline=baseline) | DEFAULTS | more

    def holes(values, every):
        return [None if i % every == 0 else x for i, x in enumerate(values)]

    base = normal(30)
    yield case("alike", normal(30), base)
    yield case("alike, other sizes", normal(17), normal(41))
    yield case("shifted up", normal(30, 130), base)
    yield case("shifted down", normal(30, 75), base)
    yield case("shifted up, only decrease is bad", normal(30, 130), base, direction="decrease")
    yield case("shifted down, only increase is bad", normal(30, 75), base, direction="increase")
    yield case("shifted by a constant", [x + 3.0 for x in base], base)
    yield case("scaled", [x * 1.7 for x in base], base)
    yield case("slightly shifted, many points", normal(120, 104), normal(120))
    yield case("slightly shifted, wide tolerance", normal(120, 106), normal(120), tolerance=0.9)
    yield case("slightly shifted, no tolerance", normal(120, 105), normal(120), tolerance=0.0)
    yield case("shifted, low confidence", normal(20, 106), normal(20), confidence=0.6)
    yield case("shifted, high confidence", normal(20, 106), normal(20), confidence=0.9999)
    yield case("shifted, twelve looks", normal(20, 112), normal(20), looks=12)
    yield case("allowed increase not reached", normal(40, 115), normal(40), allowedIncrease=1.3)
    yield case("allowed increase reached", normal(40, 145), normal(40), allowedIncrease=1.3)
    yield case("allowed decrease not reached", normal(40, 90), normal(40), allowedDecrease=0.8)
    yield case("allowed decrease reached", normal(40, 60), normal(40), allowedDecrease=0.8)
    yield case("common language", normal(30, 112), normal(30), effectSize="commonLanguage")
    yield case("common language, not enough", normal(60, 108), normal(60), effectSize="commonLanguage", allowedIncrease=0.9)
    yield case("common language with ties", counts(30, 9), counts(25, 3), effectSize="commonLanguage")
    yield case("latencies in seconds", skewed(50, 0.05), skewed(45))
    yield case("latencies, alike", skewed(50), skewed(50))
    yield case("tiny unit", [x * 1e-9 for x in normal(25, 120)], [x * 1e-9 for x in normal(25)])
    yield case("huge unit", [x * 1e12 for x in normal(25, 120)], [x * 1e12 for x in normal(25)])
    yield case("counts with many ties", counts(40, 2.0), counts(40, 2.0))
    yield case("counts with many ties, more", counts(40, 5.0), counts(40, 1.5))
    yield case("mostly zero", counts(60, 0.1), counts(60, 0.1))
    yield case("zero against some", [0.0] * 20, counts(20, 3))
    yield case("some against zero", counts(20, 3), [0.0] * 20)
    yield case("one constant", [5.0] * 15, normal(15, 5, 1))
    yield case("other constant", normal(15, 9, 1), [5.0] * 15)
    yield case("both constant, equal", [5.0] * 12, [5.0] * 15)
    yield case("both constant, higher", [6.0] * 12, [5.0] * 15)
    yield case("both constant, lower", [4.0] * 12, [5.0] * 15)
    yield case("both constant, allowed", [5.5] * 12, [5.0] * 15, allowedIncrease=1.2)
    yield case("constant above zero", [1.0] * 12, [0.0] * 12)
    yield case("identical, other order", base[::-1], base)
    yield case("negative", [-x for x in normal(30, 130)], [-x for x in normal(30)])
    yield case("around zero", normal(40, 4, 3), normal(40, 0, 3))
    yield case("below zero, rising", normal(40, -40, 5), normal(40, -90, 5))
    yield case("one point a side", [2.0], [1.0])
    yield case("one against two", [2.0], [1.0, 4.0])
    yield case("two points a side", [3.0, 4.0], [1.0, 2.0])
    yield case("three points a side", [3.0, 4.0, 9.0], [1.0, 2.0, 3.0])
    yield case("four against nine", normal(4, 130), normal(9))
    yield case("ten points a side", normal(10, 115), normal(10))
    yield case("eleven against eleven on a grid", [float(x) for x in range(3, 14)], [float(x) for x in range(11)])
    yield case("NaNs removed", holes(normal(40, 120), 3), holes(normal(40), 4))
    yield case("NaNs replaced", holes(normal(40, 120), 3), holes(normal(40), 4), nan="replace")
    yield case("canary all NaN, replaced", [None] * 20, counts(20, 4), nan="replace")
    yield case("canary shorter, replaced", counts(12, 4), counts(20, 4), nan="replace")
    yield case("canary all NaN, removed", [None] * 20, normal(20))
    yield case("baseline empty", normal(20), [])
    yield case("both all NaN, replaced", [None] * 20, [None] * 20, nan="replace")
    spiky = normal(40)
    spiky[7], spiky[21] = 9000.0, -7000.0
    yield case("outliers kept", spiky, normal(40))
    yield case("outliers removed", spiky, normal(40), outliers="remove")
    yield case("outliers removed on both sides", [x + 30 for x in spiky], normal(60) + [5000.0], outliers="remove")
    yield case("outliers among few", [1.0, 2.0, 3.0, 4.0, 500.0], [1.0, 2.0, 2.5, 3.0, 4.0], outliers="remove")
    yield case("outliers of a constant", [1.0] * 150 + [2.0], [1.0] * 150 + [3.0], outliers="remove")
    yield case("outliers after NaNs replaced", holes(normal(90, 100, 1), 60), normal(90, 100, 1), nan="replace", outliers="remove")
    yield case("hundreds of points", normal(300, 103), normal(400))


def percentiles():
    rng = np.random.default_rng(7)
    for n in (1, 2, 3, 4, 5, 10, 99, 100, 101, 250):
        values = np.sort(rng.normal(0, 100, n))
        ps = [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0]
        got = np.percentile(values, [100 * p for p in ps], method="linear")
        yield dict(values=[float(x) for x in values], p=ps, percentile=[float(x) for x in got])


def tails():
    for tail in [0.5, 0.4, 0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001, 1e-4, 1e-6, 1e-9, 1e-15, 1e-50, 1e-300]:
        yield dict(tail=tail, z=float(norm.isf(tail)))


def plain(value):
    return {key: plain(x) for key, x in value.items()} if isinstance(value, dict) else (
        float(value) if isinstance(value, np.floating) else value)


def main():
    lists = dict(
        percentiles=percentiles(),
        tails=tails(),
        cases=(case | dict(expected=plain(judged(case))) for case in cases()),
    )
    blocks = [
        f' "{name}": [\n' + ",\n".join("  " + json.dumps(one) for one in made) + "\n ]" for name, made in lists.items()
    ]
    print("{\n" + ",\n".join(blocks) + "\n}")


main()
