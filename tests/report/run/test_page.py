import base64
import html
import json
import re

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax import rundir
from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation import Options
from ssinfnet_jax.report.kit import tables
from ssinfnet_jax.report.run import page

HOSTILE = "<script>alert('x')</script>&$_{1}$"
SECTIONS = [
    "how",
    "data",
    "pretraining",
    "training",
    "evaluation",
    "examples",
    "cohort",
    "phenotypes",
    "mediation",
]
METRICS = ("dice", "iou", "recall", "precision", "auc")


def thorax(size=48, num=6):
    """Dark lungs in a grey body, one with a bright lesion: image uint8, truth {0, 1, 2}."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    body = (x / 0.48) ** 2 + (y / 0.4) ** 2 < 1
    lungs = ((np.abs(x) - 0.2) / 0.15) ** 2 + (y / 0.28) ** 2 < 1
    image = np.where(lungs, 40, np.where(body, 150, 0))
    images, truths = [], []
    for index in range(num):
        truth = np.where((x + 0.2) ** 2 + (y - 0.02 * index) ** 2 < 0.008 * (index + 1) / num, 1, 0)
        truth = np.where((x + 0.2) ** 2 + (y - 0.02 * index) ** 2 < 0.003 * index / num, 2, truth)
        images.append(np.where(truth == 2, 190, np.where(truth == 1, 110, image)))
        truths.append(truth)
    return np.stack(images).astype(np.uint8), np.stack(truths).astype(np.uint8)


def write_done(workdir, stage, skipped=None, commit="0123456789abcdef"):
    (workdir / stage).mkdir(parents=True, exist_ok=True)
    marker = {"stage": stage, "seconds": 83.4, "finished": "2026-01-02T03:04:05", "skipped": skipped}
    marker |= {"versions": {"jax": "0.10.2", "numpy": "2.4.6"}, "commit": commit}
    (workdir / stage / "done.json").write_text(json.dumps(marker))


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def fill(workdir, image, truth):
    """A run folder with every file of every stage."""
    random = np.random.default_rng(0)
    config = {"name": "demo", "seed": 1, "data": {"datasets": [["ct_phantom", "small"]], "note": "<b>&"}}
    (workdir / "config.json").write_text(json.dumps(config))
    for stage in rundir.STAGES:
        write_done(workdir, stage)
    num = len(image)
    ids = [HOSTILE, *(f"p{i:02d}_{i}" for i in range(1, num))]

    names = np.repeat(["train", "val", "test", "pretrain", "cohort"], [6, 2, 4, 8, 12])
    levels = ["Control (Healthy)", "Mild", "Regular", "Severe"]
    slices = pd.DataFrame({"slice_id": [f"s{i:02d}" for i in range(32)], "split": names, "part": "labeled"})
    slices["patient_id"] = [f"{i // 2:03d}" for i in range(32)]
    slices["has_lesion"] = slices["has_classes"] = slices["split"].isin(["train", "val", "test"])
    slices["age"] = [20 + 2 * (i // 2) if i > 3 else np.nan for i in range(32)]
    slices["gender"] = [i // 2 % 2 for i in range(32)]
    slices["severity_level"] = [levels[i // 2 % 4] for i in range(32)]
    slices.to_csv(workdir / "prepare/slices.csv", index=False)

    for network in ("single", "multi"):
        rows, step = [], 0
        for phase, count in (("inpaint_random", 60), ("coach", 60), ("inpaint_coach", 30), ("coach", 30)):
            for _ in range(count):
                step += 10
                value = 0.3 * np.exp(-step / 600) + 0.05 + 0.01 * random.random()
                row = {
                    "step": step,
                    "epoch": step / 10,
                    "phase": phase,
                    "reconstruction": value,
                    "loss": value,
                }
                if phase == "coach":
                    row["loss"] = 1 - value
                if network == "single":
                    row |= {"erased_fraction": 0.25, "learning_rate": 0.1}
                rows.append(row)
        write_rows(workdir / f"pretrain_{network}/metrics.jsonl", [*rows, {"step": step, "phase": "coach", "new": 1}])
        unit = image / np.float32(255)
        keep = np.ones_like(unit)
        size = image.shape[1] // 4
        for index in range(num):
            top, left = random.integers(0, image.shape[1] - size), random.integers(0, image.shape[2] - size)
            keep[index, top : top + size, left : left + size] = 0
        painted = np.where(keep == 0, unit.mean(), unit) + 0.01 * random.standard_normal(unit.shape)
        phases = [("inpaint_random", "coach", "inpaint_coach")[i * 3 // num] for i in range(num)]
        arrays = {
            "image": unit,
            "keep": keep,
            "inpainting": painted.clip(0, 1).astype(np.float32),
            "phase": phases,
        }
        np.savez(workdir / f"pretrain_{network}/examples.npz", **arrays)

        rows = []
        for step in range(5, 1001, 5):
            value = 2 * np.exp(-step / 300) + 0.4 + 0.1 * random.random()
            terms = {"global_map": value / 3, "map_2": value / 4, "edge": value / 10, "seconds": 0.3}
            rows.append({"step": step, "epoch": step / 20, "phase": "train", "loss": value, **terms})
            rows[-1]["learning_rate"] = 1e-4
            if step % 100 == 0:
                scores = {"dice_lesion": 0.8 - 0.6 * np.exp(-step / 250), "val_loss": value + 0.2}
                if network == "multi":
                    scores |= {"dice_ggo": scores.pop("dice_lesion") - 0.1, "dice_consolidation": 0.3}
                rows.append({"step": step, "epoch": step / 20, "phase": "val", **scores})
        write_rows(workdir / f"train_{network}/metrics.jsonl", rows)

        kinds = ["lesion"] if network == "single" else ["background", "ggo", "consolidation"]
        table = [
            {"slice_id": name, "patient_id": f"00{i}", "class": kind} | {m: random.uniform(0.3, 1) for m in METRICS}
            for kind in kinds
            for i, name in enumerate(ids)
        ]
        table[-1]["dice"] = np.nan
        pd.DataFrame(table).to_csv(workdir / f"evaluate/{network}_slices.csv", index=False)
        summary = [
            {"class": kind, "metric": m, "mean": 0.7123, "error": 0.0432, "n": num - 1, "excluded": 1}
            for kind in kinds + (["overall"] if network == "multi" else [])
            for m in METRICS
        ]
        pd.DataFrame(summary).to_csv(workdir / f"evaluate/{network}_summary.csv", index=False)
        rate = np.linspace(0, 1, 30)
        curves = [pd.DataFrame({"class": k, "fpr": rate, "tpr": rate**0.2, "threshold": 1 - rate}) for k in kinds]
        pd.concat(curves).to_csv(workdir / f"evaluate/{network}_roc.csv", index=False)

    pred = np.stack([np.roll(t, i, axis=1) for i, t in enumerate(truth)])
    prob = np.where(pred > 0, 0.9, 0.1).astype(np.float32)
    both = ((pred > 0) & (truth > 0)).sum((1, 2))
    dice = 2 * both / ((pred > 0).sum((1, 2)) + (truth > 0).sum((1, 2)))
    arrays = {
        "image": image,
        "truth": truth,
        "lesion_prob": prob,
        "pred": pred,
        "slice_id": ids,
        "dice": dice,
    }
    np.savez(workdir / "evaluate/examples.npz", **arrays)

    patients = [f"{i:03d}" for i in range(100)]
    age, diseases = random.normal(50, 15, 100).round(), random.poisson(1, 100)
    entropy = 0.05 * age + random.standard_normal(100)
    values = pd.DataFrame({"patient_id": patients, "ggo_firstorder_Entropy": entropy})
    values["ggo_glcm_JointEntropy"] = 2 * entropy + 0.1 * random.standard_normal(100)
    values["ggo_firstorder_Kurtosis"] = diseases + random.standard_normal(100)
    values["lesion_shape2D_PixelSurface"] = random.gamma(2, 400, 100)
    values.to_csv(workdir / "phenotypes/patients.csv", index=False)
    values.loc[values.index.repeat(3)].to_csv(workdir / "phenotypes/slices.csv", index=False)
    area = random.gamma(2, 400, 300).round()
    cohort = {"slice_id": [f"s{i}" for i in range(300)], "patient_id": np.repeat(patients, 3), "ggo_px": area}
    cohort |= {"mask": [f"s{i}.png" for i in range(300)]}
    cohort |= {"consolidation_px": (area * (area > 900) * 0.3).round(), "lesion_fraction": area / 20000}
    pd.DataFrame(cohort).to_csv(workdir / "segment_cohort/summary.csv", index=False)
    kept = {"image": image, "pred": truth, "slice_id": ids, "patient_id": ["007"] * (num - 2) + [HOSTILE] * 2}
    np.savez(workdir / "segment_cohort/examples.npz", **kept)

    features = list(values)[1:]
    latent = entropy + values["ggo_firstorder_Kurtosis"] + 0.5 * random.standard_normal(100)
    table = values.assign(age=age, underlying=diseases, severity=(latent > latent.median()).astype(int))
    table["ggo_firstorder_Energy"] = 1.0  # cannot be fitted: flagged
    table.to_csv(workdir / "mediate/table.csv", index=False)
    chosen = [*features, "ggo_firstorder_Energy"]
    analysis = mediation.analyse(table, Options(exposures=["age", "underlying"], mediators=chosen))
    analysis.write(workdir / "mediate")
    (workdir / "mediate/multiple_fit.json").write_text(json.dumps(analysis.multiple.fit))
    known = [("age", features[0], "mediator", True), ("age", features[3], "null", True)]
    known = pd.DataFrame(known, columns=["exposure", "mediator", "expected", "found"])
    known.to_csv(workdir / "mediate/truth.csv", index=False)
    return analysis


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Page of the full run folder, and its mediation analysis."""
    workdir = tmp_path_factory.mktemp("full")
    analysis = fill(workdir, *thorax())
    return page.write(workdir), analysis


@pytest.fixture
def full(run):
    return run[0]


def visible(path):
    """Text of the page without styles, scripts and pictures."""
    text = re.sub(r"(?s)<(style|script)>.*?</\1>", "", path.read_text())
    return re.sub(r'src="data:[^"]*"', "", text)


def test_every_section_is_there_in_order(full):
    anchors = re.findall(r'<section id="(\w+)"', full.read_text())
    assert anchors == [*SECTIONS, "limits"]
    assert "not run" not in visible(full)


def test_headline_holds_the_main_results(run):
    path, analysis = run
    strip = visible(path).split('<ul class="strip">')[1].split("</ul>")[0]
    assert strip.count("0.712 ± 0.043") == 2
    assert "n = 5 slices" in strip
    found = analysis.univariate[analysis.univariate["is_mediator"]]
    assert f"<b>{found['mediator'].nunique()}</b><small>{len(found)} pairs of 10 tested</small>" in strip
    assert "<b>1 / 2</b>" in strip  # the second pair is null, but was found


def test_page_needs_nothing_else(full):
    text = full.read_text()
    assert "://" not in text
    assert not re.findall(r'<(?:link|iframe|script [^>]*src)|@import|url\(|(?:src|href)="(?!data:|#)', text)
    assert len(text) < 15e6


def test_images_are_embedded_and_saved(full):
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', full.read_text())
    saved = {path.stem for path in (full.parent / "figures").glob("*.png")}
    assert len(pictures) == len(saved)
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    wanted = {
        "training_curves_single",
        "inpainting_strips_multi",
        "overlays",
        "contact_sheet",
        "roc",
        "dice_per_slice",
    }
    assert wanted <= saved
    assert saved == {path.stem for path in (full.parent / "figures").glob("*.svg")}


def test_hostile_names_are_escaped(full):
    text = full.read_text()
    assert HOSTILE not in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in text
    assert "&lt;b&gt;&amp;" in text  # from the config


def test_viewers_of_test_slices_and_patients(full):
    text = full.read_text()
    parts = dict(
        re.findall(r'<div class="viewer" id="([\w-]+)"[^>]*>\s*<script type="application/json">(.*?)</script>', text)
    )
    assert list(parts) == ["test-slices", "patient-0", "patient-1"]
    slices = {name: json.loads(part) for name, part in parts.items()}
    assert [len(part["images"]) for part in slices.values()] == [6, 4, 2]
    dice = [float(re.search(r"· lesion Dice ([\d.]+)$", label)[1]) for label in slices["test-slices"]["labels"]]
    assert dice == sorted(dice, reverse=True)
    assert any(slices["test-slices"]["truth"])
    assert not any(slices["patient-0"]["truth"])
    assert slices["patient-0"]["labels"][0] == HOSTILE
    assert text.index('id="examples"') < text.index('id="test-slices"') < text.index('id="patient-1"')


def test_captions_say_what_is_scored(full):
    text = visible(full)
    single, multi = text.split('id="evaluation"')[1].split('id="examples"')[0].split("<h3>Multi network")
    assert "Metrics per slice at a threshold of 0.5: mean" in single
    assert "Metrics per slice by the likeliest class: mean" in multi
    assert "threshold of 0.5: mean" not in multi
    assert "highest lesion Dice of the single network first." in text


def test_correlations_say_how_many_patients_they_are_of(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.standard_normal((180, 4)), columns=["age", "a", "b", "c"])
    table[["a", "b", "c"]] += table[["age"]].to_numpy()
    table["severity"] = table[["a", "b", "c"]].sum(axis=1) + random.standard_normal(180)
    table.loc[:9, "a"] = table.loc[10:14, "b"] = np.nan
    (tmp_path / "mediate").mkdir()
    table.to_csv(tmp_path / "mediate/table.csv", index=False)
    analysis = mediation.analyse(table, Options(exposures=["age"], mediators=["a", "b", "c"], bootstrap_draws=0))
    analysis.write(tmp_path / "mediate")
    assert "over the patients with both values, n = 165 to 175, ordered" in visible(page.write(tmp_path))


def test_mediation_tables(run):
    path, analysis = run
    text = visible(path).split('id="mediation"')[1]
    assert html.escape(mediation.CAVEAT) in text
    assert "&lt; 0.001" in text
    assert "1 of 2 recovered" in text
    assert ">null<" in text  # a word here, not a missing value
    assert "constant mediator" in text  # why a pair has no estimates
    assert "Comparative fit index" in text
    row = analysis.univariate.iloc[0]
    assert f">{tables.number(row['indirect_est'])}<small>SE {tables.number(row['indirect_se'], 2)}</small>" in text
    assert all(f'id="figure-{name}"' in text for name in ("forest_age", "correlation_heatmap", "path_plot"))


def test_what_stands_beside_the_linear_models(run):
    path, analysis = run
    text = visible(path).split('id="mediation"')[1]
    row = analysis.intervals.iloc[0]
    assert f">[{tables.number(row['bca_lower'])}, {tables.number(row['bca_upper'])}]<" in text
    assert "95 % intervals from the same 1\N{NARROW NO-BREAK SPACE}000 resamples." in text
    row = 100 * analysis.natural.loc[0, ["indirect_est", "indirect_lower", "indirect_upper"]].astype(float)
    estimate, lower, upper = map(tables.number, row)
    assert f">{estimate} [{lower}, {upper}]<" in text
    assert "A logit regression of severity instead of the linear one" in text
    row = analysis.sensitivity.iloc[0]
    for name in ("rho", "e_value", "e_value_limit"):
        assert f">{tables.number(row[name])}<" in text
    row = analysis.multiple_intervals.iloc[-1]
    assert f">[{tables.number(row['percentile_lower'])}, {tables.number(row['percentile_upper'])}]<" in text
    heads = re.findall(r"<h3>(.*?)</h3>", text)
    assert heads == [
        "Severity as a binary outcome",
        "Sensitivity to unmeasured confounding",
        "Several mediators in one model",
    ]
    pairs = int(analysis.univariate["is_mediator"].sum())
    tested = text.split("<summary>Natural effects of all 10 pairs</summary>")
    assert tested[0].split("<caption>Natural effects of the significant pairs.")[1].count("<tr>") == pairs + 1
    assert tested[1].split("</details>")[0].count("<tr>") == 10 + 1


@pytest.mark.parametrize("free", [False, True])
def test_the_fit_of_the_path_model_is_said_in_words(tmp_path, free):
    (tmp_path / "config.json").write_text("{}")
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.standard_normal((200, 3)), columns=["age", "a", "b"])
    table["a"] += table["age"]
    table["b"] += table["age"] + 2 * table["a"]
    table["severity"] = (table["a"] + table["b"] + random.standard_normal(200) > 0).astype(int)
    options = {"bootstrap_draws": 0, "max_correlation": 1.0, "residual_covariances": free}
    analysis = mediation.analyse(table, Options(exposures=["age"], mediators=["a", "b"], **options))
    analysis.write(tmp_path / "mediate")
    text = visible(page.write(tmp_path)).split('id="mediation"')[1]
    assert analysis.multiple.verdict.word == ("saturated" if free else "poor")
    assert html.escape(analysis.multiple.verdict.text) in text
    boxes = re.findall(r'<[^>]*class="box caution"[^>]*>(.*?)</', text, re.S)
    assert any("fits poorly" in box for box in boxes) == (not free)
    assert "not significant (z test of the path, not adjusted)" in text
    assert "Comparative fit index (good: at least 0.95)" in text


def test_covariates_are_not_drawn_as_exposures(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.standard_normal((200, 3)), columns=["age", "gender", "m"])
    table["m"] += table["age"] + table["gender"]
    table["severity"] = (table["m"] + random.standard_normal(200) > 0).astype(int)
    options = {"bootstrap_draws": 0, "covariates": ["gender"]}
    mediation.analyse(table, Options(exposures=["age"], mediators=["m"], **options)).write(tmp_path / "mediate")
    assert "Path model of 1 exposure and 1 mediator" in visible(page.write(tmp_path))


def test_training_says_which_weights_are_used(full):
    text = visible(full)
    single = 0.8 - 0.6 * np.exp(-4)
    assert f"Validation Dice lesion of the last weights, which are used: {single:.3f}. " in text
    mean = (single - 0.1 + 0.3) / 2
    assert f"Validation Dice (mean of the classes) of the last weights, which are used: {mean:.3f}. " in text


def test_mediation_without_path_model_says_why(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    random = np.random.default_rng(1)
    table = pd.DataFrame(random.standard_normal((60, 3)), columns=["age", "ggo_glcm_Imc1", "severity"])
    mediation.analyse(table, Options(exposures=["age"], mediators=["ggo_glcm_Imc1"])).write(tmp_path / "mediate")
    text = visible(page.write(tmp_path))
    assert "This run has no such model: no significant mediator of any exposure." in text
    assert "<b>0</b><small>0 pairs of 1 tested</small>" in text


def test_only_config_says_what_was_not_run(tmp_path):
    (tmp_path / "config.json").write_text('{"name": "bare", "data": {"datasets": [["medseg", "default"]]}}')
    text = visible(page.write(tmp_path))
    for stage, title in rundir.STAGES.items():
        assert f"{title}: not run (the run folder has no {stage}/)." in text
    assert "<img" not in text
    assert "not evaluated in this run" in text


def test_skipped_and_unfinished_stages(tmp_path):
    (tmp_path / "config.json").write_text('{"name": "part"}')
    write_done(tmp_path, "pretrain_multi", skipped="pretrain.steps is 0")
    (tmp_path / "train_single").mkdir()
    write_rows(tmp_path / "train_single/metrics.jsonl", [{"step": 1, "phase": "train", "loss": 1.0}])
    with (tmp_path / "train_single/metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "pha')  # interrupted while writing
    text = visible(page.write(tmp_path))
    assert "Pretrain multi network: skipped. pretrain.steps is 0" in text
    assert "Train single network: not finished" in text
    assert "n = 1 logged rows" in text


def test_done_without_files_is_said(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for stage in ("prepare", "train_multi"):
        write_done(tmp_path, stage)
    text = visible(page.write(tmp_path))
    assert "The stage is marked as done, but its files are missing from the run folder." in text
    assert "No rows in train_multi/metrics.jsonl." in text


def test_tables_can_be_sorted(full):
    text = visible(full)
    assert '<button type="button">p (adj.)</button>' in text
    rows = re.findall(r'<td data-sort="ggo_firstorder_entropy">(.*?)</td>', text)
    assert rows[0] == "ggo_<wbr>firstorder_<wbr>Entropy"
    assert 'data-sort="0.7123"' in text  # the number, not its text


def test_two_commits_are_pointed_out(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    write_done(tmp_path, "prepare", commit="aaaa")
    write_done(tmp_path, "evaluate", commit="bbbb")
    assert "ran with 2 different commits" in visible(page.write(tmp_path))


def test_single_network_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"name": "single"}')
    write_done(tmp_path, "evaluate")
    image, truth = thorax(num=2)
    arrays = {
        "image": image,
        "truth": truth,
        "lesion_prob": truth * 0.5,
        "slice_id": ["a", "b"],
        "dice": [np.nan, 0.5],
    }
    np.savez(tmp_path / "evaluate/examples.npz", **arrays)
    text = visible(page.write(tmp_path))
    assert "Best of n = 1 example slices" in text
    assert "Multi network (GGO, consolidation): not evaluated in this run." in text


def test_shared_patient_is_a_warning(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "prepare").mkdir()
    (tmp_path / "prepare/slices.csv").write_text("slice_id,patient_id,split\na,007,train\nb,007,test\nc,008,cohort\n")
    assert "1 patient in more than one of train, val, test: 007." in visible(page.write(tmp_path))


def test_doubtful_words_for_diseases_are_a_warning(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "prepare").mkdir()
    (tmp_path / "prepare/slices.csv").write_text("slice_id,patient_id,split\na,007,train\n")
    assert "in several ways" not in visible(page.write(tmp_path))
    notes = tmp_path / "data" / "ictcf" / "default" / "1.0.0" / "notes.json"
    notes.parent.mkdir(parents=True)
    notes.write_text(json.dumps({"doubtful diseases": {"'-' (3x): 0; a dash counts as none": 1}}))
    text = html.unescape(visible(page.write(tmp_path)))
    assert "1 entry of underlying diseases can be counted in several ways: '-' (3x): 0; a dash counts" in text


def test_missing_config_names_path_and_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No config\.json in .*nowhere.*Give the --workdir of a run"):
        page.write(tmp_path / "nowhere")


def test_missing_column_names_file_and_remedy(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate/single_summary.csv").write_text("class,metric,mean\nlesion,dice,0.5\n")
    with pytest.raises(
        ValueError, match=r"single_summary\.csv lacks the columns \['error', 'n', 'excluded'\].*done\.json"
    ):
        page.write(tmp_path)


def test_missing_array_names_file(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "evaluate").mkdir()
    np.savez(tmp_path / "evaluate/examples.npz", image=np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(
        ValueError, match=r"examples\.npz lacks the arrays \['truth', 'lesion_prob', 'slice_id', 'dice'\]"
    ):
        page.write(tmp_path)
