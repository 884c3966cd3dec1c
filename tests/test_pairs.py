"""The cases that laws run over hold every pair of levels."""

from itertools import combinations, product

import pytest
from pairs import cases

SIZES = [(4,), (3, 5), (25, 3, 2, 3), (15, 3, 3, 5, 3), (2,) * 9, (1, 4, 3), (2, 3, 2, 4, 2, 4)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_two_levels_of_every_two_factors_meet(sizes):
    """In hardly more cases than the largest two factors have pairs, none of them twice."""
    found = cases(map(range, sizes))
    for i, j in combinations(range(len(sizes)), 2):
        pairs = {(case[i], case[j]) for case in found}
        assert pairs == set(product(range(sizes[i]), range(sizes[j])))
    first, *rest = sorted(sizes, reverse=True)
    fewest = first * max(rest, default=1)
    assert fewest <= len(set(map(tuple, found))) == len(found) <= fewest + 4
    assert found == cases(map(range, sizes))


def test_a_factor_without_levels_leaves_no_case():
    """As where no library of a list is installed."""
    assert cases(["ab", [], [1, 2]]) == cases(["ab", []]) == []


def test_all_combinations_hold_the_pairs():
    """Exhaustive cases are the product of the levels, which may be anything."""
    factors = ["ab", {"x": 1, "y": 2}, [None, [0], int]]
    assert cases(factors, exhaustive=True) == [list(case) for case in product(*factors)]
    assert all(case in cases(factors, exhaustive=True) for case in cases(factors))
