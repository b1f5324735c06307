"""Drops mediators that correlate with a kept one, or are linear combinations of kept ones."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.analysis.mediation.several import dependence
from ssinfnet_jax.config import Mediation


class Filtered(NamedTuple):
    """kept: mediators in the order of the candidates; log: one row per removed mediator."""

    kept: list[str]
    log: pd.DataFrame


def correlation_filter(
    table: pd.DataFrame,
    candidates: pd.DataFrame,
    threshold: float = 0.8,
    prefer: Sequence[str] = Mediation.prefer,
) -> Filtered:
    """Removes one mediator of each pair with |r| > threshold, and one of each set with a linear relation.

    Mediators are ranked: first those named in `prefer`, in that order, then by the size of their largest
    standardised indirect effect (equal ones by name). From the top, a mediator is kept unless it correlates
    with one that is kept already, or is a linear combination of those that are (Range = Maximum - Minimum), see
    dependence.first_relation(). So no two kept ones correlate above the threshold, and each removed one
    does with a kept one, or depends on kept ones.

    Args:
      table: one row per patient. Correlations are Pearson's over the patients that have both values.
      candidates: rows of univariate() to choose from, e.g. the significant ones; a mediator may occur for
        several exposures.
      threshold: in (0, 1]; the paper's is 0.8.
      prefer: features (the last part of a phenotype's name, so "Entropy" is not "JointEntropy") or whole
        column names. The paper keeps area, entropy and IMC1 because they are known from medical research.
    Returns: Filtered(kept, log); log has the columns removed, kept_instead (the kept one it correlates with
      most, or all that it is a combination of), r (with them: the multiple correlation), why.
      `log.attrs["undefined_pairs"]` lists pairs without a correlation (too few common patients, or a constant column).
    Raises: ValueError for a threshold outside (0, 1], or missing columns.
    Source: the paper, "Mediation analysis".
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}.")
    missing = {"mediator", "indirect_std"} - set(candidates.columns)
    if missing:
        raise ValueError(f"candidates lack the columns {sorted(missing)}; pass rows of the table of univariate().")
    effect = candidates.assign(size=candidates["indirect_std"].abs()).groupby("mediator", sort=False)["size"].max()
    mediators = list(effect.index)
    data = columns.numeric(table, mediators)
    r = data.corr(min_periods=3)
    rank = {name: _preference(name, prefer) for name in mediators}
    kept: list[str] = []
    log = []
    for name in sorted(mediators, key=lambda name: (rank[name], -effect[name], name)):
        related = r.loc[name, kept]
        related = related[related.abs() > threshold]
        if related.empty:
            relation = dependence.first_relation(data[[*kept, name]], given=kept)
            if relation and relation.others:
                log.extend(dependence.log([relation]).itertuples(index=False))
            else:
                kept.append(name)
            continue
        rival = related.abs().idxmax()
        if rank[rival] < rank[name]:
            why = f"{rival} is preferred"
        else:
            why = f"smaller indirect effect (|std| {effect[name]:.3g} against {effect[rival]:.3g})"
        log.append((name, rival, related[rival], why))
    log = pd.DataFrame(log, columns=dependence.LOG_COLUMNS).astype({"r": float})
    rows, cols = np.nonzero(np.triu(r.isna().to_numpy(), 1))
    log.attrs["undefined_pairs"] = [[mediators[i], mediators[j]] for i, j in zip(rows, cols, strict=True)]
    return Filtered([name for name in mediators if name in kept], log)


def _preference(name: str, prefer: Sequence[str]) -> int:
    feature = name.rsplit("_", 1)[-1]
    return next((place for place, wanted in enumerate(prefer) if wanted in (name, feature)), len(prefer))
