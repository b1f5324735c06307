"""The paper's preset at work: toy networks, the real phases, one update per epoch, a row of metrics every ten."""

import itertools

import numpy as np
import pytest

from configs import covid_semiseg
from tests.training import toy_stages

pytestmark = pytest.mark.long

SPLIT = ["train"] * 2 + ["val"] * 2
EVERY = 10
NUM_RUN = 4  # phases; the others are like the third and fourth


def test_the_2000_epochs_of_the_paper(monkeypatch, tmp_path):
    config = covid_semiseg.get_config("full_paper")
    config.save_every_s = 1e9
    pretrain = config.single.pretrain
    expected = [("inpaint_random", 200), ("coach", 200), *[("inpaint_coach", 100), ("coach", 100)] * 8]
    assert list(pretrain.phases) == expected
    assert sum(length for _, length in expected) == 2000
    expected = expected[:NUM_RUN]
    pretrain.phases = tuple(expected)
    pretrain.batch_size, pretrain.log_every = 2, EVERY
    pretrain.augmentation = {"flip_left_right": True}
    run_dir = toy_stages.run(monkeypatch, tmp_path, config, toy_stages.records(len(SPLIT)), SPLIT, ["pretrain_single"])
    rows = toy_stages.rows(run_dir, "pretrain_single")
    steps = [row for row in rows if row["phase"] != "val"]
    ends = np.cumsum([length for _, length in expected])
    assert [row["step"] for row in steps] == list(range(EVERY, ends[-1] + 1, EVERY))
    found = [(kind, EVERY * len(list(group))) for kind, group in itertools.groupby(row["phase"] for row in steps)]
    assert found == expected
    assert [row["step"] for row in rows if row["phase"] == "val"] == ends.tolist()
    assert all(np.isfinite(row["loss"]) for row in steps)
    # In every phase the inpainter's rate falls tenfold at epochs 40, 80 and 90.
    for end, (kind, length) in zip(ends, expected, strict=True):
        rates = [row["learning_rate"] for row in steps if end - length < row["step"] <= end]
        if kind == "coach":
            assert rates == pytest.approx([1e-5] * (length // EVERY))
        else:
            by_epoch = [0.1] * 40 + [0.01] * 40 + [0.001] * 10 + [0.0001] * (length - 90)
            assert rates == pytest.approx(by_epoch[EVERY - 1 :: EVERY], rel=1e-5)
    assert len(list((run_dir.path / "pretrain_single").glob("examples_*.npz"))) == len(expected)
