"""Which words does each topic keep?
=================================

A lasso on texts, beside the ridge that keeps them all.

.. code-block:: none

    python examples/topics.py                         texts simulated about 20 topics
    python examples/topics.py --picture words.png     and the words of three topics
    SOFTREG_DATA=folder python examples/topics.py     news: the training texts of r8.csv there

Each text is a row of word weights (tf-idf), its topic one of the classes. Most words say nothing of
any topic: the lasso's coefficients of those are zero, so that a topic can be read off the rest. The
models are judged by texts that had no part in the fits, nor in the choice of C.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

from softreg import SoftmaxRegressionCV
from softreg.display import CoefficientDisplay

TOPICS = {
    "astronomy": "star orbit telescope planet comet",
    "baking": "flour oven dough yeast butter",
    "banking": "loan interest credit account branch",
    "chess": "bishop rook gambit checkmate opening",
    "cycling": "saddle pedal gear chain helmet",
    "dentistry": "tooth filling crown gum drill",
    "fishing": "rod bait hook river trout",
    "football": "goal striker penalty referee pitch",
    "gardening": "soil seed compost rose spade",
    "geology": "rock crust fault basalt quartz",
    "law": "court judge appeal verdict clause",
    "medicine": "patient dose symptom fever clinic",
    "music": "chord rhythm violin tempo concert",
    "painting": "canvas brush pigment portrait oil",
    "railways": "train track signal station platform",
    "sailing": "mast sail harbour anchor wind",
    "schools": "pupil teacher lesson exam classroom",
    "sheep": "wool flock lamb shear pasture",
    "weather": "rain cloud storm forecast wind",
    "wine": "grape cork cellar vintage oak",
}
NULL = "topic frequencies alone"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
    args = parser.parse_args()
    if args.picture is not None and (missing := no_matplotlib()):
        sys.exit(f"error: --picture: {missing}")
    texts, topics, source = read()
    print(f"{source}: {len(texts)} texts, {len(set(topics))} topics")
    known, unseen, y, y_unseen = train_test_split(
        texts, topics, test_size=0.3, random_state=0, stratify=topics
    )
    vectorizer = TfidfVectorizer(min_df=2)
    X, X_unseen = vectorizer.fit_transform(known), vectorizer.transform(unseen)
    frequencies = pd.Series(y).value_counts(normalize=True).sort_index()
    rows = {NULL: [f"{log_loss(y_unseen, [frequencies] * len(y_unseen)):.3f}", "", "", ""]}
    ridge = SoftmaxRegressionCV(np.geomspace(3, 100, 4), cv=3)
    lasso = SoftmaxRegressionCV(np.geomspace(0.5, 8, 5), l1_ratios=[1], cv=3)
    for name, model in {"ridge": ridge, "lasso": lasso}.items():
        model.fit(X, y)
        rows[name] = judged(model, X_unseen, y_unseen)
    columns = ["log loss", "accuracy", "words", "coefficients"]
    print(pd.DataFrame(rows, columns).T.to_string(), "\n")
    words = vectorizer.get_feature_names_out()
    print(kept_words(model, words))
    if args.picture is not None:
        draw(model, words, args.picture)


def read():
    """Return texts, the topic of each, and what they are."""
    folder = os.environ.get("SOFTREG_DATA")
    if folder and (path := Path(folder, "r8.csv")).exists():
        news = pd.read_csv(path).query("split == 'train'")
        return news["text"].to_numpy(), news["label"].to_numpy(), "Reuters R8"
    return *simulated(1000, np.random.default_rng(0)), "Simulated"


def simulated(n, rng):
    """Return n texts and their topics.

    Of a text's 40 words or so one in ten is of its topic, one in twenty of another one, and the
    rest are of 1,000 common words, the commoner the lower their number.
    """
    names, vocabulary = list(TOPICS), [words.split() for words in TOPICS.values()]
    common = np.array([f"word{rank}" for rank in range(1000)])
    share = 1 / (np.arange(1000) + 3)
    texts, topics = [], rng.integers(len(names), size=n)
    for topic in topics:
        n_own, n_other = rng.poisson([4, 2])
        other = rng.integers(len(names))
        words = [rng.choice(vocabulary[topic], n_own), rng.choice(vocabulary[other], n_other)]
        words.append(rng.choice(common, rng.poisson(34), p=share / share.sum()))
        texts.append(" ".join(np.concatenate(words)))
    return np.array(texts), np.array(names)[topics]


def judged(model, X, y):
    """Return the scores of unseen texts, and how many words and coefficients are not zero."""
    P, kept = model.predict_proba(X), model.coef_ != 0
    accuracy = f"{accuracy_score(y, model.predict(X)):.1%}"
    return [f"{log_loss(y, P):.3f}", accuracy, kept.any(axis=0).sum(), kept.sum()]


def kept_words(model, words):
    """Return a line for each topic: how many words it keeps, and which speak most for it."""
    lines = []
    for topic, coef in zip(model.classes_, model.coef_, strict=True):
        best = np.argsort(-coef)[:6]
        speak = ", ".join(words[j] for j in best if coef[j] > 0)
        lines.append(f"{topic:<10} {np.count_nonzero(coef):>5} words: {speak}")
    return "\n".join(lines)


def no_matplotlib():
    """Return why pictures cannot be drawn, or an empty text."""
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError:
        return 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
    return ""


def draw(model, words, picture):
    """Draw the words with the largest coefficients of three topics."""
    display = CoefficientDisplay.from_estimator(
        model, feature_names=words, classes=model.classes_[:3], top=18
    )
    display.figure_.savefig(picture, dpi=150)
    print(f"\nThe picture is in {picture.name}.")


if __name__ == "__main__":
    main()
