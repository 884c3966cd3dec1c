"""Classifiers that also learn from data in chunks: read again and again, or as a stream."""

from __future__ import annotations

import copy
from abc import ABCMeta
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.metaestimators import available_if

from softreg._encoding import target_checks, validation
from softreg._encoding.answers import Answers, Encoder, Encoding
from softreg._encoding.chunk_survey import Survey
from softreg._encoding.class_values import column_of, has_columns, listed, same_classes
from softreg._encoding.namespaces import on_host, with_coefficients_like
from softreg._estimators.base import prediction_attributes
from softreg._estimators.fit import CALLBACK_FRAMES, SolverClassifier, with_callbacks
from softreg._estimators.posing import (
    feature_attributes,
    has_intercept,
    penalty_of,
    read_features,
    threads_of,
)
from softreg._rows.chunked import ChunkedRows
from softreg._rows.coordinates import Coordinates
from softreg._rows.kinds import memory_rows
from softreg.solvers.auto import stream_solver
from softreg.solvers.minibatch.stream_state import StreamProblem, StreamState


def _learns_from_streams(estimator: Any) -> bool:
    """Say whether `partial_fit` is there, or raise AttributeError with the reason."""
    if target_checks.is_balanced(estimator.class_weight):
        raise AttributeError(
            'class_weight="balanced" needs the counts of all rows, which a stream does not know; '
            "pass a dict {class: weight}."
        )
    if estimator.standardize:
        raise AttributeError(
            "standardize=True needs the deviations of all rows, which a stream does not know; use "
            "fit or fit_chunks, or standardize=False and as penalty_factor the variances of the "
            "columns, if they are known."
        )
    if estimator.l1_ratio != 0:
        raise AttributeError(
            f"l1_ratio={validation.shown(estimator.l1_ratio)} needs all rows, over and over, to "
            "find what is zero: use fit or fit_chunks, or l1_ratio=0."
        )
    return stream_solver(estimator.solver) is not None


class StreamClassifier(SolverClassifier, metaclass=ABCMeta):
    """A linear classifier whose rows may also come chunk by chunk."""

    @with_callbacks
    def fit_chunks(self, chunks: Any) -> Self:
        """Fit the coefficients on data larger than memory, read chunk by chunk, again and again.

        The optimum, its certificate and the fitted attributes are those of `fit` on all rows at
        once (with `solvers.MiniBatch`, nearly so); there is no offset. Each pass over the data
        reads all chunks, as many passes as the solver takes (some tens), and holds no more than
        two of them, beside some arrays of their size.

        Parameters
        ----------
        chunks : iterable, or callable that returns an iterator
            Yields (X, y) or (X, y, sample_weight), each as in `fit`, in every pass the same: a
            function such as ``lambda: read(path)``, a list, or a source of `softreg.chunks`. X may
            be arrays, CSR matrices or DataFrames, whose columns are the same in all chunks. Chunks
            without rows are passed over. About a million values are a good size of X.

        Returns
        -------
        self : the fitted estimator

        Raises
        ------
        ValueError
            If a chunk is not as described, with a note that names it, and the file and rows of a
            source of `softreg.chunks`; if there are no rows; or if a later pass finds other data,
            more or fewer chunks than the first. Errors that
            `chunks` raises come through with such a note. An estimator that was fitted before
            stays as it was.
        TypeError
            If `chunks` can be read only once, as generators can, or yields no tuples.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning, UserWarning
            As in `fit`.

        Notes
        -----
        Callbacks see each iteration as in `fit`, but no data: X and y are None.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from softreg import SoftmaxRegression
        >>> X, y = load_wine(return_X_y=True)
        >>> def read():
        ...     for start in range(0, len(X), 50):  # as if from a file
        ...         yield X[start : start + 50], y[start : start + 50]
        >>> model = SoftmaxRegression().fit_chunks(read)
        >>> abs(model.objective_ - SoftmaxRegression().fit(X, y).objective_) < 1e-9
        True
        """
        reader = copy.copy(self)  # keeps the features of the first chunk, to compare the others
        with threads_of(self) as threads:
            survey = Survey.from_chunks(chunks, reader._validated, self._encoder)
            raw = Coordinates.raw(reader.n_features_in_, has_intercept(self))
            rows = ChunkedRows.from_source(survey.rows(raw, threads))
            result, attributes = self._solve(rows, survey.encoding, feature_attributes(reader), {})
        self._store(feature_attributes(reader) | with_coefficients_like(survey.example, attributes))
        self._warn(survey.encoding, result, self.C, 2 + CALLBACK_FRAMES)
        return self

    @available_if(_learns_from_streams)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from one chunk of a stream, by a step of `solvers.MiniBatch` for each batch of it.

        Columns need no scaling: their means, deviations and second moments are updated with each
        chunk. The penalty is that of a prior of variance C, which fades as rows arrive: 1 / (C S),
        where S is the weight of all rows so far. After `fit`, learning goes on from its
        coefficients, with steps as small as its number of rows says.

        Rows without weight teach nothing and count for nothing, whatever they hold: a chunk of such
        rows alone leaves the estimator as it was, one with others is the chunk of these. Likewise
        a label whose answers are unknown, or weigh nothing, throughout a chunk stays as it was.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            As in `fit`; any number of rows, also one.
        y : array-like of shape (n_samples,) or (n_samples, n_classes), or sparse matrix
            As in `fit`; all rows may be of one class.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever come, asked for on the first call unless the estimator's
            `classes` names them or y has a column for each. Later it may be left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0, which may all be 0. For labels also (n_samples, n_classes).

        Returns
        -------
        self : the fitted estimator
            With `coef_`, `intercept_`, `classes_`, `n_features_in_`, `n_samples_seen_`, `solver_`,
            `n_iter_` (1,), the number of chunks with weight, and `loss_curve_` (n_iter,), the mean
            loss of each before it was learned from.

        Raises
        ------
        ValueError
            If an argument or parameter is not as described: unknown classes, or other features than
            in the first chunk. The estimator stays as it was.
        AttributeError
            If `solver` is none of "auto", "minibatch" and `solvers.MiniBatch` objects, or
            ``class_weight="balanced"``, or ``standardize=True``, or `l1_ratio` is above 0.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from softreg import SoftmaxRegression
        >>> X, y = load_wine(return_X_y=True)  # sorted by class
        >>> model = SoftmaxRegression(random_state=0)
        >>> for start in (0, 1, 2, 3, 4):
        ...     model = model.partial_fit(X[start::5], y[start::5], classes=[0, 1, 2])
        >>> model.n_samples_seen_, model.score(X, y) > 0.9
        (178, True)
        """
        is_first = not hasattr(self, "classes_")
        y, sample_weight = on_host(y=y, sample_weight=sample_weight)
        data, features = read_features(self, X, reset=is_first)
        encoder = self._encoder(y)
        answers = encoder.checked(y, sample_weight, data)
        encoding = self._stream_encoding(encoder, classes, answers, y)
        with threads_of(self) as threads:
            raw = Coordinates.raw(data.shape[1], has_intercept(self))
            stream = self._stream_state(raw, encoding)
            # Weights are divided by the unit of the first rows.
            unit = stream.totals.weight_unit if stream.totals else answers.weight_unit
            targets = encoding.targets(answers.in_weight_unit(unit))
            rows = memory_rows(data, *targets, None, raw, threads, unit)
            problem = self._stream_problem(encoding, features)
            if rows.totals.n:
                stream = stream.after_chunk(rows, problem)
            elif not is_first:
                return self
        predicting = prediction_attributes(encoding, stream.W, stream.b)
        if not all(np.isfinite(predicting[name]).all() for name in ("coef_", "intercept_")):
            raise ValueError(
                "The coefficients overflow. Choose a smaller learning_rate, or bring X and "
                "sample_weight into a range whose squares are finite."
            )
        attributes = {
            "n_iter_": np.array([len(stream.losses)]),
            "loss_curve_": stream.losses,
            "n_samples_seen_": stream.n_rows,
            "solver_": problem.solver,
            "_stream_": stream.as_dicts(),
        }
        self._store(with_coefficients_like(X, features | predicting | attributes))
        return self

    def _stream_encoding(
        self, encoder: Encoder, classes: ArrayLike | None, answers: Answers, y: Any
    ) -> Encoding:
        """Return the encoding of a stream's y; ValueError if the stream began with another."""
        names = getattr(y, "columns", None) if has_columns(y) and self.classes is None else None
        expected: Any = getattr(self, "classes_", classes)
        target_checks.check_same_columns(names, expected)
        if not hasattr(self, "classes_"):
            return encoder.encoding_from_classes(classes, answers)
        if classes is not None and not same_classes(column_of(classes), self.classes_):
            raise ValueError(
                f"classes={validation.shown(classes)} is not the same as on last call to "
                f"partial_fit, was: {listed(self.classes_)}."
            )
        encoding = self._encoding_of_fit(encoder, answers)
        earlier = {name: getattr(self, name, None) for name in encoding.fitted_attributes}
        if encoding.n_scores != self.intercept_.shape[0] or earlier != encoding.fitted_attributes:
            raise ValueError(
                f"y is not what the model was fitted on: it was {earlier} with "
                f"{self.intercept_.shape[0]} row(s) of coefficients, and is "
                f"{encoding.fitted_attributes} with {encoding.n_scores}."
            )
        return encoding

    def _stream_problem(self, encoding: Encoding, features: dict[str, Any]) -> StreamProblem:
        """Return what is minimised on a stream, and the solver that does it."""
        solver, chunk = stream_solver(self.solver), len(getattr(self, "loss_curve_", ()))
        solver.check()
        make_generator = validation.generator_maker(self.random_state, chunk)
        strength, unit = self._strength(encoding), np.ones(features["n_features_in_"])
        penalty = penalty_of(self, strength, unit, features, encoding.link.exclusive)
        return StreamProblem(encoding.link, penalty, solver, make_generator)

    def _stream_state(self, raw: Coordinates, encoding: Encoding) -> StreamState:
        """Return the state of the stream so far: new, or as a fit or the last chunk left it.

        `raw` are the user's coordinates.
        """
        if not hasattr(self, "coef_"):
            W, b = np.zeros((len(raw.scale), encoding.n_scores)), np.zeros(encoding.n_scores)
            return StreamState.from_coefficients(raw, W, b)
        W, b, saved = self._dense_coef.T, self._dense_intercept, getattr(self, "_stream_", None)
        if saved is None:
            stream = StreamState.from_coefficients(raw, W, b, self.n_samples_seen_)
        else:
            stream = StreamState.from_dicts(saved)
        drops_intercept = b.any() and not raw.intercept
        if drops_intercept or stream.coordinates.intercept != raw.intercept:
            raise ValueError(
                f"fit_intercept={bool(self.fit_intercept)} was {not self.fit_intercept} before; a "
                "model that goes on learning keeps it. To change it, begin with a clone."
            )
        return stream
