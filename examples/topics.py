"""Which words does each topic keep?
=================================

A lasso on texts, beside the ridge that keeps all words.

.. code-block:: none

    python examples/topics.py                         the scores, and the words of each topic
    python examples/topics.py --picture words.png     and the coefficients of three topics

Each text is a row of word weights (tf-idf), its topic one of the classes. Most words say nothing of
any topic: the lasso's coefficients of those are zero, so that a topic can be read off the rest.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from softreg import SoftmaxRegressionCV
from softreg.display import CoefficientDisplay

parser = argparse.ArgumentParser(description="Which words does each topic keep?")
parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
picture = parser.parse_args().picture
if picture is not None:
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError:
        remedy = 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
        parser.exit(1, f"--picture {picture}: {remedy}\n")

# %%
# The texts, simulated
# --------------------
# About four words of a text are of its topic, two of another one, and 35 of any text.
words_of = {
    "astronomy": ["star", "orbit", "telescope", "planet", "comet"],
    "baking": ["flour", "oven", "dough", "yeast", "butter"],
    "chess": ["bishop", "rook", "gambit", "checkmate", "opening"],
    "music": ["chord", "rhythm", "violin", "tempo", "concert"],
    "sailing": ["mast", "sail", "harbour", "anchor", "wind"],
    "weather": ["rain", "cloud", "storm", "forecast", "wind"],
}
rng, share = np.random.default_rng(0), 1 / np.arange(3, 1003)
texts, topics = [], rng.choice(list(words_of), size=1000)
for topic, other in zip(topics, rng.permutation(topics), strict=True):
    common = [f"word{rank}" for rank in rng.choice(1000, 35, p=share / share.sum())]
    words = [rng.choice(words_of[topic], rng.poisson(4)), common]
    words.append(rng.choice(words_of[other], rng.poisson(2)))
    texts.append(" ".join(np.concatenate(words)))

# %%
# The models
# ----------
known, new, y, y_new = train_test_split(texts, topics, random_state=0)
vectorizer = TfidfVectorizer(min_df=2)
X, X_new = vectorizer.fit_transform(known), vectorizer.transform(new)
ridge = SoftmaxRegressionCV(np.geomspace(3, 100, 4), cv=3)
lasso = SoftmaxRegressionCV(np.geomspace(0.5, 8, 5), l1_ratios=[1], cv=3)
frequencies = np.unique(y, return_counts=True)[1] / len(y)
print(f"topic frequencies alone: log loss {log_loss(y_new, [frequencies] * len(y_new)):.3f}")
for name, model in {"ridge": ridge, "lasso": lasso}.items():
    loss = log_loss(y_new, model.fit(X, y).predict_proba(X_new))
    print(f"{name}: log loss {loss:.3f}, {(model.coef_ != 0).any(axis=0).sum()} words")

# %%
# The words that speak for each topic
# -----------------------------------
vocabulary = vectorizer.get_feature_names_out()
for topic, coef in zip(lasso.classes_, lasso.coef_, strict=True):
    print(f"{topic}: {', '.join(vocabulary[coef > 0])}")
if picture is not None:
    options = {"feature_names": vocabulary, "classes": lasso.classes_[:3], "top": 15}
    CoefficientDisplay.from_estimator(lasso, **options).figure_.savefig(picture, dpi=150)
    print(f"The picture is in {picture.name}.")
