import json
import pickle
import shutil
import sys
from concurrent import futures
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from ssinfnet_jax.data import datasets, splits
from ssinfnet_jax.data.datasets import registry, slice_builder
from ssinfnet_jax.data.datasets.ct_phantom import generator, population

RNG = np.random.default_rng(0)
SIZE = (20, 24)
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0]


def grey(size=SIZE):
    return RNG.integers(0, 255, size, dtype=np.uint8)


def classes(size=SIZE):
    label = np.zeros(size, np.uint8)
    label[2:8, 3:9] = 1
    label[5:7, 4:12] = 2
    return label


def save(path: Path, values, palette=None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image.putpalette(palette)
    image.save(path)
    return path


def make_covid_semiseg(root: Path) -> Path:
    train, test = root / "TrainingSet", root / "TestingSet"
    label = classes()
    for stem in ("2", "10"):
        image = grey()
        for folder in ("LungInfection-Train/Doctor-label", "MultiClassInfection-Train"):
            save(train / folder / "Imgs" / f"{stem}.png", image)
        save(train / f"LungInfection-Train/Doctor-label/GT/{stem}.png", (label > 0).astype(np.uint8) * 255)
        save(train / f"LungInfection-Train/Doctor-label/Edge/{stem}.png", grey())
        save(train / f"MultiClassInfection-Train/GT/{stem}.png", label, PALETTE)
    for name in (
        "coronacases_org_001_9",
        "coronacases_org_001_10",
        "radiopaedia_org_covid-19-pneumonia-10_85902_1-dcm_3",
    ):
        save(train / f"LungInfection-Train/Pseudo-label/Imgs/Data-1_{name}.jpg", grey())
    save(test / "MultiClassInfection-Test/Imgs/7.jpg", grey())
    save(test / "MultiClassInfection-Test/GT/7.png", label, PALETTE)
    return root


def save_nifti(path: Path, volume, affine=None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, np.diag([-1, -1, 1, 1]) if affine is None else affine), path)
    return path


def label_volume(num_slices):
    volume = np.zeros((8, 6, num_slices), np.uint8)
    volume[1, 2:5, 0], volume[2, 2:4, 0], volume[5, 1, 0] = 1, 2, 3
    return volume


def ct_volume(num_slices):
    return RNG.integers(-1000, 300, (8, 6, num_slices)).astype(np.int16)


def make_medseg(root: Path) -> Path:
    save_nifti(root / "tr_im.nii.gz", ct_volume(3))
    save_nifti(root / "tr_mask.nii.gz", label_volume(3))
    save_nifti(root / "val_im.nii.gz", np.clip(ct_volume(2) % 256, 0, 255).astype(np.uint8))
    for name in ("1", "2"):
        save_nifti(root / f"rp_im/{name}.nii.gz", ct_volume(2))
        save_nifti(root / f"rp_msk/{name}.nii.gz", label_volume(2))
    return root


CLINICAL = """Patient,Age,Gender,Underlying diseases,Morbidity outcome
Patient 1,63,Male,"Hypertension, diabetes",Severe
Patient 2,41,Female,None,control (healthy)
Patient 10,,,,
Patient 99,50,Male,None,Mild
"""


def make_ictcf(root: Path) -> Path:
    for patient, name in ((1, "CT/a2.jpg"), (1, "CT/a10.jpg"), (2, "b.png"), (10, "c.png"), (77, "d.png")):
        save(root / f"Patient {patient}" / name, grey())
    (root / "clinical.csv").write_text(CLINICAL)
    return root


def chest_volume(num_slices):
    """HU of air with a body in it, which the checks take for a chest."""
    volume = np.full((24, 20, num_slices), -1000, np.int16)
    volume[4:20, 4:16] = RNG.integers(-100, 100, (16, 12, num_slices))
    return volume


def lesion_volume(num_slices):
    volume = np.zeros((24, 20, num_slices), np.uint8)
    volume[8:12, 7:9, 0] = 1
    return volume


def make_covid_ct_seg(root: Path) -> Path:
    for name, values in (("coronacases_001", chest_volume(2)), ("radiopaedia_4_85506_1", None)):
        grey_values = RNG.integers(0, 255, (24, 20, 2)).astype(np.float32)
        save_nifti(root / f"COVID-19-CT-Seg_20cases/{name}.nii.gz", grey_values if values is None else values)
        save_nifti(root / f"Infection_Mask/{name}.nii.gz", lesion_volume(2))
        save_nifti(root / f"Lung_Mask/{name}.nii.gz", np.full((24, 20, 2), 2, np.uint8))
    return root


def make_mosmed(root: Path) -> Path:
    for name in ("CT-0/study_0001", "CT-1/study_0255"):
        save_nifti(root / f"studies/{name}.nii.gz", chest_volume(2))
    save_nifti(root / "masks/study_0255_mask.nii.gz", lesion_volume(2))
    return root


def make_covid_19_20(root: Path) -> Path:
    for name in ("Train/volume-covid19-A-0003", "Validation/volume-covid19-A-0001"):
        save_nifti(root / f"COVID-19-20_v2/{name}_ct.nii.gz", chest_volume(2))
    save_nifti(root / "COVID-19-20_v2/Train/volume-covid19-A-0003_seg.nii.gz", lesion_volume(2))
    return root


def make_folder(root: Path) -> Path:
    for name in "ab":
        save(root / f"images/{name}.png", grey())
        save(root / f"masks/{name}.png", classes())
    text = "images: images/{id}.png\nmasks: masks/{id}.png\nlabels: {1: ggo, 2: consolidation}\n"
    (root / "dataset.yaml").write_text(text)
    return root


SOURCES = {
    "ct_phantom": ("tiny", None),
    "folder": ("default", make_folder),
    "covid_19_20": ("default", make_covid_19_20),
    "covid_ct_seg": ("default", make_covid_ct_seg),
    "mosmed": ("default", make_mosmed),
    "covid_semiseg": ("default", make_covid_semiseg),
    "medseg": ("default", make_medseg),
    "ictcf": ("default", make_ictcf),
}


def prepare(name: str, root: Path, source: Path | None = None, *, config: str | None = None) -> datasets.Dataset:
    default, make = SOURCES[name]
    config = config or default
    if make and source is None:
        source = make(root / "source")
    datasets.prepare(name, config, source_dir=source, prepared_dir=root / "prepared")
    return datasets.load(name, config, prepared_dir=root / "prepared")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return {name: prepare(name, tmp_path_factory.mktemp(name)) for name in SOURCES}


def test_every_dataset_is_tested():
    assert {*SOURCES} == {*datasets.BUILDERS, *datasets.PUBLIC}


@pytest.mark.parametrize("name", SOURCES)
def test_records_and_table_agree(prepared, name):
    dataset = prepared[name]
    assert len(dataset.records) == len(dataset.slices) > 0
    assert dataset.slices["slice_id"].is_unique
    assert set(dataset.slices["part"]) <= set(slice_builder.PARTS)
    for index, row in dataset.slices.iterrows():
        record = dataset.records[index]
        assert (record["slice_id"], record["patient_id"]) == (row["slice_id"], row["patient_id"])
        assert record["image"].dtype == np.uint8
        for label, largest in (("lesion", 1), ("classes", 2)):
            assert (label in record) == row[f"has_{label}"]
            if label in record:
                assert record[label].shape == record["image"].shape
                assert record[label].max() <= largest
        if "classes" in record:
            np.testing.assert_array_equal(record["lesion"], record["classes"] > 0)
        for column in ("age", "gender", "underlying", "severity_level"):
            missing = column not in row or row[column] == "" or row[column] != row[column]
            assert (column in record) == (not missing)
            if not missing:
                assert record[column] == pytest.approx(row[column])


@pytest.mark.parametrize("name", SOURCES)
def test_no_patient_is_in_two_parts_or_splits(prepared, name):
    slices = prepared[name].slices
    splits.check_disjoint(slices.groupby("part")["patient_id"].apply(list).to_dict())
    assignment = slices["patient_id"].map(splits.folds(slices["patient_id"], 2, seed=0))
    splits.check_disjoint(slices.groupby(assignment)["patient_id"].apply(list).to_dict())


@pytest.mark.parametrize("name", datasets.PUBLIC)
def test_datasets_name_source_and_licence(name):
    origin = registry.origin(name).lower()
    assert "licence" in origin
    assert "source" in origin


def test_records_behave_as_a_sequence(prepared):
    records = prepared["ct_phantom"].records
    assert records[-1]["slice_id"] == records[len(records) - 1]["slice_id"]
    assert records[np.int64(3)]["slice_id"] == records[3]["slice_id"]
    for index in (len(records), -len(records) - 1):
        with pytest.raises(IndexError, match=f"Record {index} of {len(records)}"):
            records[index]


def test_records_can_be_pickled_and_read_by_threads(prepared):
    dataset = prepared["ct_phantom"]
    dataset.records[0]  # opens the files
    copy = pickle.loads(pickle.dumps(dataset))
    assert len(pickle.dumps(dataset.records)) < 1000
    order = RNG.integers(0, len(copy.records), 200)
    with futures.ThreadPoolExecutor(8) as pool:
        read = list(pool.map(copy.records.__getitem__, order))
    for index, record in zip(order, read, strict=True):
        np.testing.assert_array_equal(record["image"], dataset.records[index]["image"])


def test_tensorflow_is_not_needed(prepared):
    assert "tensorflow" not in sys.modules


def test_preparing_again_changes_nothing_and_needs_no_source(tmp_path):
    prepare("ictcf", tmp_path)
    folder = tmp_path / "prepared/ictcf/default/1.0.0"
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    prepare("ictcf", tmp_path, tmp_path / "source")
    datasets.prepare("ictcf", "default", source_dir=None, prepared_dir=tmp_path / "prepared")
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_preparing_from_other_files_is_refused(tmp_path):
    prepare("ictcf", tmp_path)
    save(tmp_path / "source/Patient 2/new.png", grey())
    with pytest.raises(ValueError, match=r"was prepared from .* with 6 files; .* holds other files \(7\)\. Delete"):
        prepare("ictcf", tmp_path, tmp_path / "source")


def test_failing_midway_leaves_nothing_and_stale_folders_are_removed(tmp_path):
    source = make_covid_semiseg(tmp_path / "source")
    last = source / "TrainingSet/LungInfection-Train/Pseudo-label/Imgs/Data-1_coronacases_org_001_10.jpg"
    whole = last.read_bytes()
    last.write_bytes(whole[:200])
    with pytest.raises(ValueError, match=r"coronacases_org_001_10\.jpg is truncated or damaged"):
        prepare("covid_semiseg", tmp_path, source)
    folder = tmp_path / "prepared/covid_semiseg/default"
    assert [path.name for path in folder.iterdir()] == [".lock"]
    with pytest.raises(FileNotFoundError, match=r"is not prepared \(.*1\.2\.0 is missing\); prepare it first"):
        datasets.load("covid_semiseg", "default", prepared_dir=tmp_path / "prepared")

    (folder / "incomplete.ABC123_1.2.0").mkdir()  # as left by a killed process
    last.write_bytes(whole)
    assert len(prepare("covid_semiseg", tmp_path, source).records) == 6
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "1.2.0"]


def test_unknown_names_list_the_choices(tmp_path):
    with pytest.raises(
        ValueError, match=r"Unknown dataset 'covid'; choose one of covid_19_20, covid_ct_seg, covid_semi"
    ):
        datasets.prepare("covid", "default", source_dir=None, prepared_dir=tmp_path)
    with pytest.raises(ValueError, match=r"Unknown config 'huge' of dataset 'ct_phantom'; choose one of demo, tiny"):
        datasets.load("ct_phantom", "huge", prepared_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name, (_, make) in SOURCES.items() if make])
def test_source_folder_must_be_given_exist_and_have_the_layout(tmp_path, name):
    def attempt(source):
        datasets.prepare(name, "default", source_dir=source, prepared_dir=tmp_path / "prepared")

    with pytest.raises(ValueError, match=rf"Dataset '{name}' is read from a local folder; pass it with --data_dir"):
        attempt(None)
    with pytest.raises(FileNotFoundError, match=r"source folder .*gone of dataset .* does not exist"):
        attempt(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=r"source folder .*empty of dataset .* is empty"):
        attempt(tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("nothing here")
    with pytest.raises(
        (ValueError, FileNotFoundError),
        match=r"holds none of|exactly one clinical table|has neither dataset\.yaml|no file that",
    ):
        attempt(tmp_path / "other")


def test_check_slices_refuses_repeats_unknown_parts_and_shared_patients():
    def item(slice_id, patient_id, part):
        return slice_builder.Slice(slice_id=slice_id, patient_id=patient_id, part=part, read=dict)

    with pytest.raises(ValueError, match=r"1 slice ids occur more than once: \['a'\]"):
        slice_builder.check_slices([item("a", "p", "test"), item("a", "p", "test")])
    with pytest.raises(ValueError, match=r"Unknown parts \['train'\]; choose from labeled, unlabeled"):
        slice_builder.check_slices([item("a", "p", "train")])
    with pytest.raises(ValueError, match=r"more than one split: p in labeled and test"):
        slice_builder.check_slices([item("a", "p", "test"), item("b", "p", "labeled")])
    with pytest.raises(ValueError, match="has no slices"):
        slice_builder.check_slices([])


def test_ct_phantom_parts(prepared):
    dataset = prepared["ct_phantom"]
    by_part = dataset.slices.groupby("part")
    assert by_part["patient_id"].nunique().to_dict() == {"cohort": 10, "labeled": 6}
    row = dataset.slices[dataset.slices["part"] == "cohort"].iloc[5]
    patient = population.sample_patient(0, int(row["patient_id"].removeprefix("phantom_")))
    record = dataset.records[int(row.name)]
    assert (record["age"], record["severity_level"]) == (pytest.approx(patient.age), patient.severity_level)
    truth = generator.render_slice(0, patient, int(record["slice_id"][-1]), num_slices=2, size=64)
    np.testing.assert_array_equal(record["image"], truth.image)
    assert datasets.truth("ct_phantom")
    assert datasets.truth("medseg") == []


def test_covid_semiseg_joins_labels_and_reads_patients_from_names(prepared):
    slices = prepared["covid_semiseg"].slices
    assert slices["slice_id"].tolist()[:2] == ["labeled_2", "labeled_10"]
    assert slices.groupby("part")["slice_id"].count().to_dict() == {"labeled": 2, "test": 1, "unlabeled": 3}
    np.testing.assert_array_equal(prepared["covid_semiseg"].records[0]["classes"], classes().T)
    unlabeled = slices[slices["part"] == "unlabeled"]
    assert unlabeled["patient_id"].tolist() == ["coronacases_001"] * 2 + ["radiopaedia_covid-19-pneumonia-10"]


def test_covid_semiseg_reports_rules_and_disagreement(tmp_path):
    source = make_covid_semiseg(tmp_path / "source")
    lesion = (classes() > 0).astype(np.uint8) * 255
    lesion[0, :5] = 255
    save(source / "TrainingSet/LungInfection-Train/Doctor-label/GT/2.png", lesion)
    dataset = prepare("covid_semiseg", tmp_path, source)
    assert dataset.records[0]["lesion"].sum() == (classes() > 0).sum() + 5
    notes = json.loads((tmp_path / "prepared/covid_semiseg/default/1.2.0/notes.json").read_text())
    label = f"{DOCTOR}/GT/2.png"
    told = {f"{label} differs from the classes of the same image in 5 pixels; both are kept.": 1}
    assert notes["labels disagree"] == told
    assert f"{DOCTOR}/Edge holds 2 .png files that no pattern matches: 2.png, 10.png." in notes["not used"]


DOCTOR = "TrainingSet/LungInfection-Train/Doctor-label"
MULTI = "TrainingSet/MultiClassInfection-Train"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: [(root / folder / "Imgs/2.png").unlink() for folder in (DOCTOR, MULTI)],
            r"Doctor-label/GT/2\.png is a lesion mask without an image",
        ),
        (
            lambda root: [(root / folder / "GT/10.png").unlink() for folder in (DOCTOR, MULTI)],
            r"Imgs/10\.png has no classes and no lesion mask; add the mask",
        ),
        (
            lambda root: save(root / MULTI / "Imgs/2.png", grey((9, 9))),
            r"same name but are different slices \(mean difference inf",
        ),
        (
            lambda root: save(root / MULTI / "Imgs/2.png", 255 - grey()),
            r"same name but are different slices \(mean",
        ),
        (
            lambda root: save(root / MULTI / "GT/2.png", classes() * 5),
            r"GT/2\.png holds the values 5, 10, which labels \(1: ggo, 2: consolidation\) do not name",
        ),
        (
            lambda root: save(root / DOCTOR / "Imgs/2.jpg", grey()),
            r"2\.png has the same name as .*2\.jpg; keep one",
        ),
    ],
)
def test_covid_semiseg_refuses(tmp_path, spoil, message):
    source = make_covid_semiseg(tmp_path / "source")
    spoil(source)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare("covid_semiseg", tmp_path, source)
    assert not (tmp_path / "prepared/covid_semiseg/default/1.2.0").exists()


def test_medseg_patients_labels_and_orientation(tmp_path):
    source = make_medseg(tmp_path / "source")
    shutil.rmtree(source / "rp_msk")
    save_nifti(source / "rp_msk/2.nii.gz", label_volume(2))
    dataset = prepare("medseg", tmp_path, source)
    slices = dataset.slices
    counts = slices.groupby("part")["slice_id"].count().to_dict()
    assert counts == {"labeled": 3 + 2, "unlabeled": 2 + 2}
    assert slices["patient_id"].tolist() == [
        "tr_000",
        "tr_001",
        "tr_002",
        "rp_2",
        "rp_2",
        "val_000",
        "val_001",
        "rp_1",
        "rp_1",
    ]
    found = dataset.records[0]["classes"]
    stored = label_volume(1)[..., 0].T  # rows are the second axis of a volume stored as LPS
    np.testing.assert_array_equal(found, np.where(stored == 3, 0, stored))
    notes = json.loads((tmp_path / "prepared/medseg/default/1.0.0/notes.json").read_text())
    assert "tr_im.nii.gz holds HU, which are windowed to [-1150, 250]." in notes["values"]
    assert "val_im.nii.gz holds grey levels, windowed already (0..255)." in notes["values"]
    assert notes["no mask"] == {"rp_im/1.nii.gz has no mask: used as unlabeled.": 1}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: (root / "tr_mask.nii.gz").unlink(),
            r"tr_im\.nii\.gz has no classes mask",
        ),
        (
            lambda root: (root / "tr_im.nii.gz").unlink(),
            r"tr_mask\.nii\.gz is a classes mask without an image",
        ),
        (
            lambda root: (root / "rp_im/1.nii.gz").unlink(),
            r"rp_msk/1\.nii\.gz is a classes mask without an image",
        ),
        (
            lambda root: save_nifti(root / "tr_mask.nii.gz", label_volume(2)),
            r"has \(2, 6, 8\) voxels .*has \(3, 6, 8\)",
        ),
        (
            lambda root: save_nifti(root / "tr_mask.nii.gz", label_volume(3), np.eye(4)),
            r"up to 8\.6 mm apart\. Affine of the label: \[1 0 0 0\] .* \(RAS\), of the image: \[-1 0 0 0\] .* \(LPS\)",
        ),
        (
            lambda root: save_nifti(root / "tr_mask.nii.gz", label_volume(3) * 3),
            r"holds the values 6, 9, which labels",
        ),
        (
            lambda root: save_nifti(root / "tr_im.nii.gz", ct_volume(3) + 1024),
            r"tr_im\.nii\.gz holds values from .*: not Hounsfield units",
        ),
    ],
)
def test_medseg_refuses(tmp_path, spoil, message):
    source = make_medseg(tmp_path / "source")
    spoil(source)
    with pytest.raises(ValueError, match=message):
        prepare("medseg", tmp_path, source)


@pytest.mark.parametrize(
    ("affine", "distance"),
    [
        (np.diag([-1.5, -1, 1, 1]), "3.5 mm"),  # 7 columns of 0.5 mm
        (np.array([[-1, 0, 0, 0.01], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "0.01 mm"),
    ],
)
def test_medseg_labels_must_lie_on_their_images(tmp_path, affine, distance):
    source = make_medseg(tmp_path / "source")
    save_nifti(source / "rp_msk/2.nii.gz", label_volume(2), affine)
    with pytest.raises(
        ValueError, match=rf"rp_msk/2\.nii\.gz does not lie on its image .* up to {distance} apart.*voxel"
    ):
        prepare("medseg", tmp_path, source)
    right = prepare("medseg", tmp_path / "right", make_medseg(tmp_path / "right_source"))
    paired = prepare("medseg", tmp_path / "paired", source, config="voxel_by_voxel")
    for one, other in zip(paired.records, right.records, strict=True):
        if "classes" in other:
            np.testing.assert_array_equal(one["classes"], other["classes"])


def test_medseg_labels_may_be_stored_along_other_axes(tmp_path):
    expected = prepare("medseg", tmp_path / "a", make_medseg(tmp_path / "source"))
    source = make_medseg(tmp_path / "other")
    label = nib.load(source / "tr_mask.nii.gz")
    turned = label.as_reoriented([[2, -1], [0, 1], [1, -1]])
    assert turned.shape == (6, 3, 8)
    nib.save(turned, source / "tr_mask.nii.gz")
    found = prepare("medseg", tmp_path / "b", source)
    for one, other in zip(found.records, expected.records, strict=True):
        if "classes" in other:
            np.testing.assert_array_equal(one["classes"], other["classes"])


def test_ictcf_notes_doubtful_disease_texts(tmp_path):
    source = make_ictcf(tmp_path / "source")
    (source / "clinical.csv").write_text(CLINICAL.replace("Hypertension, diabetes", "hypertension, unknown"))
    dataset = prepare("ictcf", tmp_path, source)
    assert dataset.records[0]["underlying"] == 1
    notes = json.loads(next(tmp_path.rglob("notes.json")).read_text())["doubtful diseases"]
    doubt = "'hypertension, unknown' (1x): 1; names diseases and says unknown: the named ones count"
    assert list(notes) == [f"clinical.csv names {doubt}."]


def test_ictcf_joins_folders_and_table(prepared, tmp_path):
    dataset = prepared["ictcf"]
    slices = dataset.slices
    assert slices["slice_id"].tolist() == [
        "patient_1/CT/a2",
        "patient_1/CT/a10",
        "patient_2/b",
        "patient_10/c",
    ]
    first, healthy, unknown = (dataset.records[index] for index in (0, 2, 3))
    assert (first["age"], first["gender"], first["underlying"], first["severity_level"]) == (
        63,
        1,
        2,
        "Severe",
    )
    assert (healthy["underlying"], healthy["severity_level"]) == (0, "Control (Healthy)")
    assert set(unknown) == {"image", "patient_id", "slice_id"}
    prepare("ictcf", tmp_path)
    notes = json.loads((tmp_path / "prepared/ictcf/default/1.0.0/notes.json").read_text())
    assert set(notes["left out"]) == {
        "Patient 77/d.png is of patient patient_77, who has no row in clinical.csv.",
        "clinical.csv has patient 99, of whom there is no image.",
    }


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: save(root / "more/patient_2/b.png", grey()), "has the same name 'patient_2/b'"),
        (
            lambda root: (root / "b.csv").write_text("a"),
            r"exactly one clinical table .*found b\.csv, clinical\.csv",
        ),
        (lambda root: [shutil.rmtree(f) for f in root.glob("Patient*")], "no file that matches the pattern"),
        (
            lambda root: (root / "clinical.csv").write_text(CLINICAL.replace("63", "163")),
            r"row 2 .*age '163'",
        ),
        (
            lambda root: (root / "clinical.csv").write_text(CLINICAL.replace("Patient ", "Case A")),
            "names none of the patients of the 5 images",
        ),
    ],
)
def test_ictcf_refuses(tmp_path, spoil, message):
    source = make_ictcf(tmp_path / "source")
    spoil(source)
    with pytest.raises(ValueError, match=message):
        prepare("ictcf", tmp_path, source)


def test_a_forks_dataset_needs_one_class(tmp_path, monkeypatch):
    (tmp_path / "own_dataset_builder.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = ("own_dataset_builder:Own", "default")
    datasets.prepare(*own, source_dir=None, prepared_dir=tmp_path / "prepared")
    dataset = datasets.load(*own, prepared_dir=tmp_path / "prepared")
    np.testing.assert_array_equal(dataset.records[1]["image"], np.full((3, 4), 1))
    np.testing.assert_array_equal(dataset.records[1]["lesion"], [[0, 0, 1, 1]] * 3)  # derived from the classes


OWN = """
import functools
import numpy as np
import tensorflow_datasets as tfds
from ssinfnet_jax.data.datasets import slice_builder

class Own(slice_builder.SliceBuilder):
    VERSION = tfds.core.Version("1.0.0")
    NEEDS_SOURCE = False
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="default")]

    def list_slices(self, source_dir):
        return [
            slice_builder.Slice(str(k), str(k), "labeled", lambda k=k: {
                "image": np.full((3, 4), k, np.uint8), "classes": np.array([[0, 0, 1, 2]] * 3, np.uint8)})
            for k in range(2)
        ]
"""


def test_builders_are_plain_tfds_builders():
    for name in datasets.BUILDERS:
        cls = datasets.builder_class(name)
        assert issubclass(cls, tfds.core.GeneratorBasedBuilder)
        assert cls.name == name
