"""Stages with toy networks on generated slices, in the test's process."""

import json

import numpy as np
import pandas as pd
import pytest

from launch import stages
from ssinfnet_jax import rundir
from ssinfnet_jax.data import prepare
from ssinfnet_jax.models import registry
from tests.training import toy

NETWORKS = {
    "toy_single": registry.Entry(toy.Toy, {}, 3, "maps", True),
    "toy_multi": registry.Entry(toy.Toy, {"outputs": 3, "inpainted": 6, "as_maps": False}, 6, "classes", True),
    "coach": registry.Entry(toy.ToyCoach, {}, 3, "scores", False),
}


def records(count: int, size: int = 32) -> list[dict]:
    """Labeled slices s0, s1, ..., three of each patient."""
    batch = {name: np.asarray(value) for name, value in toy.batch(count=count, size=size).items()}
    return [
        {name: batch[name][row] for name in ("image", "lesion", "classes")}
        | {"slice_id": f"s{row}", "patient_id": f"p{row // 3}"}
        for row in range(count)
    ]


def run(monkeypatch: pytest.MonkeyPatch, workdir, config, slices, split, names) -> rundir.RunDir:
    """Runs the stages `names` with toy networks."""
    ids = {column: [one[column] for one in slices] for column in ("slice_id", "patient_id")}
    table = pd.DataFrame({**ids, "split": split, "pretrain": split, "has_lesion": True, "has_classes": True})
    monkeypatch.setattr(prepare, "load", lambda config, run_dir: (slices, table))
    for name, entry in NETWORKS.items():
        monkeypatch.setitem(registry.MODELS, name, entry)
    for which in ("single", "multi"):
        config[which].model = {"name": f"toy_{which}", "options": {}}
        config[which].train.head_biases = {}
        if config[which].pretrain:
            config[which].pretrain.coach = {}
    config.data.image_size = 32
    run_dir = rundir.open_run(workdir, config.to_dict())
    stages.run(stages.check(config.to_dict()), run_dir, names)
    return run_dir


def rows(run_dir: rundir.RunDir, stage: str) -> list[dict]:
    """The metrics that a stage logged."""
    return [json.loads(line) for line in (run_dir.path / stage / "metrics.jsonl").read_text().splitlines()]
