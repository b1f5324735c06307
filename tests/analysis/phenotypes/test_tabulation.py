import dataclasses
import functools
import importlib
import json
import os
import pathlib
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.analysis.phenotypes import extraction, tabulation


@pytest.fixture
def loaders(monkeypatch):
    """The loaders' module under a name that worker processes can import, too."""
    folder = str(pathlib.Path(__file__).parent)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, *sys.path]))
    return importlib.import_module("loaders")


def table(items, **options):
    return phenotypes.table(items, num_workers=options.pop("num_workers", 0), progress=False, **options)


def test_rows_are_the_extracted_slices(loaders):
    items = [(f"s{i}", f"p{i // 2}", loaders.arrays(i)) for i in range(3)]
    found = table(iter(items))
    assert found["slice_id"].tolist() == ["s0", "s1", "s2"]
    assert found["patient_id"].tolist() == ["p0", "p0", "p1"]
    assert (found["error"] == "").all()
    expected = phenotypes.extract(*loaders.arrays(1))
    assert found.loc[1, list(expected)].to_dict() == expected


def test_a_bad_slice_is_a_row_with_its_error(loaders):
    image, classes = loaders.arrays(0)
    items = [
        ("good", "p", (image, classes, (0.5, 0.5))),
        ("unreadable", "p", functools.partial(loaders.broken, "x.png")),
        ("misfit", "p", (image, classes[1:])),
    ]
    found = table(items).set_index("slice_id")
    assert found.loc["unreadable", "error"] == "OSError: cannot read x.png"
    assert found.loc["misfit", "error"].startswith("ValueError: image and classes must be [H, W] of one shape")
    assert found.loc["good", "ggo_shape2D_PixelSurface"] == 120 * 0.25
    assert found.loc[["unreadable", "misfit"], phenotypes.names()].isna().all(axis=None)


def test_a_second_run_computes_only_what_is_missing(loaders, tmp_path):
    calls, parts = tmp_path / "calls", tmp_path / "parts"
    calls.mkdir()

    def items(seeds):
        return [(f"s{i}", "p", functools.partial(loaders.counted, i, str(calls))) for i in seeds]

    def called():
        return sorted(int(path.name.split("-")[0]) for path in calls.iterdir())

    first = table([*items([0, 1]), ("bad", "p", functools.partial(loaders.broken, "x"))], parts_dir=parts)
    assert called() == [0, 1]
    second = table(
        [*items([2, 1, 0]), ("bad", "p", functools.partial(loaders.counted, 9, str(calls)))], parts_dir=parts
    )
    assert called() == [0, 1, 2, 9]  # the failed slice is computed again
    assert second["slice_id"].tolist() == ["s2", "s1", "s0", "bad"]
    pd.testing.assert_series_equal(second.iloc[2], first.iloc[0], check_names=False)
    pd.testing.assert_frame_equal(second, table(items([2, 1, 0]) + items([9])).assign(slice_id=second["slice_id"]))
    stored = json.loads((parts / "settings.json").read_text())
    assert stored["settings"]["bin_width"] == 2
    assert stored["versions"]["pyradiomics"] == "3.0.1"


def test_an_interrupted_run_keeps_what_it_has(loaders, tmp_path):
    def stopping():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table(
            [("s0", "p", loaders.arrays(0)), ("s1", "p", loaders.arrays(1)), ("s2", "p", stopping)], parts_dir=tmp_path
        )
    stored = pd.concat(pd.read_parquet(path) for path in sorted(tmp_path.glob("part-*.parquet")))
    assert stored["slice_id"].tolist() == ["s0", "s1"]
    assert not list(tmp_path.glob(".*"))


def test_other_settings_do_not_mix(loaders, tmp_path):
    items = [("s0", "p", loaders.arrays(0))]
    table(items, parts_dir=tmp_path, provenance={"checkpoint": "a"})
    wider = dataclasses.replace(phenotypes.EIGHT_BIT, bin_width=4.0)
    with pytest.raises(
        ValueError, match=r"made differently \(settings.bin_width: 2.0 there, 4.0 now\); choose another"
    ):
        table(items, parts_dir=tmp_path, provenance={"checkpoint": "a"}, settings=wider)
    with pytest.raises(ValueError, match=r"provenance.checkpoint: 'a' there, 'b' now"):
        table(items, parts_dir=tmp_path, provenance={"checkpoint": "b"})
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ValueError, match=r"has parts but no settings.json"):
        table(items, parts_dir=tmp_path)


def test_repeated_slice_ids_are_an_error(loaders):
    with pytest.raises(ValueError, match="slice_id 's0' occurs twice"):
        table([("s0", "p", loaders.arrays(0)), ("s0", "q", loaders.arrays(1))])
    with pytest.raises(ValueError, match="num_workers must be >= 0, got -1"):
        table([], num_workers=-1)


@pytest.mark.long
def test_processes_give_the_same_and_survive_a_crash(loaders, tmp_path):
    items = [(f"s{i}", "p", functools.partial(loaders.arrays, i)) for i in range(10)]
    items.insert(4, ("crash", "p", loaders.deadly))
    found = table(items, num_workers=1, parts_dir=tmp_path).set_index("slice_id")
    assert found.loc["crash", "error"] == "the worker process died twice (killed, or crashed in native code)"
    here = table(items[:4] + items[5:]).set_index("slice_id")
    pd.testing.assert_frame_equal(found.drop(index="crash"), here)


def test_grey_level_bins_out_of_range_are_counted_once(loaders):
    image, classes = loaders.arrays(0)
    items = [("fine", "p", (image, classes)), ("dull", "p", (image // 10, classes))]
    with pytest.warns(UserWarning, match=r"bins outside 16-200 \(ggo: 1 below and 0 above, of 2;") as caught:
        found = table(items)
    assert len(caught) == 1
    assert found.attrs["num_bins_outside"]["lesion"] == {"below": 1, "above": 0, "regions": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table(items[:1])


def test_a_slice_of_another_version_is_computed_again(loaders, tmp_path):
    def items(*versions):
        return [(f"s{i}", "p", loaders.arrays(seed), version) for i, (seed, version) in enumerate(versions)]

    first = table(items((0, "a"), (1, "a")), parts_dir=tmp_path)
    second = table(items((0, "a"), (2, "b")), parts_dir=tmp_path)
    third = table(items((5, "a"), (5, "b")), parts_dir=tmp_path)  # declared to be the same, so not read
    expected = phenotypes.extract(*loaders.arrays(2))
    assert (
        second.loc[1, "ggo_firstorder_Mean"] == expected["ggo_firstorder_Mean"] != first.loc[1, "ggo_firstorder_Mean"]
    )
    pd.testing.assert_frame_equal(third, second)


def test_another_pyradiomics_in_a_worker_is_told(loaders, monkeypatch):
    items = [("s0", "p", loaders.arrays(0))]
    monkeypatch.setattr(tabulation, "versions", lambda: {"pyradiomics": "2.0"})
    error = table(items).loc[0, "error"]
    assert error.startswith("RuntimeError: the worker has {'pyradiomics': '3.0.1'}, the program {'pyradiomics': '2.0'}")


def cohort(loaders, **changed):
    """Two patients of two slices, one without any lesion, one that cannot be read."""
    image, classes = loaders.arrays(3)
    items = {
        "s0": ("s0", "p", loaders.arrays(0)),
        "s1": ("s1", "p", loaders.arrays(1)),
        "s2": ("s2", "q", (image, 0 * classes)),
        "s3": ("s3", "q", functools.partial(loaders.broken, "x")),
    }
    return list({**items, **changed}.values())


def test_merged_by_patient(loaders, tmp_path):
    slices = table(cohort(loaders))
    merged = phenotypes.merged_table(cohort(loaders), slices, parts_dir=tmp_path, num_workers=0, progress=False)
    assert merged["patient_id"].tolist() == ["p", "q"]
    expected = phenotypes.extract_merged([(*loaders.arrays(seed), (1.0, 1.0)) for seed in (0, 1)])
    assert merged.loc[0, list(expected)].to_dict() == expected
    assert merged.loc[1, "lesion_reason"] == "empty"
    found = phenotypes.by_patient(slices, "merged", merged=merged).set_index("patient_id")
    plain = phenotypes.by_patient(slices).set_index("patient_id")
    assert list(found.columns) == list(plain.columns)
    same = [name for name in plain if "shape2D" in name or "num_" in name]
    pd.testing.assert_frame_equal(found[same], plain[same])
    assert found.loc["p", "ggo_glcm_Contrast"] == expected["ggo_glcm_Contrast"] != plain.loc["p", "ggo_glcm_Contrast"]
    assert found.loc["q", "lesion_shape2D_PixelSurface"] == 0
    assert found.loc["q", "num_failed"] == 1


def test_a_patient_with_another_slice_is_merged_again(loaders, tmp_path):
    def merge(items):
        return phenotypes.merged_table(items, table(items), parts_dir=tmp_path, num_workers=0, progress=False)

    first = merge(cohort(loaders))
    second = merge(cohort(loaders, s4=("s4", "q", loaders.arrays(4))))
    pd.testing.assert_series_equal(first.loc[0], second.loc[0])
    assert second.loc[1, "lesion_reason"] == ""


def test_measured_cohort_in_files(loaders, tmp_path):
    work = phenotypes.Work(parts_dir=tmp_path / "parts", num_workers=0, progress=False, provenance={"data": "toy"})
    tables = phenotypes.measure(cohort(loaders), how="merged", work=work)
    tables.write(tmp_path)
    for name, expected in (("slices", tables.slices), ("patients", tables.patients)):
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), expected)
        from_csv = pd.read_csv(tmp_path / f"{name}.csv")
        numbers = expected.select_dtypes("number").columns
        pd.testing.assert_frame_equal(from_csv[numbers], expected[numbers], check_dtype=False)
    about = json.loads((tmp_path / "about.json").read_text())
    assert about["settings"]["bin_width"] == 2
    assert (about["aggregation"], about["provenance"]) == ("merged", {"data": "toy"})
    assert about["versions"]["pyradiomics"] == "3.0.1"
    summary = tables.summary().set_index("region")
    assert summary.loc["ggo", ["slices", "with region", "measured", "not measured"]].tolist() == [4, 2, 2, "1 empty"]
    broken = [("s3", "q", functools.partial(loaders.broken, "x"))]
    with pytest.raises(ValueError, match="All 1 slices failed; the first: s3 OSError: cannot read x"):
        phenotypes.measure(broken, work=phenotypes.Work(num_workers=0, progress=False))


def test_a_cohort_of_which_nothing_could_be_measured_is_an_error(loaders, monkeypatch, caplog):
    work = phenotypes.Work(num_workers=0, progress=False)
    compute = extraction._compute
    failing = {"regions": 0}

    def fails(image, inside, *arguments):
        failing["regions"] -= 1
        if failing["regions"] >= 0:
            raise TypeError("len() of unsized object")
        return compute(image, inside, *arguments)

    monkeypatch.setattr(extraction, "_compute", fails)
    items = [("s0", "p", loaders.arrays(0)), ("s1", "p", loaders.arrays(1))]
    failing["regions"] = 5
    phenotypes.measure(items, work=work)
    assert "5 regions of the image failed; the first: TypeError: len() of unsized object" in caplog.text
    failing["regions"] = 6
    message = "No region of the image could be measured; 6 failed in PyRadiomics, the first with 'TypeError: len"
    with pytest.raises(ValueError, match=message):
        phenotypes.measure(items, work=work)
    failing["regions"] = 0
    monkeypatch.setattr(
        extraction, "_compute", lambda image, *rest: compute(image if image.min() >= 0 else None, *rest)
    )
    changes = {"classes": {"firstorder": ["Mean"]}, "filters": {"Gradient": {}, "LoG": {"sigma": [1.0]}}}
    with pytest.raises(ValueError, match="No region of the filtered image 'log-sigma-1-0-mm' could be measured; 6"):
        phenotypes.measure(items, settings=phenotypes.make("eight_bit", changes), work=work)
    nothing = [("s0", "p", (loaders.arrays(0)[0], np.zeros((24, 24), np.uint8)))]
    assert (phenotypes.measure(nothing, work=work).slices["lesion_reason"] == "empty").all()


def test_empty_cohort():
    found = table([])
    assert len(found) == 0
    assert set(phenotypes.names()) < set(found.columns)


def slices():
    """Two patients; GGO means and areas chosen by hand."""
    found = pd.DataFrame(np.nan, index=range(5), columns=phenotypes.names())
    found.insert(0, "patient_id", ["b", "b", "b", "a", "a"])
    found.insert(1, "error", ["", "", "", "", "OSError: gone"])
    found["ggo_firstorder_Mean"] = [10.0, 40.0, np.nan, np.nan, np.nan]
    found["ggo_shape2D_PixelSurface"] = [30.0, 10.0, 0.0, 0.0, np.nan]
    return found


def test_by_patient_means_know_missing_slices():
    found = phenotypes.by_patient(slices()).set_index("patient_id")
    assert list(found.index) == ["a", "b"]
    assert found.loc["b", "ggo_firstorder_Mean"] == 25
    assert found.loc["b", "ggo_shape2D_PixelSurface"] == pytest.approx(40 / 3)
    assert found["num_slices"].tolist() == [2, 3]
    assert found["num_failed"].tolist() == [1, 0]
    assert found["ggo_num_slices"].tolist() == [0, 2]
    assert np.isnan(found.loc["a", "ggo_firstorder_Mean"])
    assert found.loc["a", "ggo_shape2D_PixelSurface"] == 0


def test_by_patient_weighted_by_area_and_without_empty_slices():
    found = phenotypes.by_patient(slices(), "area_weighted", empty_area="missing").set_index("patient_id")
    assert found.loc["b", "ggo_firstorder_Mean"] == pytest.approx((10 * 30 + 40 * 10) / 40)
    assert found.loc["b", "ggo_shape2D_PixelSurface"] == 20
    assert np.isnan(found.loc["a", "ggo_firstorder_Mean"])
    assert np.isnan(found.loc["a", "ggo_shape2D_PixelSurface"])


def test_by_patient_errors():
    with pytest.raises(ValueError, match="Unknown how 'median'; choose one of slice_mean, area_weighted, merged"):
        phenotypes.by_patient(slices(), "median")
    with pytest.raises(ValueError, match="Unknown empty_area 'nan'; choose one of zero, missing"):
        phenotypes.by_patient(slices(), empty_area="nan")
    with pytest.raises(ValueError, match="how='merged' needs a row for every patient of slices"):
        phenotypes.by_patient(slices(), "merged")
    with pytest.raises(ValueError, match="Every slice needs a patient_id"):
        phenotypes.by_patient(slices().drop(columns="patient_id"))
    with pytest.raises(ValueError, match="No phenotypes in the table"):
        phenotypes.by_patient(slices()[["patient_id"]])
