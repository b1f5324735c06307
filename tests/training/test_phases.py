import pytest

from ssinfnet_jax.training import phases

TABLE = [["inpaint_random", 2], ["coach", 0.5], ["inpaint_coach", 0.01, {"learning_rate": 1e-5}]]


def test_schedule_in_updates():
    found = phases.schedule(TABLE, 10)
    assert [(phase.kind, phase.steps) for phase in found] == [
        ("inpaint_random", 20),
        ("coach", 5),
        ("inpaint_coach", 1),
    ]


def test_a_phase_may_change_the_optimizer_of_its_learner():
    sgd = {"name": "sgd", "learning_rate": 0.1}
    found = phases.of(phases.schedule(TABLE, 10), "inpainter", sgd)
    assert found == [(sgd, 20), ({"name": "sgd", "learning_rate": 1e-5}, 1)]


def test_errors():
    with pytest.raises(ValueError, match=r"Unknown pretraining phases \['coch'\]"):
        phases.schedule([["coch", 1]], 10)
    with pytest.raises(ValueError, match="a schedule has at least one of inpaint_random, inpaint_coach, coach"):
        phases.schedule([], 10)
