"""Cross-validation figures of packed networks (`evaluation.pack`)."""

import pathlib
from collections.abc import Mapping
from typing import Any

from ssinfnet_jax import rundir

FILE = "held_out.json"


def figures(single_dir: pathlib.Path, multi_dir: pathlib.Path) -> dict[str, str]:
    """The figures by title, for pages; empty for networks that were not packed together."""
    path = single_dir.parent / FILE
    if single_dir.parent != multi_dir.parent or not path.is_file():
        return {}
    found = rundir.read_json(path)
    dice = {_name(row): f"{row['mean']:.2f} ± {row['error']:.2f}" for row in found["figures"]}
    said = [
        f"{_name(row)} {row['bias']:+.0%} in all, {row['low']:.2f} to {row['high']:.2f} times in 19 of 20 slices"
        for row in found["agreement"]
    ]
    return {
        f"Dice on {found['slices']} held-out slices": ", ".join(f"{name} {value}" for name, value in dice.items()),
        "Their areas, predicted against true": "; ".join(said),
    }


def _name(row: Mapping[str, Any]) -> str:
    return {"ggo": "GGO"}.get(row["class"], row["class"])
