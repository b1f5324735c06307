"""Tests on the public slices, if they are available."""

import hashlib
import shutil

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.config import Splits
from ssinfnet_jax.data import ct, datasets, prepare, survey

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def dataset(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    datasets.prepare("covid_semiseg", "default", source_dir=shared / "data" / "covid-semiseg", prepared_dir=folder)
    return datasets.load("covid_semiseg", "default", prepared_dir=folder)


def test_all_slices_are_there(dataset):
    assert dataset.slices["part"].value_counts().to_dict() == {"unlabeled": 1600, "labeled": 50}
    unlabeled = dataset.slices[dataset.slices["part"] == "unlabeled"]
    assert unlabeled["patient_id"].nunique() == 18
    labeled = dataset.slices[dataset.slices["part"] == "labeled"]
    assert labeled["has_lesion"].all()
    assert labeled["has_classes"].all()


def test_labels_agree_and_consolidation_is_denser(dataset):
    grey = {1: [], 2: []}
    for index in np.flatnonzero(dataset.slices["part"] == "labeled"):
        record = dataset.records[int(index)]
        np.testing.assert_array_equal(record["lesion"], record["classes"] > 0)
        assert record["image"].shape == record["lesion"].shape
        for value, found in grey.items():
            found.append(record["image"][record["classes"] == value])
    ggo, consolidation = (np.concatenate(found) for found in grey.values())
    assert (len(ggo), len(consolidation)) == (560121, 326093)
    assert consolidation.mean() > ggo.mean() + 40


def test_a_fifth_is_held_out_and_pretraining_does_not_see_it(dataset):
    table = prepare.assign_splits(dataset.slices, Splits(seed=0, num_folds=5, test_fold=0), 0.1)
    assert table["split"].value_counts().to_dict() == {"unlabeled": 1600, "train": 40, "test": 10}
    assert (table.loc[table["split"] == "test", "pretrain"] == "").all()


def test_slices_are_in_the_radiologists_view(dataset):
    """The spine, which holds most of the brightest pixels, is in the lower middle; on its side it would not be."""
    below = {"labeled": [], "unlabeled": []}
    for index in [*np.flatnonzero(dataset.slices["part"] == "labeled"), *range(50, 1650, 16)]:
        image = dataset.records[int(index)]["image"]
        bright = np.argwhere(image >= np.percentile(image, 97)).mean(axis=0) / image.shape
        below[dataset.slices["part"][index]].append((bright[0] > 0.5, abs(bright[1] - 0.5) < 0.2))
    assert np.mean(below["labeled"], axis=0).min() >= 0.9
    assert np.mean(below["unlabeled"], axis=0).min() >= 0.95


def test_records_are_those_of_the_builder_that_the_description_replaced(dataset):
    """The digest was computed with that builder's records, but for the slices whose window it did not correct."""
    digest = hashlib.sha256()
    for record in dataset.records:
        if record["patient_id"].startswith("coronacases"):
            continue
        digest.update(f"{record['slice_id']} {record['patient_id']}".encode())
        for name in ("image", "lesion", "classes"):
            if name in record:
                digest.update(repr(record[name].shape).encode() + record[name].tobytes())
    assert digest.hexdigest() == "1348b0bed95ee1c9ba87fc8978bd8c375080434402dbc5608181da2680e78926"


OWN = """
images: images/{id}.jpg
masks: masks/{id}.png
labels: {1: ggo, 2: consolidation}
name: labeled_{id}
orientation: LP
"""


def test_a_plain_folder_of_the_labeled_slices_gives_the_same_records(dataset, shared, tmp_path):
    source = shared / "data/covid-semiseg/TrainingSet/MultiClassInfection-Train"
    shutil.copytree(source / "Imgs", tmp_path / "source/images")
    shutil.copytree(source / "GT", tmp_path / "source/masks")
    (tmp_path / "source/dataset.yaml").write_text(OWN)
    datasets.prepare("folder", "default", source_dir=tmp_path / "source", prepared_dir=tmp_path)
    own = datasets.load("folder", "default", prepared_dir=tmp_path)
    labeled = dataset.slices["part"] == "labeled"
    pd.testing.assert_frame_equal(own.slices, dataset.slices[labeled])
    for index, position in enumerate(np.flatnonzero(labeled)):
        record, expected = own.records[index], dataset.records[int(position)]
        assert record.keys() == expected.keys()
        for name in ("image", "lesion", "classes"):
            np.testing.assert_array_equal(record[name], expected[name])


def test_all_slices_have_one_window(dataset):
    """Of two groups of unlabeled slices one is exported with a window twice as wide."""
    for start in range(0, len(dataset.slices), 40):
        assert survey.other_window(dataset.records[start]["image"], (ct.LOW_HU, ct.HIGH_HU)) == ""
    names = dataset.slices["patient_id"].to_numpy(str)
    case = np.flatnonzero(np.char.startswith(names, "coronacases_004"))
    tissue = [
        120 + np.bincount(dataset.records[int(i)]["image"].ravel(), minlength=256)[120:250].argmax() for i in case[::10]
    ]
    assert np.median(tissue) == pytest.approx(218, abs=12)
