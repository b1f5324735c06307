import pytest

from ssinfnet_jax.training import phases


def test_steps():
    schedule = [["inpaint_random", 2], ["coach", 0.5], ["inpaint_coach", 0.01]]
    assert phases.steps(schedule, 10) == [("inpaint_random", 20), ("coach", 5), ("inpaint_coach", 1)]


def test_errors():
    with pytest.raises(ValueError, match=r"Unknown pretraining phases \['coch'\]"):
        phases.steps([["coch", 1]], 10)
    with pytest.raises(ValueError, match="a schedule has at least one of inpaint_random, inpaint_coach, coach"):
        phases.steps([], 10)
