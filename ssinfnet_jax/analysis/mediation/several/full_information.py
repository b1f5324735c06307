"""Path models of patients with missing values, by full-information maximum likelihood."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ssinfnet_jax.analysis.mediation.estimation import elimination
from ssinfnet_jax.analysis.mediation.estimation.host import double_precision
from ssinfnet_jax.analysis.mediation.several.path_model import PathModel, measures, structure

_ITERATIONS = 5000
_TOLERANCE = 1e-10  # of standardised moments, from one step to the next


class Patterns(NamedTuple):
    """Moments of the patients who have the same variables, for G patterns of P variables.

    there: float[G, P], 1 for a variable that they have.  n: float[G].
    mean: float[G, P], 0 where missing.  covariance: float[G, P, P] (divisor n), 0 where missing.
    """

    there: np.ndarray
    n: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray


class Fit(NamedTuple):
    """A path model fitted to all observed values.

    model: in standard deviations `sd` [P] of the variables.  covariance: of its paths, by (left, right).
    se_of_covariances: (left, right) -> standard error of a residual (co)variance, of standardised variables.
    fit: see path_model.measures(); chi-square is twice the difference of log-likelihoods.
    """

    model: PathModel
    sd: pd.Series
    covariance: pd.DataFrame
    se_of_covariances: dict[tuple[str, str], float]
    fit: dict[str, float]


def fit(
    data: pd.DataFrame, equations: dict[str, list[str]], fixed: Sequence[str], correlated: Sequence[str] = ()
) -> Fit:
    """Fits a path model to all observed values, as lavaan's `missing = "fiml", fixed.x = FALSE` does.

    With mu and Sigma those of the model and o the variables that patient i has,
      log L = -1/2 sum_i (|o| log 2 pi + log|Sigma_oo| + (y_o - mu_o)' inv(Sigma_oo) (y_o - mu_o)),
    by EM: means and products of missing values are expected given the observed ones, and the path model is fitted to
    them. Means and the covariances of exposures and covariates are free, so that patients without these count, too.
    Standard errors come from the observed information, by derivatives of JAX. Values are missing at random, and
    variables normal.

    Args:
      data: float[N, P], columns in the order of `fixed`, then of `equations`; NaN where missing.
      equations, fixed, correlated: see PathModel.
    Raises: ValueError for variables that fewer than three patients have together, no convergence, or an information
      matrix that is not positive definite.
    Source: Arbuckle 1996, Full information estimation in the presence of incomplete data; Dempster, Laird and Rubin
      1977, doi:10.1111/j.2517-6161.1977.tb01600.x; Savalei 2010, doi:10.1037/a0020143 (observed information).
    """
    data = data[data.notna().any(axis=1)]
    known = data.notna().to_numpy(float)
    apart = np.argwhere(known.T @ known < 3)
    if len(apart):
        left, right = (data.columns[i] for i in apart[0])
        raise ValueError(f"Fewer than three patients have both {left!r} and {right!r}; leave one of them out.")
    location, scale = data.mean(), data.std(ddof=0)
    patterns = _patterns(((data - location) / scale).to_numpy())
    names, n = list(data.columns), len(data)

    place = {name: i for i, name in enumerate(names)}
    system = [(place[left], [place[name] for name in right]) for left, right in equations.items()]
    joint = [list(equations).index(name) for name in correlated]
    without_paths = [(left, []) for left, _ in system]
    maximise = (
        lambda covariance: structure(covariance, system, joint)[2],
        lambda covariance: covariance,  # the saturated model
        lambda covariance: structure(covariance, without_paths)[2],
    )
    moments = [_expectation_maximisation(patterns, step) for step in maximise]
    with double_precision():
        units = float((known @ np.log(scale.to_numpy())).sum())
        logls = [float(_log_likelihood(mean, sigma, patterns)) - units for mean, sigma, _ in moments]
    (mean, _, expected), (_, saturated, _), _ = moments
    spread = np.sqrt(np.diag(expected))
    r = pd.DataFrame(expected / np.outer(spread, spread), names, names)
    model = PathModel(r, n, equations, list(fixed), correlated)
    covariance, of_covariances = _errors(model, mean / spread, patterns, spread)
    logl, highest, lowest = logls
    free_moments = len(names) + len(fixed) * (len(fixed) + 1) // 2  # means; covariances of exposures and covariates
    unrestricted = pd.DataFrame(saturated / np.outer(spread, spread), names, names)
    measured = measures(model, unrestricted, max(2 * (highest - logl), 0.0), 2 * (highest - lowest), logl, free_moments)
    return Fit(model, scale * spread, covariance, of_covariances, measured)


def _patterns(z: np.ndarray) -> Patterns:
    there, group = np.unique(~np.isnan(z), axis=0, return_inverse=True)
    group, filled = group.ravel(), np.nan_to_num(z)
    n = np.bincount(group).astype(float)
    mean = np.stack([filled[group == g].mean(0) for g in range(len(n))])
    centered = [filled[group == g] - mean[g] for g in range(len(n))]
    return Patterns(there.astype(float), n, mean, np.stack([c.T @ c / len(c) for c in centered]))


def _expectation_maximisation(
    patterns: Patterns, maximise: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [P] and covariance [P, P] of a model, and the expected covariance that it was fitted to.

    Args:
      maximise: the covariance that the model implies where it is fitted to a covariance.
    """
    num = patterns.there.shape[1]
    mean, sigma = np.zeros(num), np.eye(num)
    both = patterns.there[:, :, None] * patterns.there[:, None, :]
    alone = np.eye(num) * (1 - patterns.there)[:, None, :]
    share = patterns.n / patterns.n.sum()
    for _ in range(_ITERATIONS):
        # Rows and columns of what is missing are those of the identity: the inverse is that of what is there.
        fill = sigma @ (np.linalg.inv(sigma * both + alone) * both)
        off = (patterns.mean - mean) * patterns.there
        moved = (fill @ off[..., None])[..., 0]
        unknown = sigma - fill @ sigma
        second = fill @ (patterns.covariance + off[:, :, None] * off[:, None, :]) @ fill.swapaxes(1, 2) + unknown
        step = share @ moved
        expected = np.tensordot(share, second, 1) - np.outer(step, step)
        before, sigma = sigma, maximise(expected)
        mean = mean + step
        if max(np.abs(sigma - before).max(), np.abs(step).max()) < _TOLERANCE:
            return mean, sigma, expected
    raise ValueError(
        f"The model of incomplete data did not converge in {_ITERATIONS} steps; use fewer mediators, or those with "
        "fewer gaps."
    )


@jax.jit
def _log_likelihood(mean: jax.Array, sigma: jax.Array, patterns: Patterns) -> jax.Array:
    """Of P variables in standard deviations, given the patterns."""

    def of_pattern(there, n, center, covariance):
        both = jnp.outer(there, there)
        off = (center - mean) * there
        spread, pivots = elimination.solve(sigma * both + jnp.diag(1 - there), covariance + jnp.outer(off, off))
        size = there.sum() * jnp.log(2 * jnp.pi) + jnp.log(pivots).sum()
        return -n / 2 * (size + jnp.trace(spread))

    return jax.vmap(of_pattern)(*patterns).sum()


def _errors(
    model: PathModel, mean: np.ndarray, patterns: Patterns, spread: np.ndarray
) -> tuple[pd.DataFrame, dict[tuple[str, str], float]]:
    """Covariance of the paths, and standard errors of residual (co)variances, from the observed information.

    Args:
      mean: float[P], spread: float[P], the model's in the standardised units of `patterns`.
    """
    names = list(model.r.index)
    place = {name: i for i, name in enumerate(names)}
    keys = [(left, right) for left, its in model.equations.items() for right in its]
    own = [(left, left) for left in model.equations]
    own += [(a, b) for i, a in enumerate(model.correlated) for b in model.correlated[i + 1 :]]
    own += [(a, b) for i, a in enumerate(model.fixed) for b in model.fixed[i:]]
    at = [np.array([[place[a], place[b]] for a, b in pairs]).T for pairs in (keys, own)]
    scaled = patterns._replace(mean=patterns.mean / spread, covariance=patterns.covariance / np.outer(spread, spread))
    theta = [model.paths.to_numpy()[tuple(at[0])], model.residual.to_numpy()[tuple(at[1])], mean]
    with double_precision():
        structure = tuple(tuple(map(tuple, part.T.tolist())) for part in at)
        information = -np.asarray(_hessian(jnp.asarray(np.concatenate(theta)), scaled, structure))
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError:
        raise ValueError(
            "The model of incomplete data has no standard errors: too few patients have the same variables, or "
            "mediators nearly repeat each other. Use fewer mediators, or those with fewer gaps."
        ) from None
    found = np.linalg.inv(information)
    index = pd.MultiIndex.from_tuples(keys)
    of_paths = pd.DataFrame(found[: len(keys), : len(keys)], index, index)
    errors = np.sqrt(np.diag(found)[len(keys) : len(keys) + len(own)])
    return of_paths, dict(zip(own, errors, strict=True))


@functools.partial(jax.jit, static_argnames="structure")
def _hessian(theta: jax.Array, patterns: Patterns, structure: tuple) -> jax.Array:
    """Of the log-likelihood by paths, residual (co)variances and means.

    Args:
      structure: (left, right) of the paths, and of the (co)variances, as positions of variables.
    """
    at_paths, at_residual = (np.array(part).T for part in structure)
    ends = np.cumsum([at_paths.shape[1], at_residual.shape[1]])

    def likelihood(theta: jax.Array) -> jax.Array:
        paths, residual, mean = jnp.split(theta, ends)
        rest = jnp.eye(len(mean)).at[at_paths[0], at_paths[1]].add(-paths)
        of_residual = jnp.zeros((len(mean),) * 2).at[at_residual[0], at_residual[1]].set(residual)
        of_residual = of_residual.at[at_residual[1], at_residual[0]].set(residual)
        inverse = elimination.inverse(rest)  # a triangle, since equations stand in the order of their variables
        return _log_likelihood(mean, inverse @ of_residual @ inverse.T, patterns)

    return jax.hessian(likelihood)(theta)
