"""The program that checks data before training."""

import pandas as pd
import yaml

from tests import programs
from tests.data.folder import layouts

FLAGS = ("--images=images/{id}.nii.gz", "--masks=masks/{id}_seg.nii.gz", "--labels=1:ggo,2:consolidation")


def test_a_folder_described_by_flags_is_checked_and_its_description_saved(tmp_path):
    root, out = layouts.nifti_pairs(tmp_path / "data", layouts.patients()), tmp_path / "out"
    (root / "dataset.yaml").unlink()
    found = programs.run("launch.check_data", f"--data_dir={root}", f"--out={out}", *FLAGS, "--save")
    assert found.returncode == 0, found.stderr
    assert "labeled       2         2       6" in found.stdout
    assert yaml.safe_load((root / "dataset.yaml").read_text()) == {
        "images": "images/{id}.nii.gz", "masks": "masks/{id}_seg.nii.gz", "labels": {1: "ggo", 2: "consolidation"}
    }  # fmt: skip
    assert pd.read_csv(out / "images.csv")["name"].tolist() == ["p7", "p11"]
    page = (out / "check.html").read_text()
    assert "masks/p11_<wbr>seg.nii.gz" in page
    assert "figure-contact_sheet" in page
    assert (out / "figures/contact_sheet.png").stat().st_size > 10_000


def test_errors_name_files_and_end_with_code_1(tmp_path):
    root = layouts.nifti_pairs(tmp_path / "data", layouts.patients())
    (root / "images/p7.nii.gz").write_bytes(b"broken")
    found = programs.run("launch.check_data", f"--data_dir={root}", f"--out={tmp_path / 'out'}")
    assert found.returncode == 1
    assert "ERROR (cannot be read): " in found.stdout
    assert found.stderr.strip().splitlines()[-1] == "1 errors; fix them and check again."
    findings = pd.read_csv(tmp_path / "out/findings.csv")
    assert findings.loc[findings["level"] == "error", "path"].tolist() == [str(root / "images/p7.nii.gz")]
    assert "p11" in (tmp_path / "out/check.html").read_text()


def test_mistakes_in_flags_are_one_line(tmp_path):
    root = layouts.nifti_pairs(tmp_path, layouts.patients((7, 11)))
    for flags, reason in (
        (["--data_dir=/nowhere"], "--data_dir=/nowhere does not exist"),
        ([f"--data_dir={root}", f"--out={root}/out"], "is inside the data"),
        ([f"--data_dir={root}", "--labels=1:ggo"], "go with --images"),
        ([f"--data_dir={root}", *FLAGS[:2], "--labels=ggo"], "'ggo' is not VALUE:MEANING, such as 1:ggo"),
        ([f"--data_dir={root}", *FLAGS, "--save"], "dataset.yaml already exists"),
        ([f"--data_dir={root}", "--dataset=covid"], "Unknown --dataset=covid; choose one of folder, covid_19_20"),
        ([f"--data_dir={root}", "--dataset=medseg", *FLAGS], "'medseg' has a description; leave out --images"),
    ):
        found = programs.run("launch.check_data", *flags)
        assert found.returncode == 1
        assert found.stderr.strip().splitlines()[-1].startswith("Error: ")
        assert reason in found.stderr, (flags, found.stderr)
