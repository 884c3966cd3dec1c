"""Standard errors and margins: softreg beside statsmodels' MNLogit.

Each library fits without a penalty, prints the summary and the table of average marginal effects
with their standard errors. Columns are raw: anes96 and fair are of statsmodels itself, satimage
comes from SOFTREG_DATA, and the large set is simulated. Both libraries take turns in this process,
as often as 20 s allow, and the ratio is that of their medians; memory is the peak of a child that
does it once, over what it had loaded. statsmodels runs with one BLAS thread and with all; the
better one is in the table. *difference*: the largest relative one of all standard
errors, of coefficients and of margins.

    SOFTREG_DATA=folder python benchmarks/inference.py [--sets anes96] [--output table.md]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import _common as common
import _datasets as datasets
import numpy as np
from threadpoolctl import threadpool_limits

SETS = ("anes96", "fair", "satimage", "simulated")
TAKING_TURNS = 20.0  # seconds
MOST_TURNS = 15
SIMULATED = (100_000, 20, 5)


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, d) and class codes y (n,)."""
    if name == "simulated":
        return simulated(*SIMULATED)
    if name == "satimage":
        data = datasets.load(name)
        return data.X.astype(float), data.y
    import statsmodels.datasets

    data = getattr(statsmodels.datasets, name).load_pandas()
    y, X = data.endog, data.exog
    if name == "fair":  # the rating of the marriage, 1 to 5
        table = data.data
        y, X = table["rate_marriage"], table.drop(columns="rate_marriage")
    return X.to_numpy(float), np.unique(y, return_inverse=True)[1]


def simulated(n: int, d: int, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, d) and y (n,) of a softmax model."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    Z = X @ rng.standard_normal((d, K)) / np.sqrt(d) + rng.gumbel(size=(n, K))
    return X, Z.argmax(axis=1)


def by_softreg(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the errors of coefficients (d + 1, K - 1) and of margins (d, K), and log likelihood.

    After a fit and two printed tables.
    """
    from softreg import SoftmaxRegression, inference

    result = inference.infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    margins = inference.margins(result, X, dummies=None)
    str(result.summary()), str(margins.summary())
    return result.bse.to_numpy(), margins.bse.to_numpy(), result.llf


def by_statsmodels(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Do the same; Newton's method from statsmodels' start, with room to converge."""
    import statsmodels.api as sm

    with warnings.catch_warnings():  # it says what the table shows
        warnings.simplefilter("ignore")
        fit = sm.MNLogit(y, sm.add_constant(X, prepend=False)).fit(disp=0, maxiter=100)
        margins = fit.get_margeff()
        str(fit.summary()), str(margins.summary())
    return np.asarray(fit.bse), np.asarray(margins.margeff_se), fit.llf


def by_statsmodels_in_one_thread(X: np.ndarray, y: np.ndarray) -> tuple:
    """Do the same, BLAS being held to one thread."""
    with threadpool_limits(1):
        return by_statsmodels(X, y)


LIBRARIES = {
    "softreg": by_softreg,
    "statsmodels, 1 thread": by_statsmodels_in_one_thread,
    "statsmodels": by_statsmodels,
}


def alone(send: Callable, name: str, library: str) -> None:
    """In a child: do it once; loading is neither in its peak memory nor in its time."""
    X, y = load(name)
    LIBRARIES[library](X[:: max(1, len(X) // 500)], y[:: max(1, len(X) // 500)])  # what loads late
    send("loaded")
    common.reset_peak_memory()
    before, start = common.peak_memory(), time.perf_counter()
    found = LIBRARIES[library](X, y)
    seconds = time.perf_counter() - start
    send((found, seconds, common.peak_memory() - before))


def study(name: str, cap: float) -> list[object]:
    """Return a row of the table."""
    outcomes = {
        library: next(common.messages(alone, name, library, cap=cap), None) for library in LIBRARIES
    }
    others = {way: outcomes[way] for way in list(LIBRARIES)[1:] if outcomes[way]}
    X, y = load(name)
    shape = "x".join(map(str, (*X.shape, int(y.max()) + 1)))
    (*errors, llf), _, memory = outcomes["softreg"]
    if not others:
        ours = seconds_in_turns(X, y, ["softreg"])["softreg"]
        times = f"{ours:.3g}", f"> {cap:.0f}", f"> {cap / ours:.0f}"
        return [f"{name} {shape}", *times, f"{memory / 1e6:.0f}", "-", "-"]
    (*theirs, their_llf), _, their_memory = min(others.values(), key=lambda outcome: outcome[1])
    once = {way: seconds for way, (_, seconds, _) in others.items()}
    short = [way for way in once if once[way] < TAKING_TURNS]
    seconds = once | seconds_in_turns(X, y, ["softreg", *short])
    best = min(once, key=seconds.get)
    difference = max(
        np.abs(a / b - 1).max() for a, b in zip(errors, theirs, strict=True) if a.shape == b.shape
    )
    print(f"{name}: log likelihood {llf:.6f}, statsmodels {their_llf - llf:+.2g}")
    return [
        f"{name} {shape}",
        f"{seconds['softreg']:.3g}",
        f"{seconds[best]:.3g}",
        f"{seconds[best] / seconds['softreg']:.1f}",
        f"{memory / 1e6:.0f}",
        f"{their_memory / 1e6:.0f}",
        f"{difference:.0e}",
    ]


def seconds_in_turns(X: np.ndarray, y: np.ndarray, libraries: list[str]) -> dict[str, float]:
    """Return the median seconds of each library, which take turns."""
    times: dict[str, list[float]] = {library: [] for library in libraries}
    end = time.perf_counter() + TAKING_TURNS
    while len(times[libraries[0]]) < MOST_TURNS and time.perf_counter() < end:
        for library in libraries:
            start = time.perf_counter()
            LIBRARIES[library](X, y)
            times[library].append(time.perf_counter() - start)
    return {library: statistics.median(seconds) for library, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--cap", type=float, default=300.0, help="seconds that a library has")
    parser.add_argument("--output", type=Path, help="write the table here, too")
    options = parser.parse_args()
    sets = [name for name in options.sets if name != "satimage" or datasets.available(name)]
    for name in set(options.sets) - set(sets):
        print(f"{name} left out: SOFTREG_DATA is not set")
    header = ["set", "softreg s", "statsmodels s", "times", "MB", "statsmodels MB", "difference"]
    text = common.versions() + "\n\n" + common.table(header, [study(n, options.cap) for n in sets])
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
