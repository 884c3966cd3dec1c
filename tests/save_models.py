"""Write the models that later versions must load: ``python tests/save_models.py VERSION``.

Each release adds a folder tests/data/vVERSION, which stays as it is; test_saved_models.py loads
all of them. Probabilities are computed from the coefficients here, by SciPy.
"""

import json
import sys
from pathlib import Path

import numpy as np
import skops.io
from exported import dense, fitted
from scipy.special import expit, softmax

from softreg.export import to_dict, to_onnx

NAMES = [
    "softmax",
    "softmax-texts",
    "softmax-two",
    "softmax-lasso",
    "softmax-cv",
    "labels",
    "labels-thresholds",
    "labels-cv",
    "one-vs-rest",
]


def probabilities(model, rows):
    """Return the probabilities (n, K) of scores W x + b."""
    Z = rows @ model._dense_coef.T + model.intercept_
    if Z.shape[1] < len(model.classes_):
        return expit(np.column_stack([-Z, Z]))
    if not hasattr(model, "multilabel_"):
        return softmax(Z, axis=1)
    return expit(Z) if model.multilabel_ else expit(Z) / expit(Z).sum(axis=1, keepdims=True)


def main(version):
    folder = Path(__file__).parent / "data" / f"v{version}"
    folder.mkdir(parents=True)
    for name in NAMES:
        model, X = fitted(name)
        X = X[::20]
        rows = np.asarray(X)
        file = {
            "model": to_dict(model),
            "rows": rows.tolist(),
            "probabilities": probabilities(model, rows).tolist(),
            "predictions": dense(model.predict(X)).tolist(),
        }
        path = folder / f"{name}.json"
        path.write_text(json.dumps(file, allow_nan=False, indent=1) + "\n", encoding="utf-8")
        skops.io.dump(model, path.with_suffix(".skops"))
        path.with_suffix(".onnx").write_bytes(to_onnx(model).SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1])
