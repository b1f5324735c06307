"""Follows docs/own_data.md from three pairs of volumes to a mediation analysis, with tiny networks."""

import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest

from configs import folder
from ssinfnet_jax import models
from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.evaluation import columns
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard
from tests import programs
from tests.conftest import ROOT
from tests.data.folder import layouts

pytestmark = pytest.mark.long

SIZE, NUM_SLICES, NUM_COHORT = 64, 3, 14
SMALL = (
    f"--config.data.image_size={SIZE}", "--config.single.model.options.width=0.125",
    "--config.multi.model.options.width=0.125", "--config.mediation.bootstrap_draws=0",
)  # fmt: skip


def _blocks(kind):
    """The blocks of this kind in the section."""
    section = (ROOT / "docs" / "own_data.md").read_text().split("## From three scans")[1].split("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", section, flags=re.DOTALL)


def _write_data(root, names, numbers):
    """Labeled scans, as the page lays them out."""
    for name, number in zip(names, numbers, strict=True):
        hu, classes, affine = volume.render(0, number, NUM_SLICES, SIZE)
        layouts.nifti(root / f"images/{name}.nii.gz", hu, affine)
        layouts.nifti(root / f"masks/{name}.nii.gz", classes, affine)
    return root


def _write_cohort(root):
    (table,) = _blocks("csv")
    levels = ("Mild", "Control", "Severe", "Control")
    rows = [table.splitlines()[0]]
    for number in range(NUM_COHORT):
        hu, _, affine = volume.render(0, 20 + number, 2, SIZE)
        layouts.nifti(root / f"cohort/p{number:03d}.nii.gz", hu, affine)
        disease = "Hypertension" if number % 3 else "None"
        rows.append(
            f"p{number:03d},{40 + 7 * number % 41},{('Female', 'Male')[number // 2 % 2]},{disease},{levels[number % 4]}"
        )
    (root / "clinical.csv").write_text("\n".join(rows) + "\n")


def _write_networks(root):
    """Networks as the package has them, but tiny and untrained."""
    config = folder.get_config("finetune").to_dict()
    for which in ("single", "multi"):
        name, options = config[which]["model"]["name"], {**config[which]["model"]["options"], "width": 0.125}
        description = {"model": name, "options": options, "image_size": SIZE, "window_hu": [-1150.0, 250.0]}
        description |= {"normalisation": config["data"]["normalisation"], "view": "lungs", "task": "segmentation"}
        variables = models.init(models.create(name, **options), 0, models.num_inputs(name))
        storage.save(root / which, variables, NetworkCard.from_json(description))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder in which the page's commands ran."""
    root = tmp_path_factory.mktemp("own")
    data = _write_data(root / "DATA", "abc", (7, 11, 3))
    _write_cohort(data)
    (description,) = _blocks("yaml")
    layouts.describe(data, description)
    other = _write_data(root / "OTHER", "de", (5, 9))
    layouts.describe(other, "".join(line + "\n" for line in description.splitlines()[:3]) + "view: lungs\n")
    _write_networks(root)
    (commands,) = _blocks("sh")
    for line in commands.replace("\\\n", " ").splitlines():
        python, _, module, *given = shlex.split(line)
        assert python == "python"
        for name in ("DATA", "CHECK", "RUN", "OTHER", "JUDGED"):
            given = [re.sub(rf"={name}\b", f"={root / name}", flag) for flag in given]
        if module == "launch.pipeline":
            given += SMALL
            given += [f"--config.{which}.train.initial={root / which}" for which in ("single", "multi")
                      if not any(which in flag for flag in given if "initial" in flag)]  # fmt: skip
        found = programs.run(module, *given)
        assert found.returncode == 0, (line, found.stderr[-3000:])
    return root


def test_the_data_are_checked(finished):
    assert (finished / "CHECK/check.html").is_file()
    assert "error" not in set(pd.read_csv(finished / "CHECK/findings.csv")["level"])


def test_one_scan_is_held_out_and_judged_as_a_scan(finished):
    slices = pd.read_csv(finished / "RUN/prepare/slices.csv")
    sizes = slices.groupby("split")["volume_id"].nunique().to_dict()
    assert sizes == {"train": 2, "test": 1, "cohort": NUM_COHORT}
    for network, classes in (("single", ["lesion"]), ("multi", ["lesion", "ggo", "consolidation"])):
        scans = pd.read_csv(finished / f"RUN/evaluate/{network}_volumes.csv")
        assert tuple(scans) == columns.VOLUMES
        assert scans["class"].tolist() == classes
        assert set(scans["volume_id"]) == set(slices.loc[slices["split"] == "test", "volume_id"])
    _, truth, affine = volume.render(0, {"a": 7, "b": 11, "c": 3}[scans["volume_id"][0]], NUM_SLICES, SIZE)
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    expected = [np.count_nonzero(mask) * voxel_ml for mask in (truth > 0, truth == 1, truth == 2)]
    assert scans["truth_ml"].tolist() == pytest.approx(expected, rel=1e-5)


def test_the_cohort_is_measured_and_analysed(finished):
    patients = pd.read_csv(finished / "RUN/phenotypes/patients.csv", dtype={"patient_id": str})
    assert sorted(patients["patient_id"]) == [f"p{number:03d}" for number in range(NUM_COHORT)]
    table = pd.read_csv(finished / "RUN/mediate/table.csv")
    assert {"age", "gender", "underlying", "severity"} <= {*table}
    assert len(table) == NUM_COHORT
    assert (finished / "RUN/mediate/univariate.csv").is_file()


def test_other_data_are_evaluated_with_the_trained_networks_as_they_are(finished):
    assert set(pd.read_csv(finished / "JUDGED/prepare/slices.csv")["split"]) == {"test"}
    assert pd.read_csv(finished / "JUDGED/evaluate/single_volumes.csv")["volume_id"].tolist() == ["d", "e"]
    for which in ("single", "multi"):
        card, given = (
            json.loads((finished / run / f"train_{which}/model/model.json").read_text()) for run in ("JUDGED", "RUN")
        )
        assert card == given
        assert given["initial"] == str(finished / which)
    assert json.loads((finished / "JUDGED/predict_priors/done.json").read_text())["skipped"]


@pytest.mark.parametrize("run", ["RUN", "JUDGED"])
def test_the_page_shows_scans(finished, run):
    page = (finished / run / "report.html").read_text()
    assert "95 % Hausdorff distance" in page
    assert ("Not trained: the network in" in page) == (run == "JUDGED")
