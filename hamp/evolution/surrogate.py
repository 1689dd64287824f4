"""Models of the costly objectives, fitted to everything evaluated so far.

For each objective the model with the highest cross-validated rank correlation is used: rank, since the search only
compares. What was chosen crosses to the next stage as rows of a table (:meth:`Surrogate.describe`), from which
:func:`refit` makes the same surrogate again, cheaply.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hamp.evolution import models
from hamp.evolution.domain import Domain, Widths, encode

Array = NDArray[np.float64]
Transform = Literal["logit", "log", "identity"]
ModelName = Literal["gp", "ridge", "trees"]
FOLDS = 5
Trial = tuple[float, ModelName, dict[str, Any], Array]  # rank correlation, model, hyperparameters, what it foresaw
GOOD = 0.99  # a rank correlation from which on no other model is tried
EDGE = 1e-3  # errors nearer than this to 0 and 1 are no better known than that


@dataclass(frozen=True)
class Target:
    """What one model learns: ``values (n,)``, under a transform that makes it smooth and unbounded.

    ``baseline (n,)``: what is predicted without a surrogate, as by a device's latency table; then the model learns
    the ratio to it.
    """

    values: Array
    transform: Transform = "identity"
    baseline: Array | None = None


@dataclass(frozen=True)
class Fitted:
    """One objective's model and its cross-validated quality, in the objective's own unit."""

    objective: str
    model: ModelName
    transform: Transform
    hyperparameters: dict[str, Any]
    spearman: float
    kendall: float
    rmse: float
    n: int
    fit: models.Model


@dataclass(frozen=True)
class Surrogate:
    """The models of all costly objectives."""

    domain: Domain
    fitted: tuple[Fitted, ...]

    def predict(
        self, X: Widths, baselines: Mapping[str, Array] | None = None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return mean and standard deviation ``(n,)`` of each objective at widths ``X (n, groups)``.

        baselines: for an objective that was fitted with a baseline, its baseline at ``X``. The deviation is carried
        through the transform to first order.
        """
        U, mean, deviation = encode(X, self.domain), {}, {}
        for one in self.fitted:
            value, slope = _inverse(one.fit.mean(U), one.transform)
            base = (baselines or {}).get(one.objective, 1.0)
            mean[one.objective], deviation[one.objective] = value * base, slope * one.fit.deviation(U) * base
        return mean, deviation

    def describe(self) -> list[dict[str, Any]]:
        """Return a row per objective: model, transform, hyperparameters (JSON), spearman, kendall, rmse, n."""
        return [
            {
                "objective": one.objective,
                "model": one.model,
                "transform": one.transform,
                "hyperparameters": json.dumps(one.hyperparameters, sort_keys=True),
                "spearman": one.spearman,
                "kendall": one.kendall,
                "rmse": one.rmse,
                "n": one.n,
            }
            for one in self.fitted
        ]


def fit(
    X: Widths,
    domain: Domain,
    targets: Mapping[str, Target],
    rng: np.random.Generator,
    *,
    names: Sequence[ModelName] = ("gp", "ridge", "trees"),
    previous: Sequence[Mapping[str, Any]] = (),
) -> Surrogate:
    """Fit the best of the named models to each target.

    X: evaluated widths ``(n, groups)``. previous: the rows that described the last generation's surrogate: fitting
    starts at its hyperparameters, where the same model was chosen.
    """
    U = encode(X, domain)
    folds = rng.permutation(len(X)) % min(FOLDS, len(X))
    before = {(row["objective"], row["model"]): json.loads(row["hyperparameters"]) for row in previous}
    fitted = []
    for objective, target in targets.items():
        v = _forward(target)
        base = 1.0 if target.baseline is None else target.baseline
        trials: list[Trial] = []
        for name in names:
            if trials and max(trial[0] for trial in trials) >= GOOD:
                break
            start = before.get((objective, name))
            scaled = (v - v.mean()) / (float(v.std()) or 1.0)
            hyperparameters = models.FIT[name](_standardise(U, U), scaled, rng, start)
            held_out = np.zeros(len(v))
            for fold in np.unique(folds):
                train = folds != fold
                held_out[~train] = _model(name, U[train], v[train], hyperparameters).mean(U[~train])
            # Of the objective, which the search compares: where the baseline says all, the ratio to it is noise.
            foreseen = _inverse(held_out, target.transform)[0] * base
            trials.append((_rank_correlation(foreseen, target.values), name, hyperparameters, foreseen))
        spearman, name, hyperparameters, foreseen = _best(trials, len(v))
        fitted.append(
            Fitted(
                objective,
                name,
                target.transform,
                hyperparameters,
                spearman=spearman,
                kendall=_kendall(foreseen, target.values),
                rmse=float(np.sqrt(np.mean((foreseen - target.values) ** 2))),
                n=len(v),
                fit=_model(name, U, v, hyperparameters),
            )
        )
    return Surrogate(domain, tuple(fitted))


def _best(trials: list[Trial], n: int) -> Trial:
    """Return the first trial that no later one ranks better than by a standard error of the rank correlation.

    The standard error in Fisher's z is 1.06 / sqrt(n - 3) (Fieller, Hartley and Pearson, 1957).
    """
    error = 1.06 / np.sqrt(max(n - 3, 1))
    z = np.arctanh(np.clip([trial[0] for trial in trials], -1 + 1e-9, 1 - 1e-9))
    best = 0
    for later in range(1, len(trials)):
        if z[later] > z[best] + error:
            best = later
    return trials[best]


def refit(rows: Sequence[Mapping[str, Any]], X: Widths, domain: Domain, targets: Mapping[str, Target]) -> Surrogate:
    """Fit again what :meth:`Surrogate.describe` described, to the same data: equal predictions, at little cost."""
    U = encode(X, domain)
    fitted = []
    for row in rows:
        target = targets[row["objective"]]
        hyperparameters = json.loads(row["hyperparameters"])
        quality = {key: row[key] for key in ("spearman", "kendall", "rmse", "n")}
        model = _model(row["model"], U, _forward(target), hyperparameters)
        fitted.append(Fitted(row["objective"], row["model"], target.transform, hyperparameters, **quality, fit=model))
    return Surrogate(domain, tuple(fitted))


def _model(name: ModelName, U: Array, v: Array, hyperparameters: dict[str, Any]) -> models.Model:
    centre, spread = float(v.mean()), float(v.std()) or 1.0
    scaled = models.MODEL[name](_standardise(U, U), (v - centre) / spread, hyperparameters)
    return models.Model(
        lambda A: centre + spread * scaled.mean(_standardise(A, U)),
        lambda A: spread * scaled.deviation(_standardise(A, U)),
    )


def _standardise(A: Array, like: Array) -> Array:
    varied = np.ptp(like, axis=0) > 0  # not by the deviation, which of equal numbers rounding may leave above 0
    return (A - np.where(varied, like.mean(axis=0), like[0])) / np.where(varied, like.std(axis=0), 1.0)


def _forward(target: Target) -> Array:
    v = np.asarray(target.values, dtype=float)
    if target.baseline is not None:
        v = v / target.baseline
    if target.transform == "logit":
        v = np.clip(v, EDGE, 1 - EDGE)
        return np.log(v / (1 - v))
    return np.log(np.maximum(v, 1e-300)) if target.transform == "log" else v


def _inverse(v: Array, transform: Transform) -> tuple[Array, Array]:
    """Return the value and its derivative (for the standard deviation, to first order)."""
    if transform == "logit":
        p = 1 / (1 + np.exp(-v))
        return p, p * (1 - p)
    if transform == "log":
        return np.exp(v), np.exp(v)
    return v, np.ones_like(v)


def _ranks(v: ArrayLike) -> Array:
    """Return mean ranks: equal values share the mean of theirs."""
    _, inverse, counts = np.unique(v, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _rank_correlation(a: Array, b: Array) -> float:
    """Return Spearman's rank correlation; 0 where one of the two is constant."""
    a, b = _ranks(a), _ranks(b)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def _kendall(a: Array, b: Array) -> float:
    """Return Kendall's tau-b; 0 where one of the two is constant."""
    A, B = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
    norm = float(np.sqrt((A**2).sum() * (B**2).sum()))
    return float((A * B).sum()) / norm if norm > 0 else 0.0
