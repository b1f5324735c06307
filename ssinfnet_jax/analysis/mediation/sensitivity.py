"""How strong a cause of both mediator and outcome, which nobody measured, must be to explain an effect away."""

import numpy as np
import pandas as pd


def sensitivity(univariate: pd.DataFrame, natural: pd.DataFrame | None = None) -> pd.DataFrame:
    """Confounding at which the indirect effect vanishes: rho of the linear model, E-value of the natural one.

    An unmeasured cause of m and y makes the errors of their two equations correlate. In the linear model the
    indirect effect is 0 where that correlation is
      rho = r(m, y | x, covariates),
    so that a rho near 0 means a fragile effect. Such a cause explains shares of the residual variance of m
    and of y whose product is rho^2.

    Args:
      univariate: of univariate().
      natural: of natural_effects() for the same pairs; None leaves the E-values out.
    Returns: one row per pair: exposure, mediator, rho, rho_squared; with `natural` also e_value of the risk
      ratio of the indirect effect and e_value_limit, that of the bound of its interval nearer to 1 (1 if the
      interval holds 1). NaN where the models have none.
    Source: Imai, Keele and Yamamoto 2010, doi:10.1214/10-STS321, theorem 4; e_value().
    """
    rho = univariate["partial_r"]
    table = univariate[["exposure", "mediator"]].assign(rho=rho, rho_squared=rho**2)
    if natural is None:
        return table
    keys = ["exposure", "mediator"]
    effects = table[keys].merge(natural, on=keys, how="left", validate="one_to_one")
    lower, upper = effects["risk_ratio_lower"], effects["risk_ratio_upper"]
    limit = np.where(effects["risk_ratio"] >= 1, np.maximum(lower, 1), np.minimum(upper, 1))
    return table.assign(e_value=e_value(effects["risk_ratio"].to_numpy()), e_value_limit=e_value(limit))


def e_value(risk_ratio: np.ndarray) -> np.ndarray:
    """RR + sqrt(RR (RR - 1)) with RR or its inverse, whichever is at least 1.

    The least risk ratio that an unmeasured confounder must have with both sides to explain RR away; for an
    indirect effect the sides are mediator and outcome.

    Args:
      risk_ratio: > 0, any shape.
    Returns: >= 1.
    Source: VanderWeele and Ding 2017, doi:10.7326/M16-2607; for mediation: Smith and VanderWeele 2019,
      doi:10.1097/EDE.0000000000001064.
    """
    risk_ratio = np.asarray(risk_ratio, float)
    away = np.maximum(risk_ratio, 1 / risk_ratio)
    return away + np.sqrt(away * (away - 1))
