"""Settings that the whole suite shares, and the cases that the laws of the parts run over.

Where a plain `pytest` runs pairs of levels and a few examples of hypothesis, always the same,
`pytest --exhaustive` runs all combinations of levels and many new examples, and
`pytest --sample 8` every eighth case of each test, one at least.
"""

import os
from collections import defaultdict

import pytest
from hypothesis import settings
from pairs import cases, label
from parts import ROUNDING, SOURCES, TERMS, limits_of, make, with_penalties
from sklearn import config_context

from softreg._rows.threads import Threads

# Fixtures and the factors whose levels they are made of. A module may add some in FIXTURE_FACTORS.
FIXTURE_FACTORS = {
    "case": {
        "targets_and_penalty": with_penalties("L2", "no penalty", "L2 of some", "elastic net"),
        "source": SOURCES,
        "dtype": ROUNDING,
        "terms": TERMS,
    },
    # In double precision, with a penalty on every score.
    "penalised": {
        "targets_and_penalty": with_penalties("L2", "L2 of each"),
        "source": SOURCES,
        "terms": TERMS,
    },
}


def pytest_addoption(parser):
    parser.addoption("--exhaustive", action="store_true", help="all combinations, more examples")
    parser.addoption("--sample", type=int, default=1, help="one in so many cases of each test")


def pytest_configure(config):
    # The same examples on every machine, and no verdict that depends on how busy it is.
    settings.register_profile("reproducible", derandomize=True, deadline=None, max_examples=25)
    settings.register_profile("exhaustive", deadline=None, max_examples=500)
    exhaustive = config.getoption("exhaustive")
    settings.load_profile("exhaustive" if exhaustive else "reproducible")
    # Of the workers of pytest-xdist, started later: one for each processor, BLAS with one thread.
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config, items):
    """Keep the cases of each test that are to run, in their order."""
    of_tests = defaultdict(list)
    for item in items:
        of_tests[item.nodeid.partition("[")[0]].append(item)
    step = config.getoption("sample")
    kept = {item for cases_of_test in of_tests.values() for item in cases_of_test[::step]}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def pytest_generate_tests(metafunc):
    """Cases of the factors of a test, those of its fixtures and of its marks `factor`."""
    of_fixtures = FIXTURE_FACTORS | getattr(metafunc.module, "FIXTURE_FACTORS", {})
    marks = {mark.args[0]: mark for mark in metafunc.definition.iter_markers("factor")}
    factors = {}
    for fixture in metafunc.fixturenames:
        of_fixture = of_fixtures.get(fixture, {})
        # Else another fixture of that name, or an argument.
        if fixture not in marks and of_fixture.keys() <= set(metafunc.fixturenames):
            factors |= of_fixture
    factors |= {name: mark.args[1] for name, mark in marks.items()}
    if not factors:
        return
    chosen = cases(factors.values(), metafunc.config.getoption("exhaustive"))
    labels = [marks[name].kwargs.get("ids", label) if name in marks else label for name in factors]
    ids = ["-".join(map(name_of, labels, case)) for case in chosen]
    metafunc.parametrize(list(factors), chosen, ids=ids)


def name_of(label, level):
    return str(label(level))


@pytest.fixture
def dispatch(monkeypatch):
    """Dispatch is on, as the user's environment and scikit-learn's configuration have it."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with config_context(array_api_dispatch=True):
        yield


@pytest.fixture
def one_thread():
    """Threads of one, entered."""
    with Threads(1) as threads:
        yield threads


@pytest.fixture
def source_threads(source):
    """Threads of one, entered, whose limits make blocks what `source` says."""
    with Threads(1, limits_of(source)) as threads:
        yield threads


@pytest.fixture
def case(targets_and_penalty, source, dtype, terms, source_threads):
    """One objective of every kind."""
    targets, penalty = targets_and_penalty
    return make(source_threads, targets, source, dtype, penalty, **TERMS[terms])


@pytest.fixture
def penalised(targets_and_penalty, source, terms, source_threads):
    """One objective of every kind in double precision that has a penalty on every score."""
    targets, penalty = targets_and_penalty
    return make(source_threads, targets, source, penalty=penalty, **TERMS[terms])
