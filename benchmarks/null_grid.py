"""How often methods that are the same are found to differ: `python -m benchmarks.null_grid DIR`.

DIR is the folder of a finished grid of configs/experiments/null.py. Prints a row per class for comparisons with all
seeds, and one for those with a single seed: the share of pairs of names with p < 0.05 over patients, with p < 0.05 over
seeds, with both (which a claim needs), and whose interval leaves out 0. Pairs share networks, so they are not
independent, and the shares are known less well than their number suggests.
"""

import itertools
import pathlib
import sys

import numpy as np
import pandas as pd

from ssinfnet_jax.evaluation import comparison

LEVEL = 0.05


def rates(slices: pd.DataFrame, num_draws: int = 1000) -> pd.DataFrame:
    """Shares of significant pairs (Dice) by class and number of seeds, from the long table of a null grid."""
    seeds = sorted(slices["seed"].unique())
    rows = []
    for first, second in itertools.combinations(slices["method"].unique(), 2):
        pair = slices[slices["method"].isin([first, second])]
        for used in dict.fromkeys([tuple(seeds), *((seed,) for seed in seeds)]):
            part = pair[pair["seed"].isin(used)]
            found = comparison.compare(part, reference=first, metrics=("dice",), num_draws=num_draws)
            rows.append(found.assign(num_seeds=len(used)))
    found = pd.concat(rows)
    several = found["num_seeds"] > 1
    found = found.assign(
        patients=found["p"] < LEVEL,
        seeds=(found["seed_p"] < LEVEL).where(several),
        both=((found["p"] < LEVEL) & (found["seed_p"] < LEVEL)).where(several),
        interval=np.sign(found["low"]) == np.sign(found["high"]),
    )
    groups = found.groupby(["class", "num_seeds"], sort=False)
    table = groups[["patients", "seeds", "both", "interval"]].agg(lambda each: each.astype(float).mean())
    return table.assign(pairs=groups.size(), sd_of_differences=groups["difference"].std(), n=groups["n"].max())


def main() -> None:
    """Prints the table of one folder."""
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m benchmarks.null_grid DIR")
    path = pathlib.Path(sys.argv[1]) / "tables" / "slices.csv"
    if not path.is_file():
        sys.exit(f"Error: there is no {path}; run the grid configs/experiments/null.py first.")
    print(rates(pd.read_csv(path, dtype={"slice_id": str, "patient_id": str})).round(3).to_string())


if __name__ == "__main__":
    main()
