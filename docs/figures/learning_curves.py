"""Draws learning curves of several runs in one figure: docs/figures/covid_learning_curves.png.

python -m docs.figures.learning_curves OUT.png "with pretraining=RUN" "without=RUN"
"""

import json
import pathlib
import sys

import matplotlib.pyplot as plt
import pandas as pd

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito
PANELS = {"loss": "single network: loss", "train_dice": "Dice of training slices"}


def main(out: str, *runs: str) -> None:
    """Draws the curves of runs given as NAME=FOLDER."""
    figure, axes = plt.subplots(1, len(PANELS), figsize=(9, 3.2), layout="constrained")
    for colour, run in zip(COLOURS, runs, strict=False):
        name, _, folder = run.partition("=")
        for axis, (quantity, title) in zip(axes, PANELS.items(), strict=True):
            rows = (pathlib.Path(folder) / "train_single" / "metrics.jsonl").read_text().splitlines()
            table = pd.DataFrame([row for row in map(json.loads, rows) if row["phase"] == "train"])
            axis.plot(table["epoch"], table[quantity], color=colour, label=name, linewidth=1.2)
            axis.set(title=title, xlabel="epoch")
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
