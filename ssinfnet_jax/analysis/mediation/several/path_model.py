"""Maximum likelihood of a recursive path model, and how well it fits."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import linalg, optimize, special, stats

from ssinfnet_jax.analysis.mediation.estimation import sampling as sampled
from ssinfnet_jax.analysis.mediation.estimation.sampling import Sampling

_ITERATIONS = 100
_TOLERANCE = 1e-12  # of standardised coefficients


def coefficients(
    moments: np.ndarray, equations: Sequence[tuple[int, Sequence[int]]], correlated: Sequence[int] = ()
) -> list[np.ndarray]:
    """Coefficients of every equation of a recursive model, by ML.

    Where residuals are uncorrelated that is ordinary regression. Equations with correlated residuals are
    seemingly unrelated regressions: generalised least squares and the residuals' covariance in turn. (They
    differ from ordinary regression only where the equations have different regressors.)

    Args:
      moments: float[..., P, P], correlations, or cross-products of standardised variables.
      equations: (variable on the left, variables on the right), as positions in `moments`.
      correlated: positions in `equations`; none of these may have another one's left side on its right.
    Returns: coefficients float[..., number on the right] of each equation.
    Source: Zellner 1962, doi:10.1080/01621459.1962.10480664.
    """
    equations = [(left, np.asarray(right, int)) for left, right in equations]
    found = [_solve(moments[..., right[:, None], right], moments[..., right, left]) for left, right in equations]
    if len({tuple(equations[i][1]) for i in correlated}) < 2:
        return found
    lefts, rights = zip(*(equations[i] for i in correlated), strict=True)
    ends = np.cumsum([len(right) for right in rights])[:-1]
    joint = np.concatenate([found[i] for i in correlated], axis=-1)
    for _ in range(_ITERATIONS):
        residual = np.zeros((*moments.shape[:-2], len(lefts), moments.shape[-1]))
        for i, part in enumerate(np.split(joint, ends, axis=-1)):
            residual[..., i, lefts[i]] = 1.0
            residual[..., i, rights[i]] = -part
        weight = np.linalg.inv(residual @ moments @ residual.swapaxes(-1, -2))
        target = [
            (moments[..., right[:, None], lefts] @ weight[..., i, None])[..., 0] for i, right in enumerate(rights)
        ]
        before = joint
        joint = _solve(_information(moments, rights, weight), np.concatenate(target, axis=-1))
        if np.abs(joint - before).max() < _TOLERANCE:
            break
    for i, part in zip(correlated, np.split(joint, ends, axis=-1), strict=True):
        found[i] = part
    return found


def structure(
    moments: np.ndarray, equations: Sequence[tuple[int, Sequence[int]]], correlated: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A model fitted to one matrix: paths, (co)variances of residuals, the covariance that both imply.

    Variables that are on no left side keep the covariances that they have.

    Args:
      moments, equations, correlated: see coefficients(); float[P, P].
    Returns: float[P, P] each; paths are of the column's variable in the row's equation.
    """
    paths, free = np.zeros_like(moments), np.eye(len(moments), dtype=bool)
    for (left, right), values in zip(equations, coefficients(moments, equations, correlated), strict=True):
        paths[left, right] = values
    fixed = np.setdiff1d(np.arange(len(moments)), [left for left, _ in equations])
    for group in (fixed, [equations[i][0] for i in correlated]):
        free[np.ix_(group, group)] = True
    rest = np.eye(len(moments)) - paths
    residual, spread = np.where(free, rest @ moments @ rest.T, 0.0), np.linalg.inv(rest)
    return paths, residual, spread @ residual @ spread.T


def _solve(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return np.linalg.solve(matrix, vector[..., None])[..., 0]


def _information(moments: np.ndarray, rights: Sequence[np.ndarray], weight: np.ndarray) -> np.ndarray:
    """Blocks weight[i, j] moments[right i, right j]."""
    return np.concatenate(
        [
            np.concatenate(
                [weight[..., i, j, None, None] * moments[..., a[:, None], b] for j, b in enumerate(rights)], -1
            )
            for i, a in enumerate(rights)
        ],
        axis=-2,
    )


class PathModel:
    """ML fit to a correlation matrix.

    Attributes:
      r: correlations (divisor n) of all variables.  n: rows they come from.
      equations: left side -> right side, in causal order.  fixed: the exposures, which may correlate.
      correlated: left sides whose residuals may correlate.
      paths: coefficient of the column's variable in the row's equation.  residual: (co)variances of residuals
        and of the exposures.  implied: covariance that the model implies.
    """

    def __init__(
        self,
        r: pd.DataFrame,
        n: int,
        equations: dict[str, list[str]],
        fixed: list[str],
        correlated: Sequence[str] = (),
    ):
        self.r, self.n, self.equations, self.fixed, self.correlated = r, n, equations, fixed, list(correlated)
        names = list(r.index)
        position = {name: i for i, name in enumerate(names)}
        system = [(position[left], [position[name] for name in right]) for left, right in equations.items()]
        places = [list(equations).index(name) for name in self.correlated]
        found = structure(r.to_numpy(), system, places)
        self.paths, self.residual, self.implied = (pd.DataFrame(matrix, names, names) for matrix in found)

    def covariance(self) -> pd.DataFrame:
        """Covariance of all path coefficients, by (left, right), from the expected information.

        s^2 / n inv(implied) per equation; jointly for equations with correlated residuals.
        """
        blocks, keys = [], []
        for group in self._groups():
            rights = [self.implied.index.get_indexer(self.equations[left]) for left in group]
            weight = np.linalg.inv(self.residual.loc[group, group].to_numpy())
            blocks.append(np.linalg.inv(self.n * _information(self.implied.to_numpy(), rights, weight)))
            keys += [(left, name) for left in group for name in self.equations[left]]
        index = pd.MultiIndex.from_tuples(keys)
        return pd.DataFrame(linalg.block_diag(*blocks), index, index)

    def sandwich(self, z: np.ndarray, sampling: Sampling) -> pd.DataFrame:
        """The sandwich covariance of all path coefficients, see sampling.covariance().

        Args:
          z: float[N, P], standardised variables in the order of `r`.
          sampling: of the rows of `z`.
        """
        weights, moved, keys = np.ones(len(z)) if sampling.weights is None else sampling.weights, [], []
        rest = z @ (np.eye(len(self.r)) - self.paths.to_numpy()).T
        position = {name: i for i, name in enumerate(self.r.index)}
        for group in self._groups():
            rights = [self.r.index.get_indexer(self.equations[left]) for left in group]
            inverse = np.linalg.inv(self.residual.loc[group, group].to_numpy())
            errors = rest[:, [position[left] for left in group]] @ inverse
            scores = np.concatenate([z[:, right] * errors[:, [i]] for i, right in enumerate(rights)], axis=1)
            information = self.n * _information(self.r.to_numpy(), rights, inverse)
            moved.append(np.linalg.solve(information, scores.T).T * weights[:, None])
            keys += [(left, name) for left in group for name in self.equations[left]]
        index = pd.MultiIndex.from_tuples(keys)
        influence = np.concatenate(moved, axis=1)[:, None]
        return pd.DataFrame(sampled.covariance(influence, sampling, np.ones((len(z), 1), bool))[0], index, index)

    def scalings(self, z: np.ndarray, sampling: Sampling) -> tuple[float, float]:
        """What the chi-squares of the model and of the baseline are divided by for clusters, weights, other variances.

        (tr(inv(A) B) of the saturated model - tr(inv(A) B) of the model) / df, with A the observed information and B
        the sums over patients, or over clusters, of squared scores: the mean of a chi-square is then its df.

        Args:
          z, sampling: see sandwich().
        Returns: both; 1 without degrees of freedom.
        Source: Yuan and Bentler 2000, doi:10.1111/0081-1750.00078; lavaan's `test = "yuan.bentler.mplus"` with
          `observed.information = "h1"`.
        """
        place = {name: i for i, name in enumerate(self.r.index)}
        r, one, fixed = self.r.to_numpy(), np.eye(len(place)), [place[name] for name in self.fixed]
        left = [place[name] for name in self.equations]
        moments = list(itertools.combinations_with_replacement(range(len(one)), 2))
        saturated = [_moved(one[i], one[j]) for i, j in moments if not (i in fixed and j in fixed)]
        spread = np.linalg.inv(one - self.paths.to_numpy())
        implied = self.implied.to_numpy()
        own = [(i, i) for i in left]
        pairs = own + list(itertools.combinations([place[name] for name in self.correlated], 2))
        slopes = [_moved(spread[:, i], spread[:, j]) for i, j in pairs]
        slopes += [
            _moved(spread[:, place[left]], implied[place[right]])
            for left, its in self.equations.items()
            for right in its
        ]
        baseline = np.where(np.isin(np.arange(len(one)), fixed), r, 0) * np.isin(np.arange(len(one)), fixed)[:, None]
        baseline[left, left] = r[left, left]
        of_baseline = [_moved(one[i], one[j]) for i, j in own]
        scores = _Scores(z, r, sampling)
        most = scores.trace(r, saturated, one[:, left])
        found = []
        for sigma, its, shifts in ((implied, slopes, spread[:, left]), (baseline, of_baseline, one[:, left])):
            df = len(saturated) - len(its)
            found.append((most - scores.trace(sigma, its, shifts)) / df if df else 1.0)
        return found[0], found[1]

    def _groups(self) -> list[list[str]]:
        """Left sides of equations that are estimated together."""
        joint = [self.correlated] if self.correlated else []
        return joint + [[left] for left in self.equations if left not in self.correlated]


def _moved(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How a covariance moves with one of its parameters."""
    return np.outer(left, right) + np.outer(right, left)


class _Scores:
    """Scores of patients or of clusters in normal models of their variables.

    Args:
      z: float[N, P] with mean 0.  r: float[P, P], its covariance.  sampling: of the rows.
    """

    def __init__(self, z: np.ndarray, r: np.ndarray, sampling: Sampling):
        self._z, self._r, self._sampling = z, r, sampling

    def trace(self, sigma: np.ndarray, slopes: Sequence[np.ndarray], shifts: np.ndarray) -> float:
        """tr(inv(A) B), see PathModel.scalings().

        Args:
          sigma: float[P, P], the covariance of the model.
          slopes: its derivatives, one [P, P] per parameter.  shifts: float[P, Q], those of the means by intercepts.
        """
        inverse, slopes = np.linalg.inv(sigma), np.stack(slopes)
        observed = 2 * inverse @ self._r @ inverse - inverse
        of_covariance = self._sums(self._z[:, :, None] * self._z[:, None, :] - sigma)
        scores = np.tensordot(inverse @ of_covariance @ inverse / 2, slopes, ([1, 2], [1, 2]))
        both = (inverse @ slopes @ observed + observed @ slopes @ inverse) / 4
        information = np.tensordot(both, slopes, ([1, 2], [1, 2]))
        of_mean = self._sums(self._z) @ inverse @ shifts
        found = (scores * np.linalg.solve(information, scores.T).T).sum()
        found += (of_mean * np.linalg.solve(shifts.T @ inverse @ shifts, of_mean.T).T).sum()
        return float(found) / len(self._z)

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """Of patients, or sums of clusters, whose squares then add up to an unbiased variance."""
        if self._sampling.weights is not None:
            values = values * self._sampling.weights.reshape(-1, *[1] * (values.ndim - 1))
        if self._sampling.clusters is None:
            return values
        sums = sampled.by_cluster(values, self._sampling.clusters)
        return sums * np.sqrt(len(sums) / (len(sums) - 1))


def fit_measures(model: PathModel, sd: pd.Series, scalings: tuple[float, float] = (1.0, 1.0)) -> dict[str, float]:
    """lavaan's fit measures.

    With F = log|Sigma| + tr(S inv(Sigma)) - log|S| - p: chisq = n F. The baseline of CFI and TLI has variances only,
    and the exposures' covariances. SRMR is over all p (p + 1) / 2 moments; logl is given the exposures.

    Args:
      sd: of the variables, which gives the likelihood its units.
      scalings: what the chi-squares are divided by, see PathModel.scalings().
    """
    n, p = model.n, len(model.r)
    log_det = {
        "sample": np.linalg.slogdet(model.r)[1],
        "implied": np.linalg.slogdet(model.implied)[1],
        "fixed": np.linalg.slogdet(model.r.loc[model.fixed, model.fixed])[1],
    }
    trace = np.trace(np.linalg.solve(model.implied, model.r))
    chisq = n * max(log_det["implied"] + trace - log_det["sample"] - p, 0.0)
    baseline = n * (log_det["fixed"] - log_det["sample"])
    # Given the exposures, whose share of the trace is their number; the sds bring in the units.
    given = log_det["implied"] - log_det["fixed"] + trace - len(model.fixed)
    logl = -n / 2 * (len(model.equations) * np.log(2 * np.pi) + given)
    logl -= n * np.log(sd[list(model.equations)]).sum()
    return measures(model, model.r, chisq / scalings[0], baseline / scalings[1], logl)


def measures(
    model: PathModel, r: pd.DataFrame, chisq: float, baseline: float, logl: float, more_parameters: int = 0
) -> dict[str, float]:
    """Fit measures from the chi-squares of a model and of the one without paths.

    Args:
      r: correlations without a model.
      more_parameters: of the likelihood, beside paths, residual variances and covariances.
    """
    n, p, num_fixed, num_equations = model.n, len(r), len(model.fixed), len(model.equations)
    num_covariances = len(model.correlated) * (len(model.correlated) - 1) // 2
    npar = sum(len(right) for right in model.equations.values()) + num_equations + num_covariances
    moments = p * (p + 1) // 2 - num_fixed * (num_fixed + 1) // 2
    df, baseline_df = moments - npar, moments - num_equations
    npar += more_parameters
    # A saturated model fits exactly; rounding must not show as a small chi-square.
    chisq = chisq if df else 0.0
    excess, baseline_excess = chisq - df, baseline - baseline_df
    largest = max(excess, baseline_excess, 0.0)
    difference = (r - model.implied).to_numpy()[np.tril_indices(p)]
    return {
        "chisq": float(chisq),
        "df": df,
        "pvalue": float(stats.chi2.sf(chisq, df)) if df else float("nan"),
        "cfi": float(1 - max(excess, 0.0) / largest) if largest else 1.0,
        "tli": float(1 - excess * baseline_df / (baseline_excess * df)) if df and baseline_excess else 1.0,
        "rmsea": float(np.sqrt(max(excess, 0.0) / (n * df))) if df else 0.0,
        **dict(zip(("rmsea_lower", "rmsea_upper"), rmsea_interval(float(chisq), df, n), strict=True)),
        "srmr": float(np.sqrt(np.mean(difference**2))),
        "aic": float(-2 * logl + 2 * npar),
        "bic": float(-2 * logl + np.log(n) * npar),
        "logl": float(logl),
        "npar": npar,
        "ntotal": n,
    }


def rmsea_interval(chisq: float, df: int, n: int, level: float = 0.9) -> tuple[float, float]:
    """Interval of the RMSEA: chi-square is noncentral with df and lambda = n df RMSEA^2.

    The bounds are those lambda at which P(chi-square <= chisq) is (1 + level) / 2 and (1 - level) / 2, 0 where even
    lambda = 0 gives less.

    Returns: (lower, upper); zeros without degrees of freedom.
    Source: Browne and Cudeck 1993, Alternative ways of assessing model fit; lavaan's rmsea.ci.lower and .upper.
    """
    if not df:
        return 0.0, 0.0
    bounds = (_noncentrality(chisq, df, share) for share in ((1 + level) / 2, (1 - level) / 2))
    lower, upper = (float(np.sqrt(value / (n * df))) for value in bounds)
    return lower, upper


def _noncentrality(chisq: float, df: int, share: float) -> float:
    """The lambda at which P(noncentral chi-square <= chisq) = share; 0 if there is none."""
    if stats.chi2.cdf(chisq, df) <= share:
        return 0.0
    far = chisq + 10.0
    while special.chndtr(chisq, df, far) > share:
        far *= 2
    return optimize.brentq(lambda value: special.chndtr(chisq, df, value) - share, 0, far, xtol=1e-10)
