"""The inference of several labels, a two-class model each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from softreg.inference.result import Inference


class MultiLabelInference(Mapping):
    """The inference of each label of a multi-label model, by the label.

    Frames have a column for each label. Labels are independent fits: ``result[label]`` is the
    `Inference` of one, for tests, margins and its own table.

    Parameters
    ----------
    by_label : dict from label to Inference
    """

    def __init__(self, by_label: dict[Any, Inference]) -> None:
        self._by_label = by_label

    def __getitem__(self, label: Any) -> Inference:
        """Return the inference of a label."""
        return self._by_label[label]

    def __iter__(self) -> Iterator:
        """Iterate over the labels."""
        return iter(self._by_label)

    def __len__(self) -> int:
        """Return the number of labels."""
        return len(self._by_label)

    @property
    def params(self) -> pd.DataFrame:
        """The coefficients, a column for each label."""
        return self._joined([one.params for one in self.values()])

    @property
    def bse(self) -> pd.DataFrame:
        """Standard errors of the coefficients, likewise."""
        return self._joined([one.bse for one in self.values()])

    @property
    def z(self) -> pd.DataFrame:
        """Coefficients over their standard errors; ValueError under a penalty."""
        return self._joined([one.z for one in self.values()])

    @property
    def p(self) -> pd.DataFrame:
        """Two-sided p-values of coefficients being zero; ValueError under a penalty."""
        return self._joined([one.p for one in self.values()])

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """Return a row for each (label, feature): coefficient, error, z and p, interval."""
        return pd.concat([one.to_frame(level) for one in self.values()])

    def __repr__(self) -> str:
        """Return the printed summary of each label."""
        return "\n\n".join(str(one) for one in self.values())

    def _repr_html_(self) -> str:
        return "".join(one._repr_html_() for one in self.values())

    @staticmethod
    def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
        return pd.concat(frames, axis=1)


def one_result(caller: str, result: Any) -> Inference:
    """Return the result of `infer`; TypeError for anything else, as that of several labels."""
    if isinstance(result, MultiLabelInference):
        raise TypeError(f"{caller} needs the result of one label: pass result[label].")
    if not isinstance(result, Inference):
        raise TypeError(
            f"{caller} needs what softreg.inference.infer returns, got {type(result).__name__}."
        )
    return result
