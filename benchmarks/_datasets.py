"""The data sets that the benchmarks fit, raw: nothing scaled.

Those of `drawn` are tables drawn from the others. Sets on disk come from the folder that the
environment variable ``SOFTREG_DATA`` names; the bundled and the simulated ones are always there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Optima of F at C = 0.01, 1, 100 to a relative accuracy of about 1e-12: section R7 of the project's
# references, computed by independent solvers on these very arrays.
OPTIMA = {
    "anes96": (1.6381746437707, 1.5503973523418, 1.5486647112990),
    "bank": (0.2491888718529, 0.2386315106349, 0.2384643563479),
    "covtype15k": (0.7734612552860, 0.6895209066140, 0.6806111804090),
    "dry_bean": (0.2355599061938, 0.2224185217772, 0.2110326558872),
    "fair": (1.2066345741572, 1.2051435093172, 1.2051243538756),
    "letter": (1.0966726778291, 0.8324402718400, 0.8269959340681),
    "page_blocks": (0.1414408680715, 0.1164200285072, 0.1076080620787),
    "satimage": (0.3276721524028, 0.3211143453762, 0.3210289686145),
    "segment": (0.1901471445863, 0.1098364063775, 0.0937590714640),
    "shuttle": (0.1108200942161, 0.1073403859362, 0.1070488810424),
    "vehicle": (0.4916619201084, 0.3462653756601, 0.3356316008552),
    "wine_white": (1.1526970976548, 1.1021127545464, 1.0901199382475),
    "nci": (0.2763357827949, 0.0091406337970, 0.0002010905917),
    "srbct": (0.1821477984776, 0.0067627203745, 0.0001568224221),
}
WIDE = ("nci", "srbct")
DENSE = tuple(name for name in OPTIMA if name not in WIDE)
SPARSE = ("r8", "text20")
BUNDLED = ("iris", "wine", "digits", "breast_cancer")
HUGE = ("kddcup99_10pct",)
ALL = DENSE + WIDE + SPARSE + BUNDLED + HUGE
# Of these tables are drawn, "drawn-SEED-NUMBER".
DRAWN, SOURCES = "drawn-", (*DENSE, *BUNDLED)
FEWEST_ROWS, FEWEST_COLUMNS = 300, 4
MULTILABEL = ("emotions", "yeast", "bibtex", "bibtex-dense", "delicious", "delicious-dense")
MULTILABEL_SPARSE = ("bibtex", "delicious")


@dataclass(frozen=True)
class Dataset:
    """Rows ``X`` (n, d), dense or CSR, class codes ``y`` (n,) in 0..K-1, and the strength C."""

    name: str
    X: Any
    y: np.ndarray
    C: float

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.X.shape, int(self.y.max()) + 1)

    @property
    def known_optimum(self) -> float | None:
        by_strength = dict(zip((0.01, 1.0, 100.0), OPTIMA.get(self.name, ()), strict=False))
        return by_strength.get(self.C)


@dataclass(frozen=True)
class MultilabelDataset:
    """Rows ``X`` (n, d), dense or CSR, and the indicator matrix ``Y`` (n, L) of 0 and 1."""

    name: str
    X: Any
    Y: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.X.shape, self.Y.shape[1])


def folder() -> Path | None:
    """Where the sets on disk are, or None."""
    return Path(os.environ["SOFTREG_DATA"]) if os.environ.get("SOFTREG_DATA") else None


def available(name: str) -> bool:
    return name in (*BUNDLED, "text20", "simulated") or folder() is not None


def load(name: str, C: float | None = None) -> Dataset:
    """Return one of the sets in ``ALL``, or "drawn-SEED-NUMBER".

    C is 10 for texts and 1 for the others unless given.
    """
    if name == "text20":
        X, y = simulated_text()
    elif name == "r8":
        X, y = reuters()
    elif name in BUNDLED:
        import sklearn.datasets

        X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    elif name.startswith(DRAWN):
        _, seed, number = name.split("-")
        X, y = drawn(int(seed), int(number))
    else:
        with np.load(folder() / f"{name}.npz") as archive:
            X, y = archive["X"], archive["y"]
    codes = np.unique(y, return_inverse=True)[1]
    return Dataset(name, X, codes, C or (10.0 if name in SPARSE else 1.0))


def drawn(seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a table drawn from one of ``SOURCES``, raw: some of its classes, rows and columns.

    Rows and columns are as many as a uniform draw of their logarithm says, from 300 and 4 to all.
    In a third of the tables each, independently, up to four columns are sums of others, nearly or
    exactly; up to two classes are left ten rows; a column all but tells the classes.
    """
    rng = np.random.default_rng([seed, number])
    data = load(str(rng.choice(SOURCES)))
    n_classes = int(rng.integers(2, data.shape[2] + 1))
    classes = rng.choice(data.shape[2], n_classes, replace=False)
    collinear, rare, separated = rng.random(3) < 1 / 3
    # 1. Rows of these classes, few of some; at least two of each.
    order = rng.permutation(np.flatnonzero(np.isin(data.y, classes)))
    rank = np.empty(len(order), dtype=int)  # of a row within its class
    for k in classes:
        rank[data.y[order] == k] = np.arange(np.sum(data.y[order] == k))
    few = np.isin(data.y[order], classes[: rng.integers(1, 3)]) & rare & (n_classes > 2)
    order = np.concatenate([order[rank < 2], order[(rank >= 2) & (~few | (rank < 10))]])
    X, y = data.X[order], data.y[order]
    n = _log_uniform(rng, min(FEWEST_ROWS, len(y)), len(y))
    d = _log_uniform(rng, min(FEWEST_COLUMNS, X.shape[1]), X.shape[1])
    X, y = X[:n, rng.choice(X.shape[1], d, replace=False)].astype(float), y[:n]
    # 2. Columns that others determine, and one that nearly tells the classes.
    extra = []
    if collinear:
        sums = X[:, rng.integers(d, size=(2, rng.integers(1, 5)))].sum(axis=1)
        noise = rng.choice([0, 1e-6, 1e-3]) * sums.std(axis=0) * rng.normal(size=sums.shape)
        extra.append(sums + noise)
    if separated:
        extra.append((y + 0.2 * rng.normal(size=n))[:, None] * 10.0 ** rng.integers(-3, 4))
    return np.hstack([X, *extra]), y


def _log_uniform(rng: np.random.Generator, least: int, most: int) -> int:
    return round(np.exp(rng.uniform(np.log(least), np.log(most))))


def load_multilabel(name: str) -> MultilabelDataset:
    """Return one of the sets in ``MULTILABEL``, or the one that is always there, "simulated"."""
    if name == "simulated":
        from sklearn.datasets import make_multilabel_classification

        X, Y = make_multilabel_classification(1000, 50, n_classes=8, random_state=0)
        return MultilabelDataset(name, X, Y.astype(np.uint8))
    from scipy.sparse import csr_array

    with np.load(folder() / f"ml_{name.removesuffix('-dense')}.npz") as archive:
        X, Y = archive["X"], archive["Y"]
    return MultilabelDataset(name, csr_array(X) if name in MULTILABEL_SPARSE else X, Y)


def reuters() -> tuple[Any, np.ndarray]:
    """Tf-idf of the training texts of Reuters R8: 5,485 rows, 10,684 words seen in two or more."""
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = pd.read_csv(folder() / "r8.csv").query("split == 'train'")
    return TfidfVectorizer(min_df=2).fit_transform(texts["text"]), texts["label"].to_numpy(str)


def simulated_text(
    n_texts: int = 11_000, n_words: int = 56_000, n_classes: int = 20, seed: int = 0
) -> tuple[Any, np.ndarray]:
    """Tf-idf of simulated texts, the size and density of 20 newsgroups (1.7 million nonzeros).

    Word r of the vocabulary has Zipf frequency 1 / (r + 2.7). A class's topic multiplies every
    word's frequency by exp(N(0, 1)). Four words in ten of a text come from its class's topic, two
    from another class's and four from the common frequencies; the number of words is log-normal.
    """
    from scipy.sparse import coo_array, csr_array
    from sklearn.feature_extraction.text import TfidfTransformer

    rng = np.random.default_rng(seed)
    zipf = 1.0 / (np.arange(n_words) + 2.7)
    topics = zipf * np.exp(rng.standard_normal((n_classes, n_words)))
    sources = np.vstack([topics / topics.sum(axis=1, keepdims=True), zipf / zipf.sum()])

    y = rng.integers(n_classes, size=n_texts)
    other = (y + rng.integers(1, n_classes, size=n_texts)) % n_classes
    length = np.exp(rng.normal(np.log(140.0), 0.75, size=n_texts)).astype(int) + 10
    text = np.repeat(np.arange(n_texts, dtype=np.int32), length)
    kind = rng.choice(3, size=len(text), p=(0.4, 0.2, 0.4))
    source = np.choose(kind, (y[text], other[text], n_classes))
    word = np.empty(len(text), dtype=np.int32)
    for k, frequencies in enumerate(sources):
        drawn = np.flatnonzero(source == k)
        word[drawn] = rng.choice(n_words, size=len(drawn), p=frequencies)
    counts = coo_array((np.ones(len(text)), (text, word)), shape=(n_texts, n_words))
    return TfidfTransformer().fit_transform(csr_array(counts)), y
