import pytest

from docs import fill_results
from ssinfnet_jax.report import experiment_files, experiment_page
from tests.report import toy_experiment

METHODS = {"sinfnet": ("SInfNet", 0.3), "ssinfnet": ("SSInfNet", 0.1)}
TEXT = "before\n<!-- begin experiment toy:small -->\nold\n<!-- end experiment toy:small -->\nafter\n"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    command = "python -m launch.experiment --config=configs/a.py:small --workdir=/somewhere/of/mine/toy"
    folder = toy_experiment.build(tmp_path_factory.mktemp("toy"), METHODS, command=command)
    experiment_page.write(folder)
    return experiment_files.read(folder)


def test_a_block_is_written_from_the_folder(experiment, tmp_path):
    text = fill_results.fill(TEXT, experiment, tmp_path)
    assert text.startswith("before\n<!-- begin experiment toy:small -->\n```\npython -m launch.experiment")
    assert text.endswith("<!-- end experiment toy:small -->\nafter\n")
    assert "\nold\n" not in text
    assert "--workdir=.../toy\n" in text
    assert "/somewhere" not in text
    dice = experiment.summary.query("method == 'ssinfnet' and metric == 'dice'").iloc[0]
    assert f"{dice['mean']:.3f} ± {dice['error']:.3f}" in text
    assert "Commit abc1234; " in text
    for name in ("metrics", "differences", "examples_single"):
        figure = f"figures/experiment_toy_small_{name}.png"
        assert f"]({figure})" in text
        assert 0 < (tmp_path / figure).stat().st_size < 300_000


def test_filling_again_changes_nothing(experiment, tmp_path):
    once = fill_results.fill(TEXT, experiment, tmp_path)
    assert fill_results.fill(once, experiment, tmp_path) == once


@pytest.mark.parametrize("text", ["nothing", TEXT + TEXT, TEXT.replace("end", "finish")])
def test_a_missing_or_double_block_is_an_error(text, experiment, tmp_path):
    with pytest.raises(ValueError, match="must have one block of toy:small"):
        fill_results.fill(text, experiment, tmp_path)
