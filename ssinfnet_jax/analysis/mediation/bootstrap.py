"""Bootstrap intervals of indirect effects: for all pairs of exposure and mediator, and for the path model."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation.estimation import elimination, intervals
from ssinfnet_jax.analysis.mediation.estimation.resample import Resamples, cross_products, identity, products, resample
from ssinfnet_jax.analysis.mediation.estimation.sampling import INDEPENDENT, Sampling
from ssinfnet_jax.analysis.mediation.several.multiple import Multiple
from ssinfnet_jax.analysis.mediation.several.path_model import coefficients


def bootstrap(
    table: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str = "severity",
    *,
    covariates: Sequence[str] = (),
    sampling: Sampling = INDEPENDENT,
    draws: int = 5000,
    level: float = 0.95,
    seed: int = 0,
    min_n: int = 10,
) -> pd.DataFrame:
    """Percentile, BC and BCa intervals of the indirect effects of univariate(), from the same resamples.

    Patients with an outcome are resampled with replacement, n of n, or their clusters, G of G; every pair is fitted to
    those of its complete rows that were drawn.

    Args:
      table, exposures, mediators, outcome, covariates, sampling, min_n: see univariate().
      draws: number of resamples. The Monte Carlo error of a 95 % bound is 6 % of a standard error with 2000
        draws, 4 % with 5000.
      level: of the intervals.
      seed: the same seed, patients and draws give the same resamples, also in bootstrap_multiple().
    Returns: one row per pair in the order of univariate(): exposure, mediator, n, flag (as there, or that too few
      resamples can be fitted), est (indirect effect), std (standardised), and the columns of
      intervals(). Multiply bounds by std / est for standardised ones.
    Raises: ValueError as univariate(), or for draws < 1.
    Source: MacKinnon, Lockwood and Williams 2004, doi:10.1207/s15327906mbr3901_4; intervals().
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}.")
    data = columns.of_pairs(table, exposures, mediators, outcome, covariates)
    sampling, data = sampling.keep(data[outcome].notna().to_numpy()), data.dropna(subset=[outcome])
    blocks = []
    for names, pairs in pairing.blocks(data, exposures, mediators, outcome, covariates, min_n, sampling.weights):
        with np.errstate(all="ignore"):  # a constant exposure has a flag
            scale = pairs.sd[:, -1] / pairs.sd[:, -3]
        resamples = resample_pairs(pairs, draws, seed, sampling.clusters)
        found = intervals.intervals(resamples, level)
        found[found.columns[1:]] = found[found.columns[1:]].mul(scale, axis=0)
        found.insert(0, "std", resamples.estimate)
        found.insert(0, "est", resamples.estimate * scale)
        few = np.array([f"only {usable} of {draws} resamples can be fitted" for usable in found["draws"]], object)
        flag = np.select(
            [pairs.flag != "", found["draws"] < intervals.MIN_USABLE * draws], [pairs.flag, few], default=""
        )
        found.loc[pairs.flag != "", found.columns != "draws"] = np.nan
        blocks.append(names.assign(n=pairs.n, flag=flag).join(found))
    return pd.concat(blocks, ignore_index=True)


def resample_pairs(pairs: pairing.Pairs, draws: int, seed: int, clusters: np.ndarray | None = None) -> Resamples:
    """Standardised indirect effects ab of K pairs in resamples and without each patient, or each cluster."""
    ones = pairs.complete[..., None].astype(float)
    features = products(np.concatenate([ones, pairs.z], axis=-1)) * pairs.weights[..., None]
    statistic = _PairEffects(len(pairs.n), pairs.z.shape[-1] + 1)
    return resample(features.reshape(len(features), -1), statistic, draws, seed, clusters)


@dataclasses.dataclass(frozen=True)
class _PairEffects:
    """Sums of the cross-products of intercept, covariates, x, m, y of K pairs -> ab float64[B, K]."""

    num_pairs: int
    num_columns: int

    def __call__(self, sums: jax.Array) -> jax.Array:
        moments = cross_products(sums.reshape(len(sums), self.num_pairs, -1), self.num_columns)
        num_complete = moments[..., 0, 0]
        given_others = elimination.sweep(moments, self.num_columns - 3)
        given_x = elimination.sweep(given_others, 1)
        varies = jnp.minimum(given_others[..., 0, 0], given_x[..., 0, 0]) > pairing.COLLINEAR * num_complete
        a = given_others[..., 0, 1] / given_others[..., 0, 0]
        return jnp.where(varies, a * given_x[..., 0, 1] / given_x[..., 0, 0], jnp.nan)


def bootstrap_multiple(
    table: pd.DataFrame,
    model: Multiple,
    *,
    sampling: Sampling = INDEPENDENT,
    draws: int = 5000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Percentile, BC and BCa intervals of the defined effects (":=") of a path model.

    Args:
      table: the rows that multiple() was given.
      model: its result.
      sampling, draws, level, seed: see bootstrap().
    Returns: one row per ":=" row of the estimates: label, rhs, est, std, and the columns of intervals().
    Raises: ValueError for draws < 1.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}.")
    exposures, mediators = list(model.exposures), list(model.mediators)
    names = [*exposures, *model.covariates, *mediators, model.outcome]
    data = columns.numeric(table, names)
    sampling, data = sampling.keep(data[model.outcome].notna().to_numpy()), data.dropna(subset=[model.outcome])
    complete = data.dropna()
    sd = complete.std(ddof=0)
    z = ((data - complete.mean()) / sd).where(data.notna().all(axis=1), 0.0).to_numpy()
    ones = data.notna().all(axis=1).to_numpy(float)[:, None]
    parents = [list(map(names.index, [*its, *model.covariates])) for its in model.mediators.values()]
    effects = [(mediators.index(m), exposures.index(x)) for m, its in model.mediators.items() for x in its]
    weights = ones if sampling.weights is None else ones * sampling.weights[:, None]
    features = products(np.concatenate([ones, z], axis=1)) * weights
    sums = resample(features, identity, draws, seed, sampling.clusters)
    of_one = functools.partial(_path_effects, parents=parents, effects=effects, model=model)
    resamples = Resamples(of_one(sums.estimate[None])[0], of_one(sums.draws), of_one(sums.jackknife))
    found = intervals.intervals(resamples, level)
    specific = [exposure for _, exposure in effects]
    scale = sd[model.outcome] / sd[[exposures[j] for j in [*specific, *sorted(set(specific)), *range(len(exposures))]]]
    found[found.columns[1:]] = found[found.columns[1:]].mul(scale.to_numpy(), axis=0)
    defined = model.estimates.loc[model.estimates["op"] == ":=", ["label", "rhs", "est", "std"]]
    return defined.reset_index(drop=True).join(found)


def _path_effects(sums: np.ndarray, parents, effects, model: Multiple) -> np.ndarray:
    """Effects [B, K] in the order of Multiple.estimates: specific ones, their sum for each exposure, total ones.

    Args:
      sums: float[B, F], of the products of intercept, exposures, covariates, mediators, outcome.
      parents: positions of each mediator's regressors, without the intercept.
      effects: (mediator, exposure) of each specific indirect effect, by number.
    """
    outcome = len(model.exposures) + len(model.covariates) + len(parents)
    moments = cross_products(sums, outcome + 2)
    with np.errstate(all="ignore"):
        r = elimination.sweep(moments, 1) / moments[:, :1, :1]
    singular = ~(np.linalg.eigvalsh(np.nan_to_num(r))[:, 0] > pairing.COLLINEAR)
    r[singular] = np.eye(outcome + 1)
    first = outcome - len(parents)
    equations = [(first + k, its) for k, its in enumerate(parents)] + [(outcome, range(outcome))]
    paths = coefficients(r, equations, range(len(parents)) if model.residual_covariances else ())
    specific, sums_of = [], {}
    for mediator, exposure in effects:
        a = paths[mediator][:, parents[mediator].index(exposure)]
        specific.append(a * paths[-1][:, first + mediator])
        sums_of[exposure] = sums_of.get(exposure, 0.0) + specific[-1]
    totals = [paths[-1][:, j] + sums_of.get(j, 0.0) for j in range(len(model.exposures))]
    found = np.stack([*specific, *(sums_of[j] for j in sorted(sums_of)), *totals], axis=1)
    found[singular] = np.nan
    return found
