"""A saved model: a pipeline in a file of skops, which runs no code when it is read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

from softreg._encoding import validation
from softreg.export import TRUSTED_TYPES
from softreg.report.tables import BadInput

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
    _skops().dump(model, path)


def load_model(path: str) -> Pipeline:
    """Return the pipeline in a file; BadInput if it holds anything but what `save_model` writes."""
    skops = _skops()
    if not Path(path).is_file():
        raise BadInput(f"There is no file {path}.")
    if not zipfile.is_zipfile(path):
        raise BadInput(f"{path} is no model that `python -m softreg fit --save` has written.")
    strange = sorted({*skops.get_untrusted_types(file=path)} - {*TRUSTED})
    if strange:
        raise BadInput(
            f"{path} holds {validation.shown(strange)}, which models of softreg do not: it was not "
            "loaded, as it could run any code."
        )
    try:
        model = skops.load(path, trusted=TRUSTED)
    except Exception as error:  # whatever a damaged file makes skops raise
        raise BadInput(f"{path} cannot be read as a model: {error}") from error
    if not isinstance(model, Pipeline) or "typed" not in model.named_steps:
        raise BadInput(f"{path} is no model that `python -m softreg fit --save` has written.")
    return model


def check_skops() -> None:
    """Raise BadInput without skops."""
    _skops()


def _skops() -> Any:
    """Return skops.io; BadInput without it."""
    try:
        from skops import io
    except ImportError as error:
        raise BadInput(
            "Saved models need skops, of the extra softreg[report]: "
            'python -m pip install "skops>=0.13".'
        ) from error
    return io
