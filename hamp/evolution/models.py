"""The models that a surrogate chooses among: standardised inputs to standardised targets.

Each has ``fit_<name>(U, v, rng, start) -> hyperparameters``, the costly part, and ``<name>(U, v, hyperparameters) ->
Model``, the cheap one: fitting again at given hyperparameters, which draws no random numbers.

The Gaussian process is written out here, though scikit-learn has one: a generation's surrogate would pay more for
importing it (seconds) and for its gradient (a matrix per length scale) than for the rest of its work. The tests
compare the two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Hyperparameters = dict[str, Any]
JITTER = 1e-8
ENOUGH = 500
"""Points from which a Gaussian process learns its hyperparameters, at most."""


@dataclass(frozen=True)
class Model:
    """A fitted model: mean and standard deviation ``(n,)`` at inputs ``(n, groups)``."""

    mean: Callable[[Array], Array]
    deviation: Callable[[Array], Array]


def fit_gp(U: Array, v: Array, rng: np.random.Generator, start: Hyperparameters | None = None) -> Hyperparameters:
    """Maximise the marginal likelihood of a GP with one length scale per input, from ``start`` where given.

    Rasmussen and Williams, *Gaussian processes for machine learning*, section 5.4. Matérn 5/2 kernel plus noise.
    Of many points, some drawn at random tell as much: each step costs the cube of their number.
    """
    from scipy.optimize import minimize

    if len(v) > ENOUGH:
        drawn = np.sort(rng.choice(len(v), ENOUGH, replace=False))
        U, v = U[drawn], v[drawn]

    start = start or {"variance": 3.0, "lengths": [3.0] * U.shape[1], "noise": 1e-2}
    theta = np.log([start["variance"], *start["lengths"], start["noise"]])
    bounds = np.log([(1e-2, 1e3), *[(0.1, 100.0)] * U.shape[1], (1e-6, 1.0)])
    solution = minimize(
        _negative_evidence,
        np.clip(theta, *bounds.T),
        args=(U, v),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 60, "ftol": 1e-6},
    )
    variance, *lengths, noise = np.exp(solution.x).tolist()
    return {"variance": variance, "lengths": lengths, "noise": noise}


def _negative_evidence(theta: Array, U: Array, v: Array) -> tuple[float, Array]:
    """Return the negative log marginal likelihood and its gradient in the logarithms of the hyperparameters.

    The derivatives by all length scales come from one matrix product, not from a matrix each.
    """
    variance, lengths, noise = np.exp(theta[0]), np.exp(theta[1:-1]), np.exp(theta[-1])
    A = U / lengths
    r = np.sqrt(5 * _squared_distances(A, A))
    decay = variance * np.exp(-r)
    K = decay * (1 + r + r**2 / 3)
    noisy = K.copy()
    noisy[np.diag_indices_from(noisy)] += noise + JITTER
    try:
        L = np.linalg.cholesky(noisy)
    except np.linalg.LinAlgError:
        return 1e25, np.zeros_like(theta)
    inverse = np.linalg.inv(L)
    precision = inverse.T @ inverse
    alpha = precision @ v
    W = precision - np.outer(alpha, alpha)
    M = W * (5 / 3) * decay * (1 + r)
    by_length = 0.5 * (2 * (M.sum(axis=1) @ A**2) - 2 * (A * (M @ A)).sum(axis=0))
    value = 0.5 * float(v @ alpha) + float(np.log(np.diag(L)).sum()) + 0.5 * len(v) * np.log(2 * np.pi)
    return value, np.concatenate([[0.5 * (W * K).sum()], by_length, [0.5 * noise * np.trace(W)]])


def _squared_distances(A: Array, B: Array) -> Array:
    return np.maximum((A**2).sum(axis=1)[:, None] + (B**2).sum(axis=1) - 2 * A @ B.T, 0)


def gp(U: Array, v: Array, hyperparameters: Hyperparameters) -> Model:
    """Return the posterior: mean and standard deviation of the function, without the noise."""
    variance, noise = hyperparameters["variance"], hyperparameters["noise"]
    lengths = np.array(hyperparameters["lengths"])

    def covariance(A: Array) -> Array:
        r = np.sqrt(5 * _squared_distances(A / lengths, U / lengths))
        return variance * (1 + r + r**2 / 3) * np.exp(-r)

    K = covariance(U)
    K[np.diag_indices_from(K)] += noise + JITTER
    inverse = np.linalg.inv(np.linalg.cholesky(K))
    alpha = inverse.T @ (inverse @ v)

    def deviation(A: Array) -> Array:
        explained = ((covariance(A) @ inverse.T) ** 2).sum(axis=1)
        return np.sqrt(np.maximum(variance - explained, 1e-12))

    return Model(lambda A: covariance(A) @ alpha, deviation)


def _quadratic(A: Array, B: Array) -> Array:
    """Return the inner products of all monomials up to the second degree, ``(len(A), len(B))``.

    So a polynomial of any number of inputs costs the cube of the number of points, as a Gaussian process does, and not
    that of its terms.
    """
    G = A @ B.T
    return 1 + G + (G**2 + A**2 @ (B**2).T) / 2


def fit_ridge(U: Array, v: Array, rng: np.random.Generator, start: Hyperparameters | None = None) -> Hyperparameters:
    """Choose the penalty of a quadratic polynomial by its exact leave-one-out error (Golub, Heath and Wahba, 1979)."""
    squares, left = np.linalg.eigh(_quadratic(U, U))
    squares = np.maximum(squares, 0)
    projected = left.T @ v
    best = (np.inf, 1.0)
    for penalty in 10.0 ** np.arange(-3, 3.5, 0.5):
        shrink = squares / (squares + penalty)
        residual = v - left @ (shrink * projected)
        leverage = (left**2 * shrink).sum(axis=1)
        error = float(np.mean((residual / np.maximum(1 - leverage, 1e-6)) ** 2))
        best = min(best, (error, float(penalty)))
    return {"penalty": best[1], "deviation": float(np.sqrt(best[0]))}


def ridge(U: Array, v: Array, hyperparameters: Hyperparameters) -> Model:
    """Return the polynomial, and its leave-one-out deviation scaled by the leverage of where it's asked.

    In its dual form: Saunders, Gammerman and Vovk, *Ridge regression learning algorithm in dual variables*, ICML 1998.
    """
    penalty = hyperparameters["penalty"]
    inverse = np.linalg.inv(_quadratic(U, U) + penalty * np.eye(len(U)))
    alpha = inverse @ v

    def deviation(A: Array) -> Array:
        K = _quadratic(A, U)
        G = (A**2).sum(axis=1)
        own = 1 + G + (G**2 + (A**4).sum(axis=1)) / 2
        leverage = (own - ((K @ inverse) * K).sum(axis=1)) / penalty
        return hyperparameters["deviation"] * np.sqrt(1 + np.maximum(leverage, 0))

    return Model(lambda A: _quadratic(A, U) @ alpha, deviation)


def fit_trees(U: Array, v: Array, rng: np.random.Generator, start: Hyperparameters | None = None) -> Hyperparameters:
    """Draw the seed of the forest (Geurts, Ernst and Wehenkel, *Extremely randomized trees*, 2006)."""
    return {"seed": int(rng.integers(2**31)), "trees": 100, "leaf": 2}


def trees(U: Array, v: Array, hyperparameters: Hyperparameters) -> Model:
    """Return the forest's mean and the deviation between its trees."""
    from sklearn.ensemble import ExtraTreesRegressor

    forest = ExtraTreesRegressor(
        hyperparameters["trees"],
        min_samples_leaf=hyperparameters["leaf"],
        random_state=hyperparameters["seed"],
    ).fit(U, v)

    def mean(A: Array) -> Array:
        return forest.predict(A) if len(A) else np.zeros(0)  # scikit-learn refuses to predict nothing

    def deviation(A: Array) -> Array:
        return np.stack([tree.predict(A) for tree in forest.estimators_]).std(axis=0) if len(A) else np.zeros(0)

    return Model(mean, deviation)


FIT = {"gp": fit_gp, "ridge": fit_ridge, "trees": fit_trees}
MODEL: dict[str, Callable[[Array, Array, Hyperparameters], Model]] = {
    "gp": gp,
    "ridge": ridge,
    "trees": trees,
}
