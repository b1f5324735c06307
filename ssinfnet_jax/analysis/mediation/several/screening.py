"""Chooses mediators among hundreds: screening, a de-biased penalised outcome model, tests of both paths together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import linear_model

from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.analysis.mediation.estimation import sampling as sampled
from ssinfnet_jax.analysis.mediation.estimation.sampling import INDEPENDENT, Sampling
from ssinfnet_jax.analysis.mediation.several import dependence

MAX_MISSING = 0.2  # share of the patients
_TAIL = 0.5  # p values above it come from null effects
_ITERATIONS = 20  # of the scaled Lasso
_TOLERANCE = 1e-3  # relative, of its residual standard deviation
_MIN_N = 30
_STEPS = 100  # of the nodewise Lassos; any scores z de-bias, the nearer to the optimum the better


def screen(
    table: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str = "severity",
    *,
    covariates: Sequence[str] = (),
    sampling: Sampling = INDEPENDENT,
    fdr: float = 0.05,
    resamples: int = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """Tests every mediator given all others, under control of the false discovery rate.

    1. Sure independence screening keeps the 2 n / log(n) mediators with the largest |t| of m in y ~ x + m.
    2. In y ~ x + all that were kept, a scaled Lasso (x and covariates are not penalised) is de-biased:
       b_k = beta_k + z_k'r / z_k'm_k, var(b_k) = sum z_k^2 r^2 / (z_k'm_k)^2, r its residual and z_k that of a scaled
       Lasso of m_k on the others. The variance holds for outcomes of 0 and 1, too.
    3. p = max(p_a, p_b), with p_a that of x in m ~ x. With pi the shares of mediators without either path or without
       both, FDR(t) = ((pi_01 + pi_10) t + pi_00 t^2) / share of p <= t; q is its smallest value at or above p.
    All mediators count as tests: one that was screened out has p_b = 1.

    Args:
      table, exposures, mediators, outcome, covariates: see univariate(). A mediator without a value in more than 20 %
        of the patients is flagged; of the others the complete rows count.
      sampling: of the rows of `table`; weights are not possible.
      fdr: false discovery rate among the selected pairs of an exposure.
      resamples: random halves of the patients (of the clusters) in which the selection is repeated; 0: none.
      seed: of the halves.
    Returns: one row per pair, exposures outermost: exposure, mediator, n, screened (kept in step 1), a_est, a_se, a_p,
      b_est, b_se, b_p, indirect_est, indirect_std, joint_p, q, selected (q <= fdr), stability (share of the halves in
      which it was selected; from about 0.6 on a selection is called stable), flag.
      `attrs["family"]` states the family of tests in words.
    Raises: ValueError as univariate(), for weights, fdr outside (0, 1), too few complete rows.
    Source: Fan and Lv 2008, doi:10.1111/j.1467-9868.2008.00674.x (screening); Zhang and Zhang 2014,
      doi:10.1111/rssb.12026 (de-biasing); Sun and Zhang 2012, doi:10.1093/biomet/ass043 (scaled Lasso); Dai, Stanford
      and LeBlanc 2022, doi:10.1080/01621459.2020.1765785 (false discovery rate); Perera et al. 2022,
      doi:10.1186/s12859-022-04748-1 (HIMA2); Meinshausen and Buehlmann 2010, doi:10.1111/j.1467-9868.2010.00740.x
      (stability).
    """
    if not 0 < fdr < 1:
        raise ValueError(f"fdr must be in (0, 1), got {fdr}.")
    if sampling.weights is not None:
        raise ValueError("The screening of mediators takes no weights of patients; leave weights or screening out.")
    columns_of, flags = usable_columns(table, exposures, mediators, outcome, covariates)
    how = (len(covariates), sampling, fdr, resamples, seed)
    blocks = {exposure: _of_exposure(block, *how).reindex(list(mediators)) for exposure, block in columns_of.items()}
    result = pd.concat(blocks, names=["exposure", "mediator"]).reset_index()
    result["flag"] = result["mediator"].map(flags)
    result[["screened", "selected"]] = result[["screened", "selected"]].eq(True)
    num_flagged = sum(map(bool, flags.values()))
    result.attrs["family"] = (
        f"false discovery rate of {fdr:g} over the {len(mediators) - num_flagged} mediators of each exposure "
        f"({num_flagged} flagged and not tested)"
    )
    return result


def usable_columns(
    table: pd.DataFrame, exposures: Sequence[str], mediators: Sequence[str], outcome: str, covariates: Sequence[str]
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Exposure -> columns that its screening uses (covariates, exposure, usable mediators, outcome); see _flags().

    Raises: ValueError as univariate(), for no usable mediator, too few complete rows.
    """
    data = columns.of_pairs(table, exposures, mediators, outcome, covariates)
    flags = _flags(data, mediators)
    usable = [name for name in mediators if not flags[name]]
    if not usable:
        raise ValueError(f"No mediator can be screened: {next(iter(flags.values()))}.")
    columns_of = {exposure: data[[*covariates, exposure, *usable, outcome]] for exposure in exposures}
    for exposure, its in columns_of.items():
        num, needed = int(its.notna().all(axis=1).sum()), max(_MIN_N, 2 * len(covariates) + 4)
        if num < needed:
            raise ValueError(
                f"{num} patients have all of {exposure!r}, {outcome!r}, the covariates and {len(usable)} mediators; "
                f"the screening needs {needed}. Use mediators with fewer gaps."
            )
    return columns_of, flags


def _of_exposure(
    data: pd.DataFrame, num_covariates: int, sampling: Sampling, fdr: float, resamples: int, seed: int
) -> pd.DataFrame:
    """Rows of an exposure by mediator; `data` has the columns covariates, exposure, mediators, outcome."""
    complete = data.notna().all(axis=1).to_numpy()
    mediators = data.columns[num_covariates + 1 : -1]
    values, sampling = data[complete].to_numpy(), sampling.keep(complete)
    tests = _test(values, num_covariates, sampling)
    share = _stability(values, num_covariates, sampling, fdr, resamples, seed)
    return _rows(tests, tests.q <= fdr, share, len(values)).set_index(mediators)


def _flags(data: pd.DataFrame, mediators: Sequence[str]) -> dict[str, str]:
    """Mediator -> "" or why it cannot be screened."""
    flags = {}
    for name in mediators:
        column = data[name]
        missing = column.isna().mean()
        flags[name] = ""
        if missing > MAX_MISSING:
            flags[name] = f"missing in {missing:.0%} of the patients (limit {MAX_MISSING:.0%})"
        elif np.isinf(column).any():
            flags[name] = "infinite mediator"
        elif not column.std() > 1e-10 * abs(column.mean()):
            flags[name] = "constant mediator"
    return flags


class _Tests(NamedTuple):
    """Both paths of K mediators in the units of the table; standardised products; p values; screened bool[K]."""

    a: np.ndarray
    a_se: np.ndarray
    p_a: np.ndarray
    b: np.ndarray
    b_se: np.ndarray
    p_b: np.ndarray
    indirect_std: np.ndarray
    q: np.ndarray
    screened: np.ndarray


def _rows(tests: _Tests, selected: np.ndarray, stability: np.ndarray, n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "n": n,
            "screened": tests.screened,
            **{"a_est": tests.a, "a_se": tests.a_se, "a_p": tests.p_a},
            **{"b_est": tests.b, "b_se": tests.b_se, "b_p": np.where(tests.screened, tests.p_b, np.nan)},
            "indirect_est": tests.a * tests.b,
            "indirect_std": tests.indirect_std,
            "joint_p": np.maximum(tests.p_a, tests.p_b),
            "q": tests.q,
            "selected": selected,
            "stability": stability,
        }
    )


def _test(values: np.ndarray, num_covariates: int, sampling: Sampling) -> _Tests:
    """Steps 1 to 3; `values` has the columns covariates, x, mediators, y."""
    n = len(values)
    center = values - values.mean(0)
    q, _ = np.linalg.qr(center[:, :num_covariates])
    rest = center - q @ (q.T @ center)
    x, m, y = rest[:, num_covariates], rest[:, num_covariates + 1 : -1], rest[:, -1]
    with np.errstate(all="ignore"):
        a = x @ m / (x @ x)
        m = m - np.outer(x, a)
        y = y - x * (x @ y / (x @ x))
        df = n - num_covariates - 2
        a_se = np.sqrt((m**2).sum(0) / df / (x @ x))
        if not sampling.is_plain:
            a_se = np.sqrt(sampled.variance(x[:, None] * m / (x @ x), sampling))
        spread = np.sqrt((m**2).mean(0))
        r = np.nan_to_num(m.T @ y / (n * spread * np.sqrt((y**2).mean())))
    df_a, df_b = (df, np.inf) if sampling.clusters is None else (sampling.clusters.max(),) * 2
    p_a = 2 * stats.t.sf(np.abs(a / a_se), df_a)
    num_kept = min(len(r), int(2 * n / np.log(n)), n // 2)
    kept = np.sort(np.argsort(-np.abs(r), kind="stable")[:num_kept])
    kept = kept[spread[kept] > 1e-8 * center[:, num_covariates + 1 + kept].std(0)]
    independent, _ = dependence.independent(pd.DataFrame(m[:, kept], columns=kept))
    kept = np.array(independent, int)
    b, b_se, p_b = np.full(len(r), np.nan), np.full(len(r), np.nan), np.ones(len(r))
    z, y_sd = m[:, kept] / spread[kept], np.sqrt((y**2).mean())
    found, se = debiased(z, y / y_sd, sampling, num_covariates + 2)
    b[kept], b_se[kept] = found * y_sd / spread[kept], se * y_sd / spread[kept]
    p_b[kept] = 2 * stats.t.sf(np.abs(found / se), df_b)
    scale = values[:, num_covariates].std() / values[:, -1].std()
    screened = np.isin(np.arange(len(r)), kept)
    p_a = np.where(np.isnan(p_a), 1.0, p_a)
    return _Tests(a, a_se, p_a, b, b_se, p_b, a * b * scale, joint_fdr(p_a, p_b), screened)


def joint_fdr(p_a: np.ndarray, p_b: np.ndarray) -> np.ndarray:
    """q values of max(p_a, p_b): the estimated false discovery rate of selecting all that have no larger one.

    With shares of p values above 1/2 (all of which come from null paths, that are uniform) the shares of mediators
    without a, without b, and without both are estimated; see screen().

    Args:
      p_a, p_b: float[K] in [0, 1].
    Returns: float[K] in [0, 1].
    Source: Dai, Stanford and LeBlanc 2022, doi:10.1080/01621459.2020.1765785, with the asymptotic null distribution.
    """
    p = np.maximum(p_a, p_b)
    without_a, without_b = (min(1.0, (q >= _TAIL).mean() / (1 - _TAIL)) for q in (p_a, p_b))
    without_both = min(without_a, without_b, ((p_a >= _TAIL) & (p_b >= _TAIL)).mean() / (1 - _TAIL) ** 2)
    one_missing = without_a + without_b - 2 * without_both
    order = np.argsort(p, kind="stable")
    t = p[order]
    share = np.searchsorted(t, t, side="right") / len(t)
    rate = np.minimum((one_missing * t + without_both * t**2) / share, 1.0)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(rate[::-1])[::-1]
    return q


def debiased(z: np.ndarray, y: np.ndarray, sampling: Sampling, used: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """De-biased scaled Lasso: estimates and standard errors of all coefficients.

    Args:
      z: float[N, K] with mean 0, mean square 1; K < N.  y: float[N] of the same kind.
      used: parameters that were taken out of both before.
    Returns: float[K], float[K]; see screen() for formulas and sources.
    """
    n = len(z)
    beta = scaled_lasso(z, y)
    residual = y - z @ beta
    gram = z.T @ z / n
    left = z - z @ nodewise(gram, n)
    along = (left * z).sum(0)
    # The residual variance of a penalised fit is too small by the parameters that it chose.
    inflation = np.sqrt(n / max(n - used - np.count_nonzero(beta), n / 2))
    influence = left * (inflation * residual)[:, None] / along
    return beta + left.T @ residual / along, np.sqrt(sampled.variance(influence, sampling))


def nodewise(gram: np.ndarray, n: int) -> np.ndarray:
    """Coefficients of each of K standardised columns on all others by scaled Lassos, all at once: float[K, K].

    Column k minimises mean((m_k - M g)^2) / (2 s) + s / 2 + sqrt(log(K) / (2 n)) |g|_1 with g_k = 0, by accelerated
    proximal gradients. The penalty is half of the outcome's: less bias, for somewhat longer intervals.

    Args:
      gram: float[K, K], correlations.  n: rows they come from.
    Source: Beck and Teboulle 2009, doi:10.1137/080716542.
    """
    num, gram = len(gram), gram.astype(np.float32)  # scores need no more precision: z @ g is rounded, z is not
    penalty, step = np.sqrt(np.log(max(num, 2)) / (2 * n)), 1 / np.linalg.eigvalsh(gram)[-1]
    penalty, g = np.float32(penalty), np.zeros((num, num), np.float32)
    ahead = g
    momentum = 1.0
    for _ in range(_STEPS):
        explained = gram @ ahead
        s = np.sqrt(np.maximum(1 - 2 * (ahead * gram).sum(0) + (ahead * explained).sum(0), 1e-12))
        moved = ahead + step * (gram - explained)
        moved = np.sign(moved) * np.maximum(np.abs(moved) - step * penalty * s, 0.0)
        np.fill_diagonal(moved, 0.0)
        change, g = moved - g, moved
        if np.abs(change).max() < _TOLERANCE:
            break
        before, momentum = momentum, (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = g + np.float32((before - 1) / momentum) * change
    return g.astype(float)


def scaled_lasso(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """argmin over (beta, s) of mean((y - z beta)^2) / (2 s) + s / 2 + sqrt(2 log(K) / N) |beta|_1: float[K]."""
    n, num = z.shape
    s, before = y.std(), 0.0
    lasso = linear_model.Lasso(fit_intercept=False, precompute=z.T @ z, warm_start=True, max_iter=5000)
    for _ in range(_ITERATIONS):
        if abs(s - before) <= _TOLERANCE * s:
            break
        lasso.set_params(alpha=s * np.sqrt(2 * np.log(max(num, 2)) / n)).fit(z, y)
        before, s = s, (y - z @ lasso.coef_).std()
    return lasso.coef_


def _stability(
    values: np.ndarray, num_covariates: int, sampling: Sampling, fdr: float, resamples: int, seed: int
) -> np.ndarray:
    """Share of random halves in which a mediator is selected: float[K]; NaN without halves."""
    count = np.zeros(values.shape[1] - num_covariates - 2)
    if not resamples:
        return np.full(len(count), np.nan)
    rng = np.random.default_rng(seed)
    units = np.arange(len(values)) if sampling.clusters is None else sampling.clusters
    for _ in range(resamples):
        half = rng.permutation(units.max() + 1)[: (units.max() + 2) // 2]
        rows = np.isin(units, half)
        count += _test(values[rows], num_covariates, sampling.keep(rows)).q <= fdr
    return count / resamples
