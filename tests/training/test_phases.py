from configs import covid_semiseg
from ssinfnet_jax.config import Optimizer, read_config
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


def test_the_11_phases_of_the_published_code():
    pretrain = read_config(covid_semiseg.get_config("full_published_code").to_dict()).single.pretrain
    schedule = phases.schedule(pretrain, 1)
    assert [(phase.kind, phase.steps) for phase in schedule] == [
        ("inpaint_random", 200), ("coach", 200), *[("inpaint_coach", 100), ("coach", 100)] * 4, ("inpaint_coach", 100),
    ]  # fmt: skip
    first, *later = phases.of(schedule, "inpainter")
    assert first == (pretrain.inpainter_optimizer, 200)
    assert [(optimizer.learning_rate, optimizer.schedule, steps) for optimizer, steps in later] == [
        (1e-5, "constant", 100)
    ] * 5
