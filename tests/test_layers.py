"""The map of the package: imports go only down, and the public names are the announced ones."""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path, PurePath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "softreg"

# A module may import those of its own folder and of the folders below it on this page; the order
# within a folder says nothing. CONTRIBUTING.md prints the same lines.
MAP = """\
__init__      the public names, nothing else
__main__      the command line, which hands over to report
report/       A TABLE'S REPORT: command_line, tables, columns, target, preparation, saved_model,
              assessment, suspicions, pictures, page
_estimators/  WHAT USERS CALL: base, posing, fit, streams, cv, softmax, sigmoid, optimum,
              regularization_path, from_sklearn
_selection/   WHICH STRENGTH: path, sparse_path, folds, cv_scores, refits, refit_steps,
              sparse_refits, leave_one_out, manifold, bootstrap
  scoring/    scores, scorers, held_out, choice, metadata
solvers/      HOW (public): base, auto, outer_loop, proof, steps, lbfgs, newton, proximal_newton
  linalg/     metrics, costs, factors, collinear, conjugate_gradients, quadratic_model,
              implicit_model, active_sets, group_newton
  minibatch/  solver, update, gradient, curvature, stream_state, class_candidates
_encoding/    WHAT y MEANS, and every check: validation, column_faults, target_checks,
              penalty_checks, class_values, answers, classes, labels, chunk_survey, namespaces
  clusters/   partitions, placement, survey, lazy
_model/       WHAT IS MINIMISED: objective, certificate, links, penalties, sparse_penalties,
              spaces, covariance, kernels, block_kernels
_rows/        WHERE THE DATA ARE: base, blocks, memory, kinds, elsewhere, chunked, targets,
              coordinates, moments, threads, arrays
  devices/    rows, arrays, functions
  clusters/   rows, shelves, shelf
leaves        nobody imports them: calibration, chunks, display, export, functions, inference
"""
ROW = re.compile(r"^(?P<indent> *)(?P<name>[a-z_]+)/? +(?:[^:\n]+: )?(?P<modules>.+)$", re.M)


@cache
def folders() -> dict[str, set[str]]:
    """Return the modules of each folder of the map, from the top down, by dotted names."""
    found, parent = {}, ""
    for row in ROW.finditer(re.sub(r"\n {14}", " ", MAP)):
        name, modules = row["name"], set(row["modules"].split(", "))
        if name in ("__init__", "__main__", "leaves"):
            continue
        parent = parent if row["indent"] else name
        found[f"{parent}.{name}" if row["indent"] else name] = modules
    return found


LEAVES = {"calibration", "chunks", "display", "export", "functions", "inference"}
# Leaves may import these beside the public names, which are in the package itself.
FOR_LEAVES = {
    "",
    "_estimators.base",
    "_estimators.posing",
    "_estimators.optimum",
    "_selection",
    "_encoding.validation",
    "_encoding.penalty_checks",
    "_encoding.target_checks",
    "_encoding.class_values",
    "_encoding.namespaces",
    "_model",
    "solvers",
}
TOPS = ["__init__", "__main__", *(name for name in folders() if "." not in name)]
# A link knows nothing of X, a penalty nothing of y, kernels only arrays; Hessians and steps know
# nothing of where y came from.
NARROWER = {
    "_rows.arrays": set(),
    "_model.kernels": {"_rows.arrays"},
    "_model.penalties": {"_rows.arrays"},
    "_model.sparse_penalties": {"_model.penalties", "_rows.arrays"},
    "_model.links": {"_model.kernels", "_rows.targets", "_rows.arrays"},
    "solvers": {"solvers", "_model", "_rows"},
    # Above the leaves, and nobody imports it but the command line.
    "__main__": {"report"},
    "report": {"", "report", "display", "export", "inference", "_encoding.validation"},
}

LIBRARIES = {"numpy", "scipy"} | sys.stdlib_module_names
# `_rows` and `_model` never meet scikit-learn.
WITHOUT_SKLEARN = {"_rows", "_model"}
LIBRARIES_OF_OTHERS = {"sklearn", "joblib", "pandas"}
LIBRARIES_OF_ONE = {
    "_rows.threads": {"threadpoolctl"},
    "_rows.clusters.shelf": {"distributed"},
    "_rows.devices.arrays": {"array_api_compat"},
    "_encoding.namespaces": {"array_api_compat", "sklearn"},
    "_encoding.clusters.lazy": {"dask", "pandas"},
    "_encoding.clusters.partitions": {"dask", "pandas"},
    "_encoding.clusters.placement": {"distributed"},
    "_encoding.clusters.survey": {"dask"},
    "display": {"matplotlib"},
    "chunks": {"pyarrow"},
    "export.onnx": {"onnx", "skl2onnx"},
    "report": {"matplotlib", "skops"},
}
ONLY_INSIDE_FUNCTIONS = {
    "array_api_compat",
    "pandas",
    "matplotlib",
    "pyarrow",
    "dask",
    "distributed",
    "onnx",
    "skl2onnx",
    "skops",
}
# All that the first returns, and the second reads, are frames; the third is itself imported inside
# a function.
EVERYWHERE_IN = {
    "inference": {"pandas"},
    "report": {"pandas"},
    "export": {"onnx", "skl2onnx"},
}

PUBLIC = {
    "softreg": {
        "RegularizationPath",
        "SigmoidRegression",
        "SigmoidRegressionCV",
        "SoftmaxRegression",
        "SoftmaxRegressionCV",
        "from_sklearn",
        "regularization_path",
    },
    "softreg.calibration": {
        "PredictionSets",
        "PriorChange",
        "decide",
        "prediction_sets",
        "prior_shift",
        "tune_thresholds",
    },
    "softreg.inference": {
        "FirthFit",
        "Inference",
        "Influence",
        "LeaveOneOut",
        "Margins",
        "MultiLabelInference",
        "Separation",
        "TestResult",
        "average_probabilities",
        "firth",
        "independence",
        "infer",
        "influence",
        "joint",
        "likelihood_ratio",
        "loo",
        "margins",
        "merge_test",
        "predict_interval",
        "score_test",
        "separation",
        "wald",
    },
    "softreg.chunks": {"Arrays", "Table"},
    "softreg.display": {
        "CVCurveDisplay",
        "ClassRegionsDisplay",
        "CoefficientDisplay",
        "CoefficientPathDisplay",
        "LossCurveDisplay",
        "ProbabilityDisplay",
        "ReliabilityDisplay",
        "ThresholdDisplay",
    },
    "softreg.export": {
        "TRUSTED_TYPES",
        "from_dict",
        "to_dict",
        "to_onnx",
        "to_sklearn",
        "to_sql",
    },
    "softreg.solvers": {"LBFGS", "MiniBatch", "Newton", "ProximalNewton"},
}


class Import(NamedTuple):
    """An imported module (its full dotted name), the line, and whether a function holds it."""

    name: str
    line: int
    in_function: bool


def is_module(name: str) -> bool:
    """Return whether a dotted name is a module or folder of the map, or the package."""
    own = name.removeprefix("softreg").removeprefix(".")
    modules = {f"{folder}.{module}" for folder, own in folders().items() for module in own}
    return own in modules | folders().keys() | LEAVES | {"", "__main__"}


def imports(tree: ast.AST, package: str, in_function: bool = False) -> Iterator[Import]:
    """Yield every import of a file in ``package``, relative names resolved."""
    for node in ast.iter_child_nodes(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            # `from softreg._model import links` names a module; elsewhere the source is one.
            names = [f"{source}.{alias.name}" for alias in node.names]
            names = [name if is_module(name) else source for name in names]
        yield from (Import(name, node.lineno, in_function) for name in dict.fromkeys(names))
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from imports(node, package, in_function or function)


def is_in(name: str, places: set[str]) -> bool:
    """Return whether a module is one of some places, or inside of them."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def may_import(module: str) -> tuple[set[str], set[str]]:
    """Return the places of softreg and the libraries that one module may import."""
    top = module.partition(".")[0]
    libraries = LIBRARIES | LIBRARIES_OF_ONE.get(module, LIBRARIES_OF_ONE.get(top, set()))
    if top not in WITHOUT_SKLEARN:
        libraries |= LIBRARIES_OF_OTHERS
    if top in LEAVES:
        return FOR_LEAVES | {top}, libraries
    below = set(TOPS[TOPS.index(top) :]) - {"__init__"}
    return NARROWER.get(module, NARROWER.get(top, below)), libraries


def violations(source: str, path: PurePath) -> list[str]:
    """Return what is wrong with the imports of one file; ``path`` starts at the package."""
    parts = path.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
    if module != "__init__" and not is_in(module, LEAVES) and not is_module(module):
        return [f"{path}: no place in the map"]
    places, libraries = may_import(module)
    package = ".".join(["softreg", *parts[:-1]])
    found = []
    for name, line, in_function in imports(ast.parse(source), package):
        top, _, own = name.partition(".")
        if top == "softreg" and not is_in(own, places):
            found.append(f"{path}:{line}: {module} may not import {name}")
        if top != "softreg" and top not in libraries:
            found.append(f"{path}:{line}: {module} may not import {top}")
        elsewhere = ONLY_INSIDE_FUNCTIONS - EVERYWHERE_IN.get(parts[0], set())
        if top in elsewhere and not in_function:
            found.append(f"{path}:{line}: {top} belongs inside a function")
    return found


FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_only_down(path):
    """A file imports its own folder, those below and the libraries of its folder, nothing else."""
    assert violations((PACKAGE / path).read_text(encoding="utf-8"), path) == []


def test_the_package_is_there_to_be_checked():
    """The test above sees files at all."""
    assert PurePath("__init__.py") in FILES


def test_every_module_is_on_the_map_and_the_map_has_no_others():
    """The modules of the folders on the disk are those of the map."""
    on_disk = {".".join(path.with_suffix("").parts) for path in FILES if path.stem != "__init__"}
    on_disk = {name for name in on_disk if not is_in(name, LEAVES | {"__main__"})}
    assert on_disk == {f"{folder}.{name}" for folder, own in folders().items() for name in own}


def test_contributing_prints_the_map():
    """The map in CONTRIBUTING.md is the one that is tested."""
    assert MAP in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_no_imports_go_in_circles():
    """Modules can be put in an order in which each imports only those before it."""
    left = {}
    for path in FILES:
        name = ".".join(("softreg", *path.with_suffix("").parts)).removesuffix(".__init__")
        package = ".".join(("softreg", *path.parts[:-1]))
        tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
        own = {found.name for found in imports(tree, package)}
        left[name] = {other for other in own if other.startswith("softreg")} - {name}
    while left:
        free = {name for name, needed in left.items() if not needed & left.keys()}
        assert free, f"these import each other: {sorted(left)}"
        left = {name: needed for name, needed in left.items() if name not in free}


@pytest.mark.parametrize("folder", folders())
def test_a_folder_holds_few_files(folder):
    """What lies on one corridor can be read at a glance: ten files, and eleven kinds of rows."""
    assert len(folders()[folder]) <= (11 if folder == "_rows" else 10)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("_model/links.py", "from softreg._model import objective"),
        ("_model/links.py", "from softreg._rows.coordinates import Coordinates"),
        ("_model/links.py", "from softreg._rows import base"),
        ("_model/links.py", "from .penalties import Ridge"),
        ("_model/links.py", "def later():\n    import softreg.solvers"),
        ("_model/links.py", "import softreg"),
        ("_model/links.py", "import threadpoolctl"),
        ("_model/penalties.py", "from softreg._rows.targets import Targets"),
        ("_model/objective.py", "import numpy, sklearn.utils"),
        ("_model/objective.py", "from softreg._encoding import validation"),
        ("_rows/base.py", "from softreg._model.links import Link"),
        ("solvers/auto.py", "from .._estimators.softmax import SoftmaxRegression"),
        ("solvers/auto.py", "from softreg._encoding.answers import Answers"),
        ("solvers/__init__.py", "from softreg._selection import path"),
        ("_selection/path.py", "from softreg._estimators.base import LinearClassifier"),
        ("_estimators/softmax.py", "import pandas as pd"),
        ("_estimators/softmax.py", "if True:\n    from pandas import DataFrame"),
        ("_estimators/softmax.py", "class A:\n    import pandas"),
        ("_estimators/softmax.py", "def plot():\n    import matplotlib.pyplot as plt"),
        ("_estimators/softmax.py", "from softreg import functions"),
        ("_estimators/softmax.py", "def plot():\n    from softreg.display import CVCurveDisplay"),
        ("_estimators/streams.py", "from softreg.chunks import Table"),
        ("__init__.py", "from . import functions"),
        ("calibration/priors.py", "from softreg._estimators.sigmoid import SigmoidRegression"),
        ("calibration/__init__.py", "from softreg import functions"),
        ("functions.py", "from softreg._encoding.answers import Answers"),
        ("inference.py", "from softreg.functions import softmax"),
        ("inference.py", "from softreg._estimators.fit import SolverClassifier"),
        ("inference.py", "import statsmodels.api"),
        ("chunks.py", "import pandas"),
        ("chunks.py", "from softreg._estimators.streams import StreamClassifier"),
        ("display/_parts.py", "import matplotlib.pyplot as plt"),
        ("display/_parts.py", "from softreg._encoding.answers import Answers"),
        ("display/__init__.py", "from .. import inference"),
        ("__main__.py", "from softreg import SoftmaxRegression"),
        ("inference.py", "from softreg.report import page"),
        ("_estimators/softmax.py", "from softreg.report import page"),
        ("report/page.py", "from softreg._model import links"),
        ("report/pictures.py", "import matplotlib.pyplot as plt"),
        ("export/sql.py", "from softreg import display"),
        ("export/sql.py", "def later():\n    import skl2onnx"),
        ("_unheard_of.py", ""),
        ("_model/unheard_of.py", ""),
    ],
)
def test_the_check_sees_a_violation(path, source):
    """The checker is not blind: each of these breaks exactly one rule."""
    assert len(violations(source, PurePath(path))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("_rows/threads.py", "import threadpoolctl, threading"),
        ("_rows/base.py", "from scipy import sparse\nimport numpy.linalg"),
        ("_rows/base.py", "from .threads import Threads"),
        ("_model/objective.py", "from softreg._model import links, penalties"),
        ("_model/objective.py", "from softreg._rows.blocks import Block"),
        ("solvers/auto.py", "from .base import Result\nfrom softreg.solvers import steps"),
        ("solvers/auto.py", "from .._model.objective import Objective\nimport scipy.optimize"),
        ("solvers/linalg/metrics.py", "from softreg.solvers.linalg.factors import cholesky"),
        ("_estimators/softmax.py", "from sklearn.base import BaseEstimator"),
        ("_estimators/softmax.py", "from softreg import solvers"),
        ("_estimators/softmax.py", "def names(y):\n    import pandas as pd"),
        ("chunks.py", "def read(self):\n    from pyarrow import dataset"),
        ("display/_parts.py", "def panels():\n    from matplotlib.axes import Axes"),
        ("display/_loss_curve.py", "from softreg.display._parts import panels"),
        ("display/_loss_curve.py", "from ._parts import panels\nimport sklearn.utils"),
        ("display/_parts.py", "from softreg._encoding.validation import check_strengths"),
        ("inference.py", "from softreg._estimators.optimum import optimum_of"),
        ("export/onnx.py", "import onnx\nfrom skl2onnx import convert_sklearn"),
        ("inference.py", "from softreg import SoftmaxRegression"),
        ("__main__.py", "from softreg.report.command_line import main"),
        ("report/page.py", "import pandas as pd\nfrom softreg.inference import infer"),
        ("report/pictures.py", "def draw():\n    from matplotlib.figure import Figure"),
        ("calibration/sets.py", "from softreg.calibration.outcomes import has_labels"),
        ("__init__.py", "from softreg._estimators.softmax import SoftmaxRegression"),
    ],
)
def test_the_check_lets_the_map_through(path, source):
    """Imports that the map allows raise no complaint."""
    assert violations(source, PurePath(path)) == []


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_names_are_the_announced_ones(name):
    """``__all__`` lists what the README announces, and each of the names is there."""
    module = importlib.import_module(name)
    assert set(module.__all__) == PUBLIC[name]
    assert all(hasattr(module, public) for public in module.__all__)
