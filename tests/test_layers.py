"""The map of the package: imports go only down, and the public names are the announced ones."""

import ast
import importlib
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path, PurePath
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "softreg"

# A module may import those of the levels above its own in this list. Later modules are
# listed already.
LEVELS = [
    {"_coordinates", "_targets", "_threads"},
    {"_blocks", "_indicators", "_links", "_penalties"},
    {"_rows"},
    {"_memory_rows"},
    {"_chunked_rows", "_dask", "_memory", "_rowspace"},
    {"_objective"},
    {"solvers"},
    {"_path"},
    {"_held_out", "_leave_one_out"},
    {"_best_classes", "_callbacks", "_checks", "_chunk_source"},
    {"_encoding"},
    {"_label_encoding", "_sample"},
    {"_chunk_encoding", "_classifier", "_thresholds"},
    {"_fitting", "_splits"},
    {"_streams", "_scoring"},
    {"_trials"},
    {"_cross_validation"},
    {"_softmax", "_sigmoid"},
    {"_softmax_cv", "_sigmoid_cv"},
    {"_regularization_path"},
    {"__init__"},
]
LEVEL = {module: level for level, modules in enumerate(LEVELS) for module in modules}
# Nobody imports a leaf, so that each can be deleted without a trace.
LEAVES = {"functions", "inference", "display", "calibration", "chunks"}
# A link knows nothing of X, a penalty nothing of either, a source of rows only rows.
NARROWER = {"_links": {"_targets"}, "_penalties": set(), "_dask": {"_rows"}}
NARROWER |= dict.fromkeys(LEAVES, {"_objective"})
NARROWER["inference"] = {"_checks", "_leave_one_out", "_threads"}

LIBRARIES = {"numpy", "scipy"} | sys.stdlib_module_names
LIBRARIES_FROM_THE_ESTIMATORS_UP = {"sklearn", "joblib", "pandas"}
LIBRARIES_OF_ONE = {
    "_threads": {"threadpoolctl"},
    "_dask": {"dask"},
    "display": {"matplotlib"},
    "chunks": {"pyarrow"},
}
ONLY_INSIDE_FUNCTIONS = {"dask", "pandas", "matplotlib", "pyarrow"}

PUBLIC = {
    "softreg": {
        "RegularizationPath",
        "SigmoidRegression",
        "SigmoidRegressionCV",
        "SoftmaxRegression",
        "SoftmaxRegressionCV",
        "regularization_path",
    },
    "softreg.inference": {"LeaveOneOut", "loo"},
    "softreg.chunks": {"Arrays", "Csv", "NpyFiles", "NpzFiles", "Parquet"},
    "softreg.display": {"CVCurveDisplay", "CoefficientPathDisplay", "LossCurveDisplay"},
    "softreg.solvers": {"LBFGS", "MiniBatch", "Newton"},
}


class Import(NamedTuple):
    """An imported module (its full dotted name), the line, and whether a function holds it."""

    name: str
    line: int
    in_function: bool


def imports(tree: ast.AST, package: str, in_function: bool = False) -> Iterator[Import]:
    """Yield every import of a file in ``package``, relative names resolved."""
    for node in ast.iter_child_nodes(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            # `from softreg import x` names the module x; deeper down, the module is the source.
            names = [f"{source}.{alias.name}" for alias in node.names]
            names = names if source == "softreg" else [source]
        yield from (Import(name, node.lineno, in_function) for name in names)
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from imports(node, package, in_function or function)


def may_import(module: str) -> tuple[set[str], set[str]]:
    """Return the modules of softreg and the libraries that one module may import."""
    level = LEVEL.get(module, len(LEVELS))
    above = set().union(*LEVELS[:level])
    libraries = LIBRARIES | LIBRARIES_OF_ONE.get(module, set())
    if level >= LEVEL["_checks"]:
        libraries |= LIBRARIES_FROM_THE_ESTIMATORS_UP
    return NARROWER.get(module, above), libraries


def violations(source: str, path: PurePath) -> list[str]:
    """Return what is wrong with the imports of one file; ``path`` starts at the package."""
    module = path.parts[0].removesuffix(".py")
    if module not in LEVEL.keys() | LEAVES:
        return [f"{path}: no place in the map"]
    modules, libraries = may_import(module)
    package = ".".join(["softreg", *path.parts[:-1]])
    found = []
    for name, line, in_function in imports(ast.parse(source), package):
        top, *rest = name.split(".")
        if top == "softreg" and rest[:1] != [module] and not {*rest[:1]} & modules:
            found.append(f"{path}:{line}: {module} may not import {name}")
        if top != "softreg" and top not in libraries:
            found.append(f"{path}:{line}: {module} may not import {top}")
        if top in ONLY_INSIDE_FUNCTIONS and not in_function:
            found.append(f"{path}:{line}: {top} belongs inside a function")
    return found


FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_only_down(path):
    """A file imports lower layers and the libraries of its layer, nothing else."""
    assert violations((PACKAGE / path).read_text(encoding="utf-8"), path) == []


def test_the_package_is_there_to_be_checked():
    """The test above sees files at all."""
    assert PurePath("__init__.py") in FILES


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("_links.py", "from softreg import _objective"),
        ("_links.py", "from softreg._coordinates import Coordinates"),
        ("_links.py", "from . import _rows"),
        ("_links.py", "from ._penalties import ElasticNet"),
        ("_links.py", "def later():\n    import softreg.solvers"),
        ("_links.py", "import softreg"),
        ("_links.py", "import threadpoolctl"),
        ("_objective.py", "import numpy, sklearn.utils"),
        ("solvers/_newton.py", "from .._softmax import SoftmaxRegression"),
        ("solvers/_newton.py", "def fit():\n    from sklearn.base import clone"),
        ("solvers/__init__.py", "from .. import _path"),
        ("_dask.py", "from softreg import _objective"),
        ("_softmax.py", "import pandas as pd"),
        ("_softmax.py", "if True:\n    from pandas import DataFrame"),
        ("_softmax.py", "class A:\n    import pandas"),
        ("_softmax.py", "def plot():\n    import matplotlib.pyplot as plt"),
        ("_softmax.py", "from softreg import functions"),
        ("__init__.py", "from . import functions"),
        ("functions.py", "from softreg._links import Softmax"),
        ("inference.py", "from softreg.functions import softmax"),
        ("inference.py", "import statsmodels.api"),
        ("chunks.py", "import pandas"),
        ("chunks.py", "from softreg._streams import StreamClassifier"),
        ("display/_panels.py", "import matplotlib.pyplot as plt"),
        ("display/_arrays.py", "from softreg._checks import check_C"),
        ("display/__init__.py", "from .. import inference"),
        ("_softmax.py", "def plot():\n    from softreg.display import CVCurveDisplay"),
        ("_streams.py", "from softreg.chunks import Csv"),
        ("_unheard_of.py", ""),
    ],
)
def test_the_check_sees_a_violation(path, source):
    """The checker is not blind: each of these breaks exactly one rule."""
    assert len(violations(source, PurePath(path))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("_threads.py", "import threadpoolctl, threading"),
        ("_rows.py", "from scipy import sparse\nimport numpy.linalg"),
        (
            "_rows.py",
            "from ._threads import Threads",
        ),
        ("_objective.py", "from softreg import _links, _penalties\nfrom ._rows import Block"),
        ("solvers/_newton.py", "from ._result import Result\nfrom softreg.solvers import _lbfgs"),
        ("solvers/_newton.py", "from .._objective import Objective\nimport scipy.optimize"),
        ("_softmax.py", "from sklearn.base import BaseEstimator\nfrom . import solvers"),
        ("_softmax.py", "def names(y):\n    import pandas as pd"),
        ("chunks.py", "def read(self):\n    from pyarrow import dataset"),
        ("display/_panels.py", "def panels():\n    from matplotlib.axes import Axes"),
        ("display/_loss_curve.py", "from softreg.display._panels import panels"),
        ("display/_loss_curve.py", "from ._panels import panels\nimport sklearn.utils"),
        ("__init__.py", "from ._softmax import SoftmaxRegression"),
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
