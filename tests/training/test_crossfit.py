import types

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax import rundir
from ssinfnet_jax.inference import predict_priors
from ssinfnet_jax.training import crossfit
from tests import trees


@pytest.mark.parametrize("limit", [24, 12])  # slices that the training may use
def test_no_network_has_seen_a_patient_that_it_is_applied_to(limit, monkeypatch, tmp_path):
    table = pd.DataFrame({"patient_id": np.repeat([f"p{i}" for i in range(9)], 3), "has_lesion": 1, "split": "train"})
    table["slice_id"] = [f"s{row}" for row in table.index]
    table.loc[24:, "split"] = "test"
    setup = types.SimpleNamespace(
        table=table,
        seed=0,
        positions=lambda rows: np.flatnonzero(rows.to_numpy()),
        training_rows=lambda label: table["split"].eq("train") & (table.index < limit),
    )
    monkeypatch.setattr(crossfit.network_setup, "setup", lambda *args, **kwargs: setup)
    monkeypatch.setattr(crossfit.network_setup, "skip_together", lambda *args: None)
    seen = {}

    def fit(config, run_dir, setup, train, *, directory, title, profile):
        seen[directory] = train
        (directory / "model").mkdir(parents=True)
        (directory / "model" / "model.json").write_text("{}")

    monkeypatch.setattr(crossfit.train, "fit", fit)
    config = trees.config({"multi.prior_folds": 4})
    run = rundir.open_run(tmp_path, {"name": "test"})
    rundir.run_stage(run, crossfit.STAGE, lambda run: crossfit.run(config, run))
    found = list(predict_priors._crossfitted(run, table))
    assert sorted(np.concatenate([positions for positions, _ in found])) == list(range(24))
    for positions, model in found:
        trained = table["patient_id"][seen[model.parent]]
        assert len(trained) == 18 if limit == 24 else 0 < len(trained) <= limit
        assert not set(trained) & set(table["patient_id"][positions])
    seen.clear()
    crossfit.run(config, run)
    assert not seen
