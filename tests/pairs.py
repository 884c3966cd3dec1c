"""Cases in which every two levels of every two factors meet, far fewer than all combinations.

A fault that shows for a pair of choices, such as a link and a source of rows, shows in one of them.
"""

from collections import Counter
from functools import cache
from itertools import combinations, product


@cache
def covering_design(sizes):
    """Cases, tuples of one level of each factor, in which every pair of levels occurs.

    `sizes` are the numbers of levels of the factors. Greedy: a case starts from a pair that is
    still missing; each other factor takes the level with the most pairs missing, of these the one
    used least.
    """
    if len(sizes) < 3 or 0 in sizes:
        return list(product(*map(range, sizes)))
    factors = sorted(range(len(sizes)), key=lambda factor: -sizes[factor])
    pairs = [
        frozenset([(f, a), (g, b)])
        for f, g in combinations(factors, 2)
        for a, b in product(range(sizes[f]), range(sizes[g]))
    ]
    missing, used, cases = set(pairs), Counter(), []

    def worth(level, chosen):
        gained = sum(frozenset([level, other]) in missing for other in chosen.items())
        return gained, -used[level], -level[1]

    for pair in pairs:  # of the largest factors first: they need as many cases as they have pairs
        if pair in missing:
            chosen = dict(sorted(pair))
            for factor in factors:
                if factor not in chosen:
                    levels = [(factor, level) for level in range(sizes[factor])]
                    chosen[factor] = max(levels, key=lambda level: worth(level, chosen))[1]
            missing -= {frozenset(pair) for pair in combinations(chosen.items(), 2)}
            used.update(chosen.items())
            cases.append(tuple(chosen[factor] for factor in range(len(sizes))))
    return sorted(cases)


def cases(factors, exhaustive=False):
    """Lists of levels, one of each factor: a covering design of `factors` or all combinations.

    `factors` are iterables of levels.
    """
    factors = [list(levels) for levels in factors]
    sizes = tuple(map(len, factors))
    chosen = product(*map(range, sizes)) if exhaustive else covering_design(sizes)
    return [[levels[i] for levels, i in zip(factors, case, strict=True)] for case in chosen]


def label(level):
    """A level in the name of a test: classes and functions by their name."""
    if isinstance(level, tuple):
        return "-".join(map(label, level))
    return getattr(level, "__name__", str(level))
