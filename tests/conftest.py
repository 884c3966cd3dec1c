"""Settings that the whole suite shares, and the cases that the laws of the parts run over."""

from itertools import product

import pytest
from hypothesis import settings
from parts import ROUNDING, SOURCES, TERMS, hold, make, with_penalties

from softreg._rows.threads import Threads

# The same examples on every machine, and no verdict that depends on how busy it is.
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")

CASES = list(product(with_penalties("L2", "no penalty", "L2 of some"), SOURCES, ROUNDING, TERMS))
# In double precision, with a penalty on every score.
PENALISED_CASES = list(product(with_penalties("L2", "L2 of each"), SOURCES, TERMS))


@pytest.fixture
def one_thread():
    """Threads of one, entered."""
    with Threads(1) as threads:
        yield threads


@pytest.fixture(params=CASES, ids=lambda p: f"{p[0][0]}-{p[1]}-{p[2].__name__}-{p[3]}-{p[0][1]}")
def case(request, monkeypatch, one_thread):
    """One objective of every kind."""
    (targets, penalty), source, dtype, terms = request.param
    hold(source, monkeypatch)
    return make(one_thread, targets, source, dtype, penalty, **TERMS[terms])


@pytest.fixture(params=PENALISED_CASES, ids=lambda p: f"{p[0][0]}-{p[1]}-{p[2]}-{p[0][1]}")
def penalised(request, monkeypatch, one_thread):
    """One objective of every kind in double precision that has a penalty on every score."""
    (targets, penalty), source, terms = request.param
    hold(source, monkeypatch)
    return make(one_thread, targets, source, penalty=penalty, **TERMS[terms])
