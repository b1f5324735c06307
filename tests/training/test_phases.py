from ssinfnet_jax.config import Optimizer
from ssinfnet_jax.training import phases
from tests import trees

TABLE = [["inpaint_random", 2], ["coach", 0.5], ["inpaint_coach", 0.01, {"learning_rate": 1e-5}]]
SGD = {"name": "sgd", "learning_rate": 0.1}


def _schedule():
    pretrain = trees.config(
        {"single.pretrain.phases": TABLE, "single.pretrain.inpainter_optimizer": SGD}
    ).single.pretrain
    return phases.schedule(pretrain, 10)


def test_schedule_in_updates():
    assert [(phase.kind, phase.steps) for phase in _schedule()] == [
        ("inpaint_random", 20),
        ("coach", 5),
        ("inpaint_coach", 1),
    ]


def test_a_phase_may_change_the_optimizer_of_its_learner():
    assert phases.of(_schedule(), "inpainter") == [(Optimizer("sgd", 0.1), 20), (Optimizer("sgd", 1e-5), 1)]
