"""The page's texts on phenotypes, from tables that the analysis wrote."""

import json

import numpy as np
import pytest

from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.report.run import phenotype_tables, run_files
from ssinfnet_jax.report.run.sections import patients

CLASSES = dict.fromkeys(("firstorder", "glcm", "glrlm", "glszm", "shape2D"), ())


def measured(how, **changes):
    """Two patients of two slices with GGO, and no consolidation."""
    random = np.random.default_rng(0)
    classes = np.zeros((32, 32), np.uint8)
    classes[8:20, 6:24] = 1
    items = [
        (f"s{number}", f"p{number // 2}", (random.integers(0, 256, (32, 32), np.uint8), classes)) for number in range(4)
    ]
    work = phenotypes.Work(num_workers=0, progress=False)
    return phenotypes.measure(items, settings=phenotypes.make("eight_bit", changes), how=how, work=work)


def texts(table):
    return [column.title for column in table.columns], [[cell.text for cell in row] for row in table.rows]


def test_every_class_and_filter_is_counted():
    tables = measured("slice_mean", classes=CLASSES, filters={"Square": {}})
    heads, rows = texts(phenotype_tables.counts(tables.patients))
    assert heads == ["Region", "Filter", "First order", "GLCM", "GLRLM", "GLSZM", "Shape", "All", "Missing values"]
    # PyRadiomics' documentation: 18 (19 less the deprecated), 24, 16, 16 features, 9 of shape2D with the area.
    numbers = [("none", "18", "24", "16", "16", "9", "83"), ("square", "18", "24", "16", "16", "0", "74")]
    expected = [[region, *row] for region in ("GGO", "Consolidation", "Lesion") for row in numbers]
    assert [row[:-1] for row in rows] == expected
    assert sum(int(row[-2]) for row in rows) == sum(column.count("_") > 1 for column in tables.patients) - 3
    # Of an absent region only the area is known.
    assert [row[-1] for row in rows] == ["0.0 %", "0.0 %", f"{100 * 82 / 83:.1f} %", "100.0 %", "0.0 %", "0.0 %"]


def test_without_filters_there_is_no_column_of_them():
    tables = measured("slice_mean")
    heads, rows = texts(phenotype_tables.counts(tables.patients))
    assert heads == ["Region", "First order", "GLCM", "GLDM", "NGTDM", "Shape", "All", "Missing values"]
    assert [row[0] for row in rows] == ["GGO", "Consolidation", "Lesion"]
    assert rows[0][1:-1] == ["18", "24", "14", "5", "1", "62"]
    assert phenotype_tables.counts(tables.patients[["patient_id", "num_slices", "ggo_num_slices"]]) is None


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("slice_mean", "Phenotypes of a patient: the mean over the patient's slices."),
        ("area_weighted", "weighted by the region's area (shape: the plain mean)"),
        ("merged", "measured in all slices of the patient as one region"),
    ],
)
def test_the_page_says_how_patients_were_made_of_slices(tmp_path, how, said):
    (tmp_path / "config.json").write_text(json.dumps({}))
    folder = tmp_path / "phenotypes"
    folder.mkdir()
    measured(how).write(folder)
    section = patients.build_phenotypes(run_files.read(tmp_path))
    (text,) = [block.content for block in section.blocks if block.kind == "text"]
    assert text.startswith("2 patients, 4 slices. Phenotypes of a patient: ")
    assert said in text
    (folder / "about.json").unlink()
    section = patients.build_phenotypes(run_files.read(tmp_path))
    assert [block.content for block in section.blocks if block.kind == "text"] == ["2 patients, 4 slices."]
