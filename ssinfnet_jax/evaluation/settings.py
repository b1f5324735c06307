"""Chooses the setting of a method, such as its learning rate, for each test fold by its results on the other folds.

So every method of a comparison is at its own best, and no result has been looked at to choose what made it.
"""

import pandas as pd

from ssinfnet_jax.evaluation import columns

METRIC = "dice"


def choose(slices: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keeps one setting of each method per dataset and fold: the one with the highest mean Dice on the other folds.

    The mean is over slices, seeds and classes, where the Dice is defined. Only folds and seeds that were run with every
    setting of the method count, so that an unfinished grid compares like with like; of equal settings, the first is
    chosen. A fold of a method with several settings is left out as long as it has no other to choose on.

    Args:
      slices: a long table with the columns fold and setting ("" for a method without settings).
    Returns: the rows of the chosen settings; a table with columns data, method, fold, setting, score (mean Dice on the
      other folds), chosen (bool), for methods with several settings.
    """
    kept, rows = [], []
    for (data, method), part in slices.groupby(["data", "method"], sort=False):
        names = list(dict.fromkeys(part["setting"]))
        if len(names) == 1:
            kept.append(part)
            continue
        complete = part[part.groupby(["fold", "seed"])["setting"].transform("nunique") == len(names)]
        for fold in sorted(complete["fold"].unique()):
            others = complete[complete["fold"] != fold]
            scores = others.groupby("setting", sort=False)[METRIC].mean().reindex(names)
            if scores.isna().all():
                continue
            best = scores.idxmax()
            kept.append(part[(part["fold"] == fold) & (part["setting"] == best)])
            about = {"data": data, "method": method, "fold": fold}
            rows += [{**about, "setting": name, "score": scores[name], "chosen": name == best} for name in names]
    return (
        pd.concat(kept, ignore_index=True) if kept else slices.iloc[:0],
        pd.DataFrame(rows, columns=list(columns.GRID["settings"])),
    )
