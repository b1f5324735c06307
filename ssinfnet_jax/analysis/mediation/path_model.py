"""Maximum likelihood of a recursive path model with uncorrelated residuals, and how well it fits."""

import numpy as np
import pandas as pd
from scipy import linalg, stats


class PathModel:
    """ML fit to a correlation matrix: every equation by ordinary regression, since the model is recursive.

    Attributes:
      r: correlations (divisor n) of all variables.  n: rows they come from.
      equations: left side -> right side, in causal order.  fixed: the exposures, which may correlate.
      paths: coefficient of the column's variable in the row's equation.  residual: (co)variances of residuals
        and of the exposures.  implied: covariance that the model implies.
    """

    def __init__(self, r: pd.DataFrame, n: int, equations: dict[str, list[str]], fixed: list[str]):
        self.r, self.n, self.equations, self.fixed = r, n, equations, fixed
        names = list(r.index)
        paths = pd.DataFrame(0.0, names, names)
        residual = r.where(r.index.isin(fixed)[:, None] & r.index.isin(fixed)[None, :], 0.0)
        for left, right in equations.items():
            paths.loc[left, right] = linalg.solve(r.loc[right, right], r.loc[right, left], assume_a="pos")
            residual.loc[left, left] = 1 - paths.loc[left, right] @ r.loc[right, left]
        spread = np.linalg.inv(np.eye(len(names)) - paths.to_numpy())
        implied = spread @ residual.to_numpy() @ spread.T
        self.paths, self.residual = paths, residual
        self.implied = pd.DataFrame(implied, names, names)

    def covariance(self) -> pd.DataFrame:
        """Covariance of all path coefficients, by (left, right): s^2 / n inv(implied) per equation."""
        blocks, keys = [], []
        for left, right in self.equations.items():
            information = self.implied.loc[right, right] * self.n / self.residual.loc[left, left]
            blocks.append(np.linalg.inv(information.to_numpy()))
            keys += [(left, name) for name in right]
        index = pd.MultiIndex.from_tuples(keys)
        return pd.DataFrame(linalg.block_diag(*blocks), index, index)


def fit_measures(model: PathModel, sd: pd.Series) -> dict[str, float]:
    """lavaan's fit measures; see multiple() for the formulas. `sd` gives the likelihood its units."""
    n, p, num_fixed = model.n, len(model.r), len(model.fixed)
    log_det = {
        "sample": np.linalg.slogdet(model.r)[1],
        "implied": np.linalg.slogdet(model.implied)[1],
        "fixed": np.linalg.slogdet(model.r.loc[model.fixed, model.fixed])[1],
    }
    trace = np.trace(np.linalg.solve(model.implied, model.r))
    num_equations = len(model.equations)
    npar = sum(len(right) for right in model.equations.values()) + num_equations
    moments = p * (p + 1) // 2 - num_fixed * (num_fixed + 1) // 2
    df, baseline_df = moments - npar, moments - num_equations
    # A saturated model fits exactly; rounding must not show as a small chi-square.
    chisq = n * max(log_det["implied"] + trace - log_det["sample"] - p, 0.0) if df else 0.0
    baseline = n * (log_det["fixed"] - log_det["sample"])
    # Given the exposures, whose share of the trace is their number; the sds bring in the units.
    logl = -n / 2 * (num_equations * np.log(2 * np.pi) + log_det["implied"] - log_det["fixed"] + trace - num_fixed)
    logl -= n * np.log(sd[list(model.equations)]).sum()
    excess, baseline_excess = chisq - df, baseline - baseline_df
    largest = max(excess, baseline_excess, 0.0)
    difference = (model.r - model.implied).to_numpy()[np.tril_indices(p)]
    return {
        "chisq": float(chisq),
        "df": df,
        "pvalue": float(stats.chi2.sf(chisq, df)) if df else float("nan"),
        "cfi": float(1 - max(excess, 0.0) / largest) if largest else 1.0,
        "tli": float(1 - excess * baseline_df / (baseline_excess * df)) if df and baseline_excess else 1.0,
        "rmsea": float(np.sqrt(max(excess, 0.0) / (n * df))) if df else 0.0,
        "srmr": float(np.sqrt(np.mean(difference**2))),
        "aic": float(-2 * logl + 2 * npar),
        "bic": float(-2 * logl + np.log(n) * npar),
        "logl": float(logl),
        "npar": npar,
        "ntotal": n,
    }
