"""From a folder of images and masks to trained and evaluated networks, without code."""

import numpy as np
import pandas as pd
import pytest

from launch import stages
from ssinfnet_jax import rundir
from ssinfnet_jax.data import prepare
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.models import registry
from tests.data.folder import layouts
from tests.training import toy_config, toy_stages

NAMES = ("pretrain_single", "train_single", "crossfit_single", "predict_priors", "pretrain_multi", "train_multi",
         "evaluate")  # fmt: skip


def source(root, labels):
    """Four patients; the left half of each mask holds the value 3."""
    for one in layouts.patients((7, 11, 3, 5)):
        classes = np.where((one.classes > 0) & (np.arange(layouts.SIZE)[:, None, None] < 32), 3, one.classes)
        layouts.nifti(root / f"images/{one.name}.nii.gz", one.hu, one.affine)
        layouts.nifti(root / f"masks/{one.name}.nii.gz", classes.astype(np.uint8), one.affine)
    return layouts.describe(root, f"images: images/{{id}}.nii.gz\nmasks: masks/{{id}}.nii.gz\nlabels: {labels}\n")


def run(monkeypatch, tmp_path, labels):
    for name, entry in toy_stages.NETWORKS.items():
        monkeypatch.setitem(registry.MODELS, name, entry)
    tree = toy_config.get_config()
    tree.data.datasets = (("folder", "default"),)
    tree.data.splits = {"seed": 0, "num_folds": 4, "test_fold": (0,), "val_fold": (1,)}
    for which in ("single", "multi"):
        tree[which].pretrain = None
        tree[which].train.batch_size, tree[which].train.epochs = 2, 2
    run_dir = rundir.open_run(tmp_path / "run", tree.to_dict())
    config = stages.check(tree.to_dict())
    root = source(tmp_path / "source", labels)
    rundir.run_stage(run_dir, "prepare", lambda run_dir: prepare.run(config, run_dir, {"folder": root}))
    stages.run(config, run_dir, NAMES)
    return config, run_dir


@pytest.mark.long
def test_ignored_pixels_do_not_count_from_the_masks_to_the_metrics(monkeypatch, tmp_path):
    config, run_dir = run(monkeypatch, tmp_path, "{1: ggo, 2: consolidation, 3: ignore}")
    records, table = prepare.load(config.data, run_dir)
    assert table["has_ignore"].any()
    test = np.flatnonzero(table["split"] == "test")
    models = [run_dir.path / f"train_{which}/model" for which in ("single", "multi")]
    found = {
        which: pd.read_csv(run_dir.path / f"evaluate/{which}_slices.csv").set_index(["slice_id", "class"])["dice"]
        for which in ("single", "multi")
    }
    for result in segmenter.Segmenter(*models).segment(records, test):
        record, counts = result.record, result.record["ignore"] == 0
        maps = {"lesion": (result.lesion_probs > 0.5, record["lesion"] > 0)}
        maps |= {name: (result.pred == k, record["classes"] == k) for k, name in ((1, "ggo"), (2, "consolidation"))}
        for name, (pred, truth) in maps.items():
            sizes = (pred & counts).sum() + (truth & counts).sum()
            expected = 2 * (pred & truth & counts).sum() / sizes if sizes else np.nan
            dice = found["single" if name == "lesion" else "multi"][record["slice_id"], name]
            assert dice == pytest.approx(expected, nan_ok=True)
    assert [row for row in toy_stages.rows(run_dir, "train_multi") if "dice_ggo" in row]  # of the validation


def test_data_without_classes_train_the_single_network_alone(monkeypatch, tmp_path):
    _, run_dir = run(monkeypatch, tmp_path, "{1: lesion, 2: lesion, 3: lesion}")
    assert run_dir.was_skipped("train_multi")
    assert sorted(path.name for path in (run_dir.path / "evaluate").glob("*_slices.csv")) == ["single_slices.csv"]
