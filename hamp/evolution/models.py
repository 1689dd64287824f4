"""The models that a surrogate chooses among: standardised inputs to standardised targets.

Each model has ``fit_<name>(U, v, rng) -> hyperparameters``, the costly part, and ``<name>(U, v, hyperparameters)
-> predict``, the cheap one: fitting again at given hyperparameters, which is exact and needs no random numbers.
The posterior of the Gaussian process is computed here, in the few lines that it takes, since scikit-learn's needs
seconds to import, which every local-search job would pay; its hyperparameters are scikit-learn's.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Hyperparameters = dict[str, Any]
Predict = Callable[[Array], tuple[Array, Array]]
JITTER = 1e-8


def fit_gp(
    U: Array, v: Array, rng: np.random.Generator, start: Hyperparameters | None = None
) -> Hyperparameters:
    """Maximise the marginal likelihood of a GP with one length scale per input, from ``start`` where given.

    Rasmussen and Williams, *Gaussian processes for machine learning*, section 5.4. Matérn 5/2 kernel plus noise.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    start = start or {"variance": 3.0, "lengths": [3.0] * U.shape[1], "noise": 1e-2}
    kernel = ConstantKernel(start["variance"], (1e-2, 1e3)) * Matern(
        np.array(start["lengths"]), (0.1, 100.0), nu=2.5
    ) + WhiteKernel(start["noise"], (1e-6, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # a length at its bound is an input without influence
        fitted = GaussianProcessRegressor(kernel, alpha=JITTER).fit(U, v).kernel_
    return {
        "variance": float(fitted.k1.k1.constant_value),
        "lengths": [float(length) for length in np.atleast_1d(fitted.k1.k2.length_scale)],
        "noise": float(fitted.k2.noise_level),
    }


def gp(U: Array, v: Array, hyperparameters: Hyperparameters) -> Predict:
    """Return the posterior mean and standard deviation (of the function, without the noise)."""
    variance, noise = hyperparameters["variance"], hyperparameters["noise"]
    lengths = np.array(hyperparameters["lengths"])

    def covariance(A: Array, B: Array) -> Array:
        A, B = A / lengths, B / lengths
        squared = np.maximum((A**2).sum(1)[:, None] + (B**2).sum(1) - 2 * A @ B.T, 0)
        r = np.sqrt(5 * squared)
        return variance * (1 + r + r**2 / 3) * np.exp(-r)

    K = covariance(U, U)
    K[np.diag_indices_from(K)] += noise + JITTER
    inverse = np.linalg.inv(np.linalg.cholesky(K))
    alpha = inverse.T @ (inverse @ v)

    def predict(A: Array) -> tuple[Array, Array]:
        k = covariance(A, U)
        explained = ((k @ inverse.T) ** 2).sum(axis=1)
        return k @ alpha, np.sqrt(np.maximum(variance - explained, 1e-12))

    return predict


def _quadratic(U: Array) -> Array:
    i, j = np.triu_indices(U.shape[1])
    return np.hstack([np.ones((len(U), 1)), U, U[:, i] * U[:, j]])


def fit_ridge(
    U: Array, v: Array, rng: np.random.Generator, start: Hyperparameters | None = None
) -> Hyperparameters:
    """Choose the penalty of a quadratic polynomial by its exact leave-one-out error (Golub, Heath and Wahba, 1979)."""
    P = _quadratic(U)
    left, singular, _ = np.linalg.svd(P, full_matrices=False)
    projected = left.T @ v
    best = (np.inf, 1.0)
    for penalty in 10.0 ** np.arange(-3, 3.5, 0.5):
        shrink = singular**2 / (singular**2 + penalty)
        residual = v - left @ (shrink * projected)
        leverage = (left**2 * shrink).sum(axis=1)
        error = float(np.mean((residual / np.maximum(1 - leverage, 1e-6)) ** 2))
        best = min(best, (error, float(penalty)))
    return {"penalty": best[1], "deviation": float(np.sqrt(best[0]))}


def ridge(U: Array, v: Array, hyperparameters: Hyperparameters) -> Predict:
    """Return the polynomial, and its leave-one-out deviation scaled by the leverage of where it's asked."""
    P = _quadratic(U)
    inverse = np.linalg.inv(P.T @ P + hyperparameters["penalty"] * np.eye(P.shape[1]))
    weights = inverse @ (P.T @ v)

    def predict(A: Array) -> tuple[Array, Array]:
        Q = _quadratic(A)
        leverage = ((Q @ inverse) * Q).sum(axis=1)
        return Q @ weights, hyperparameters["deviation"] * np.sqrt(1 + np.maximum(leverage, 0))

    return predict


def fit_trees(
    U: Array, v: Array, rng: np.random.Generator, start: Hyperparameters | None = None
) -> Hyperparameters:
    """Draw the seed of the forest (Geurts, Ernst and Wehenkel, *Extremely randomized trees*, 2006)."""
    return {"seed": int(rng.integers(2**31)), "trees": 100, "leaf": 2}


def trees(U: Array, v: Array, hyperparameters: Hyperparameters) -> Predict:
    """Return the forest's mean and the deviation between its trees."""
    from sklearn.ensemble import ExtraTreesRegressor

    forest = ExtraTreesRegressor(
        hyperparameters["trees"],
        min_samples_leaf=hyperparameters["leaf"],
        random_state=hyperparameters["seed"],
    ).fit(U, v)

    def predict(A: Array) -> tuple[Array, Array]:
        each = np.stack([tree.predict(A) for tree in forest.estimators_])
        return each.mean(axis=0), each.std(axis=0)

    return predict


FIT = {"gp": fit_gp, "ridge": fit_ridge, "trees": fit_trees}
MODEL: dict[str, Callable[[Array, Array, Hyperparameters], Predict]] = {
    "gp": gp,
    "ridge": ridge,
    "trees": trees,
}
