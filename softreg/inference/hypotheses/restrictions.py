"""Linear restrictions on coefficients that are shown, read from texts such as "a[gpa] = b[gpa]"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from softreg._encoding import validation
from softreg._encoding.class_values import listed
from softreg.inference.result import Inference

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_OPERATOR = re.compile(r"\s*([-+=,])?")
# A sum of products that belongs to what stands left of a wrong name ends at one of these.
_NEXT = re.compile(r"\s*[-+=,*]\s*")
_MOST_NEAREST = 3
# Rows of restrictions, of length one, that are this near to combinations of others are these.
_DEPENDENT = 1e-9


class Restrictions(NamedTuple):
    """What is tested: R times the coefficients that are shown (in `covariance`'s order) = values.

    Attributes
    ----------
    R : ndarray (m, p)
    values : ndarray (m,)
    names : list of m texts
    description : str
    """

    R: NDArray[np.float64]
    values: NDArray[np.float64]
    names: list[str]
    description: str


class Side(NamedTuple):
    """One side of an equation: coefficients times factors, and a number, added up.

    Attributes
    ----------
    R : ndarray (K, u), factors of the coefficients of all classes; of the reference's 0
    every : ndarray (u,), factors of the coefficients of every class that is shown, in turn
    constant : float
    """

    R: NDArray[np.float64]
    every: NDArray[np.float64]
    constant: float

    def minus(self, other: Side) -> Side:
        """Return the difference of two sides."""
        return Side(self.R - other.R, self.every - other.every, self.constant - other.constant)


def read_restrictions(
    result: Inference, restrictions: Any, values: ArrayLike | None
) -> Restrictions:
    """Return restrictions given as texts, or as a matrix (m, p) with values (m,) or None (0)."""
    texts = restrictions.tolist() if hasattr(restrictions, "tolist") else restrictions
    texts = [texts] if isinstance(texts, str) else texts
    if _are_texts(texts):
        if values is not None:
            raise ValueError(
                f"values={validation.shown(values)} goes with a matrix; in texts say "
                f'"{texts[0]} = value".'
            )
        reader = Reader(result)
        parts = [part for text in texts for part in reader.read(text)]
        return Restrictions(
            np.concatenate([part.R for part in parts]),
            np.concatenate([part.values for part in parts]),
            [name for part in parts for name in part.names],
            "; ".join(texts),
        )
    p = result.contrasts.shape[0]
    R = np.atleast_2d(validation.check_finite_real("restrictions", restrictions)).astype(float)
    validation.check_shape("restrictions", R, "m", p, meaning=", as result.covariance has columns")
    v = np.zeros(len(R)) if values is None else validation.check_finite_real("values", values)
    v = np.atleast_1d(v).astype(float)
    validation.check_shape("values", v, len(R), meaning=", one for each row of restrictions")
    return Restrictions(R, v, [f"row {i}" for i in range(len(R))], f"{len(R)} restrictions")


def _are_texts(texts: Any) -> bool:
    """Return whether restrictions are texts, not a matrix; ValueError if they are neither."""
    if not isinstance(texts, Iterable) or hasattr(texts, "ndim"):
        return False
    found = [isinstance(text, str) for text in texts]
    if found and all(found) and not isinstance(texts, Mapping):
        return True
    if any(found) or not found:
        raise ValueError(
            f"restrictions={validation.shown(texts)} must be a text, such as "
            '"a[x] = b[x]", a list of texts, or a matrix of numbers.'
        )
    return False


class Reader:
    """Reads restrictions on the coefficients of one result.

    Where names hold operators or brackets, the longest name that fits is taken.
    """

    def __init__(self, result: Inference) -> None:
        self.result = result
        self.terms = [str(name) for name in result.terms]
        self.classes = [str(name) for name in result.shown_names]
        self.numbers = result.shown_numbers.tolist()
        if result.label is None:
            hidden = np.setdiff1d(np.arange(len(result.classes)), self.numbers)
            self.classes += [str(name) for name in listed(result.classes[hidden])]
            self.numbers += hidden.tolist()
        for kind, texts in (("classes", self.classes), ("features", self.terms)):
            if len(set(texts)) < len(texts):
                raise ValueError(
                    f"Some {kind} read alike, {validation.shown(texts)}: pass the restrictions as "
                    "a matrix over result.covariance."
                )

    @cached_property
    def places(self) -> dict[str, tuple[int | None, int]]:
        """The class (None: every one that is shown) and feature of each name."""
        terms = list(enumerate(self.terms))
        every: dict[str, tuple[int | None, int]] = {
            name: (None, j) for j, name in terms if not re.fullmatch(_NUMBER, name)
        }
        classes = list(zip(self.classes, self.numbers, strict=True))
        return every | {f"{label}[{name}]": (k, j) for label, k in classes for j, name in terms}

    @cached_property
    def _term(self) -> re.Pattern:
        """A sign, a factor and a name, or a number; `??` takes names that begin like these."""
        ordered = sorted(self.places, key=len, reverse=True)
        names = "|".join(map(re.escape, ordered))
        return re.compile(
            rf"\s*(?P<sign>[-+]\s*)??(?:(?P<factor>{_NUMBER})\s*\*\s*)??"
            rf"(?:(?P<name>{names})|(?P<constant>{_NUMBER}))(?=\s*(?:[-+=,]|$))"
        )

    def read(self, text: str) -> list[Restrictions]:
        """Return the restrictions of a text: equations, with commas between."""
        equations, position = [[self._zero()]], 0
        operator = "+"
        while operator:
            term = self._term.match(text, position)
            if term is None:
                raise ValueError(self._unknown(text, position))
            self._add(equations[-1], term, -1.0 if operator == "-" else 1.0)
            after = _OPERATOR.match(text, term.end())
            operator, position = (after[1] or "", after.end()) if after else ("", len(text))
            if operator == "=":
                equations[-1].append(self._zero())
            elif operator == ",":
                equations.append([self._zero()])
        return [part for sides in equations for part in self._restrictions(sides, text)]

    def _zero(self) -> Side:
        """Return a side to add to."""
        u = len(self.terms)
        return Side(np.zeros((len(self.result.classes), u)), np.zeros(u), 0.0)

    def _add(self, sides: list[Side], term: re.Match, sign: float) -> None:
        """Add a term to the last side of an equation."""
        sign *= -1.0 if (term["sign"] or "").strip() == "-" else 1.0
        factor, side = sign * float(term["factor"] or 1), sides[-1]
        if term["name"] is None:
            sides[-1] = side._replace(constant=side.constant + factor * float(term["constant"]))
            return
        k, j = self.places[term["name"]]
        (side.every if k is None else side.R[k])[j] += factor

    def _restrictions(self, sides: list[Side], text: str) -> list[Restrictions]:
        """Return what an equation of two or more sides says; of one side, that it is zero."""
        rights = sides[1:] or [self._zero()]
        return [self._one(sides[0].minus(right), text) for right in rights]

    def _one(self, side: Side, text: str) -> Restrictions:
        """Return the restrictions that a side is zero, for every class that is shown."""
        if not np.isfinite([side.constant, side.R.sum(), side.every.sum()]).all():
            raise ValueError(f"The restriction {text!r} holds a number that is not finite.")
        if not (side.every.any() or side.R.any()):
            raise ValueError(f"The restriction {text!r} restricts no coefficient.")
        shown, names = self.result.shown_numbers, [text]
        R = side.R[shown].ravel()[None]
        if side.every.any():
            R = R + np.kron(np.eye(len(shown)), side.every)
            names = [f"{text} ({name})" for name in self.result.shown_names]
        return Restrictions(R, np.full(len(R), -side.constant), names, text)

    def _unknown(self, text: str, position: int) -> str:
        """Return what is wrong with a text where no term begins."""
        parts = [part for part in _NEXT.split(text[position:].strip()) if part]
        is_factor = len(parts) > 1 and re.fullmatch(_NUMBER, parts[0])
        wrong = parts[1] if is_factor else parts[0] if parts else ""
        if wrong in self.places:
            return f"The restriction {text!r} cannot be read where it comes to {wrong!r}."
        nearest = get_close_matches(wrong, self.places, _MOST_NEAREST, cutoff=0.3)
        nearest = nearest or list(self.places)[:_MOST_NEAREST]
        return (
            f"{wrong!r} in the restriction {text!r} is neither a feature nor class[feature]; the "
            f"nearest names are {', '.join(map(repr, nearest))}."
        )


class Hypothesis(NamedTuple):
    """Linear restrictions, R theta = values, none of which follows from the others.

    Attributes
    ----------
    R : ndarray (df, K u), over the coefficients of `Estimate`
    values : ndarray (df,)
    """

    R: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def from_rows(cls, R: NDArray, values: NDArray, K: int) -> Hypothesis:
        """Return the hypothesis of restrictions (m, K u); ValueError if they contradict each other.

        Coefficients sum to zero over the classes, so that R may be centred over them.
        """
        if not len(R):
            return cls(R, values)
        largest = np.abs(R).max(axis=1)  # whose square need not be a number
        largest[largest == 0] = 1
        R, values = R / largest[:, None], values / largest
        length = np.linalg.norm(R, axis=1)
        length[length == 0] = 1
        by_class = (R / length[:, None]).reshape(len(R), K, -1)
        unit = (by_class - by_class.mean(axis=1, keepdims=True)).reshape(len(R), -1)
        scaled = values / length
        triangle, order = linalg.qr(unit.T, mode="r", pivoting=True)
        rank = int((np.abs(np.diagonal(triangle)) > _DEPENDENT).sum())
        kept = order[:rank]
        # The values that those kept give the others.
        implied = scaled[kept] @ linalg.lstsq(unit[kept].T, unit.T)[0] if rank else 0.0
        if (np.abs(implied - scaled) > _DEPENDENT * (1 + np.abs(scaled))).any():
            raise ValueError("The restrictions contradict each other: no coefficients meet them.")
        return cls(unit[kept], scaled[kept])
