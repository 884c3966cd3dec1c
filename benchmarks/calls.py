"""What a default fit of iris passes through: files, functions and calls of softreg's own code.

Counted by ``sys.setprofile`` in the second fit, when everything is imported; times play no part.

    python benchmarks/calls.py [--top 20]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from sklearn.datasets import load_iris

import softreg

PACKAGE = Path(softreg.__file__).parent


def calls_of_a_fit() -> Counter[tuple[str, str]]:
    """Return how often each function of the package is called, by (file, function)."""
    X, y = load_iris(return_X_y=True)
    softreg.SoftmaxRegression().fit(X, y)
    counts: Counter[tuple[str, str]] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            counts[str(path.relative_to(PACKAGE)), frame.f_code.co_qualname] += 1

    sys.setprofile(count)
    try:
        softreg.SoftmaxRegression().fit(X, y)
    finally:
        sys.setprofile(None)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--top", type=int, default=0, help="functions to list, most called first")
    top = parser.parse_args().top
    counts = calls_of_a_fit()
    files = {file for file, _ in counts}
    print(f"{len(files)} files, {len(counts)} functions, {counts.total()} calls")
    for (file, function), number in counts.most_common(top):
        print(f"{number:5d}  {file}: {function}")


if __name__ == "__main__":
    main()
