import json

import pandas as pd
import pytest

from ssinfnet_jax.report.run import model_card

PROGRAM = {
    "image_size": 64,
    "window_hu": (-1000.0, 200.0),
    "view": "lungs",
    "platforms": ("cpu", "cuda", "tpu"),
    "file": "program.jax_export",
    "sha256": "abc",
    "megabytes": 3.25,
    "networks": {
        "single": {"model": "infnet", "options": {"width": 0.5}, "normalisation": {"mean": 0.45, "std": 0.27},
                   "datasets": ["covid|semiseg/<b>"], "initial": ""},
        "multi": {"model": "multi_ssinfnet", "options": {}, "normalisation": {"mean": 0.45, "std": 0.27},
                  "datasets": ["covid|semiseg/<b>"], "initial": "weights/x", "weights": "best"},
    },
}  # fmt: skip
GIVEN = {"provenance": {"commit": "c0ffee", "versions": {"jax": "0.10.2"}}}


@pytest.fixture
def workdir(tmp_path):
    """A run with splits, metrics and finished trainings."""
    for stage in ("prepare", "pretrain_single", "train_single", "train_multi", "evaluate"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "done.json").write_text(json.dumps({"skipped": None, "commit": "feed"}))
    (tmp_path / "config.json").write_text(json.dumps({"name": "my run"}))
    slices = {"slice_id": ["a", "b", "c"], "patient_id": ["1", "1", "2"], "split": ["train", "train", "test"]}
    pd.DataFrame(slices).to_csv(tmp_path / "prepare/slices.csv", index=False)
    for network, kind in (("single", "lesion"), ("multi", "ggo")):
        row = {"class": kind, "metric": "dice", "mean": 0.7123, "error": 0.0432, "n": 47, "excluded": 1}
        pd.DataFrame([row, row | {"metric": "auc"}]).to_csv(tmp_path / f"evaluate/{network}_summary.csv", index=False)
    return tmp_path


def test_card_of_a_run(workdir, tmp_path):
    text = model_card.write(tmp_path / "card.md", PROGRAM, workdir=workdir, **GIVEN).read_text()
    assert "# Model card: my run" in text
    assert "not for diagnosis" in text
    assert "uint8[B, 64, 64]" in text
    assert "grey = round(255 (HU - (-1000)) / 1200)" in text
    assert "the window [-1000, 200] HU" in text
    assert "**View** `lungs`: the training slices were cropped to the lungs." in text
    assert "Dice 0.81 in this view and 0.65 in whole slices" in text
    assert (
        "single network finds a lesion where its probability is above 0.5; the multi network assigns the likeliest"
        in text
    )
    assert "0 background, 1 GGO, 2 consolidation" in text
    assert "| single | Lesion | 0.712 ± 0.043 (47) | 0.712 ± 0.043 (47) |" in text
    assert "| multi | GGO |" in text
    assert "| train | 1 | 2 |\n" in text
    assert '| single | `infnet` | {"width": 0.5} | pretrained in this run (inpainting) | last |' in text
    assert "| weights/x | best |" in text
    assert "covid\\|semiseg/\\<b\\>" in text
    assert "Trained by commit feed; exported by commit c0ffee with jax 0.10.2." in text
    assert "Apache-2.0" in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:  # every row has as many cells as the head
        rows = [row.replace("\\|", "").count("|") for row in table.strip().split("\n")]
        assert len(set(rows)) == 1


def test_card_says_whether_probabilities_are_calibrated(tmp_path):
    said = "scaled by temperatures set on held-out slices"
    plain = model_card.write(tmp_path / "plain.md", PROGRAM, **GIVEN).read_text()
    assert "(they are not calibrated)" in plain
    assert said not in plain
    networks = {which: network | {"temperature": 1.5} for which, network in PROGRAM["networks"].items()}
    tempered = model_card.write(tmp_path / "t.md", PROGRAM | {"networks": networks}, **GIVEN).read_text()
    assert "not calibrated" not in tempered
    assert said in tempered


def test_card_of_model_folders_says_what_is_not_known(tmp_path):
    single = PROGRAM | {"view": "frame", "networks": {"single": PROGRAM["networks"]["single"]}}
    text = model_card.write(tmp_path / "card.md", single, **GIVEN).read_text()
    assert "# Model card: infnet" in text
    assert "0 background, 1 lesion" in text
    assert "consolidation" not in text.split("## Networks")[0]
    assert "**View** `frame`: the training slices show the whole field of view." in text
    assert "Dice" not in text
    assert "Not evaluated" in text
    assert "the slices and patients are not known" in text
    assert "Exported by commit c0ffee" in text


def test_card_names_the_decision_of_the_networks(workdir, tmp_path):
    multi = PROGRAM["networks"]["multi"] | {"decision": {"rule": "joint"}}
    program = PROGRAM | {"networks": PROGRAM["networks"] | {"multi": multi}}
    text = model_card.write(tmp_path / "card.md", program, workdir=workdir, **GIVEN).read_text()
    assert text.count("the joint decision of both networks") == 2
    assert "the likeliest" not in text
