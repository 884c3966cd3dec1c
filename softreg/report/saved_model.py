"""A saved model: a pipeline in a file of skops, which runs no code when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

from softreg._encoding import validation
from softreg.export import TRUSTED_TYPES
from softreg.report.preparation import Typed
from softreg.report.tables import BadInput, of_extra, one_line

# All that a file may hold beside what skops trusts by itself.
TRUSTED = [
    *TRUSTED_TYPES,
    "numpy.dtype",
    "sklearn.compose._column_transformer._RemainderColsList",  # a list, before 1.7
    "softreg.report.preparation.Folds",
    "softreg.report.preparation.Typed",
    "softreg.report.preparation.level_name",
]


def save_model(model: Pipeline, path: str) -> None:
    """Write a fitted pipeline to a file."""
    of_extra("skops.io", "A saved model").dump(model, path)


def load_model(path: str) -> Pipeline:
    """Return the pipeline in a file; BadInput if it holds anything but what `save_model` writes."""
    skops = of_extra("skops.io", "A saved model")
    if not Path(path).is_file():
        raise BadInput(f"There is no file {path}.")
    try:
        strange = sorted({*skops.get_untrusted_types(file=path)} - {*TRUSTED})
        model: Any = None if strange else skops.load(path, trusted=TRUSTED)
    except Exception as error:  # whatever a file of another kind, or a damaged one, makes it raise
        raise BadInput(
            f"{path} is no model that `python -m softreg fit --save` has written, or it is damaged "
            f"({one_line(error)})."
        ) from error
    if strange:
        raise BadInput(
            f"{path} holds {validation.shown(strange)}, which models of softreg do not: it was not "
            "loaded, as it could run any code."
        )
    is_ours = isinstance(model, Pipeline) and isinstance(model[0], Typed)
    if not is_ours or "classes_" not in vars(model[-1]):
        raise BadInput(f"{path} is no model that `python -m softreg fit --save` has written.")
    return model
