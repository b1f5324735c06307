"""The variant `evaluate` of configs/folder.py: networks on data that they were not trained on."""

import json

import pandas as pd
import pytest

from tests import programs
from tests.data.folder import layouts
from tests.inference import tiny_networks


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return tiny_networks.write(tmp_path_factory.mktemp("networks"))


def _evaluate(data, workdir, networks, *flags):
    initial = [f"--config.{which}.train.initial={networks / which}" for which in ("single", "multi")]
    given = ["--config=configs/folder.py:evaluate", f"--data_dir={data}", f"--workdir={workdir}", *initial, *flags]
    return programs.run("launch.pipeline", *given)


@pytest.mark.long
def test_masks_without_classes_evaluate_the_single_network_alone(tmp_path, networks):
    data = tmp_path / "data"
    for one in layouts.patients((7, 11)):
        layouts.nifti(data / f"images/{one.name}.nii.gz", one.hu, one.affine)
        layouts.nifti(data / f"masks/{one.name}.nii.gz", (one.classes > 0).astype("uint8"), one.affine)
    layouts.describe(data, "images: images/{id}.nii.gz\nmasks: masks/{id}.nii.gz\nlabels: {1: lesion}\n")
    found = _evaluate(data, tmp_path / "run", networks)
    assert found.returncode == 0, found.stderr[-3000:]
    assert "trained on slices with the view 'lungs', but these have the view 'frame'" in found.stderr
    written = {path.name for path in (tmp_path / "run/evaluate").glob("*.csv")}
    assert written == {f"single_{name}.csv" for name in ("slices", "summary", "roc", "volumes", "volumes_summary")}
    assert pd.read_csv(tmp_path / "run/evaluate/single_volumes.csv")["volume_id"].tolist() == ["p7", "p11"]
    assert json.loads((tmp_path / "run/train_multi/done.json").read_text())["skipped"] is None
    assert "All scans (2)" in (tmp_path / "run/report.html").read_text()


def test_a_missing_network_is_one_line_before_anything_is_done(tmp_path, networks):
    data = layouts.nifti_pairs(tmp_path / "data", layouts.patients())
    found = _evaluate(data, tmp_path / "run", networks, f"--config.single.train.initial={tmp_path}")
    assert found.returncode == 1
    assert found.stderr.strip().splitlines()[-1].startswith(f"Error: No trained network in {tmp_path}")
    assert not (tmp_path / "run").exists()
