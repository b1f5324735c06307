import pytest

from ssinfnet_jax.training import optim, pretrain

STEPS = {"learning_rate": 0.1, "schedule": "steps", "epochs": [40, 80, 90], "factor": 0.1}


def test_published_steps():
    schedule = optim.make_schedule(STEPS, steps_per_epoch=2, num_steps=200)
    found = [float(schedule(2 * epoch)) for epoch in (0, 39, 41, 81, 91)]
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.0001])


def test_rate_restarts_in_every_phase():
    schedule = optim.restarting(STEPS, steps_per_epoch=1, phase_steps=[200, 100])
    found = [float(schedule(step)) for step in (0, 50, 199, 200, 250, 299)]
    assert found == pytest.approx([0.1, 0.01, 0.0001, 0.1, 0.01, 0.0001])


def test_cosine_with_warmup():
    table = {"learning_rate": 1.0, "schedule": "cosine", "warmup_steps": 10}
    schedule = optim.make_schedule(table, steps_per_epoch=1, num_steps=110)
    assert [float(schedule(step)) for step in (0, 5, 10, 60, 110)] == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-6)


def test_phases_in_updates():
    phases = [["inpaint_random", 2], ["coach", 0.5], ["inpaint_coach", 0.01]]
    assert pretrain.phase_steps(phases, 10) == [("inpaint_random", 20), ("coach", 5), ("inpaint_coach", 1)]


def test_errors():
    with pytest.raises(ValueError, match="Unknown schedule 'linear'; choose one of constant, cosine, steps"):
        optim.make_schedule({"learning_rate": 1, "schedule": "linear"}, steps_per_epoch=1, num_steps=1)
    with pytest.raises(ValueError, match="Unknown optimizer 'adma'; choose one of sgd, adam, adamw"):
        optim.make_optimizer({"name": "adma"}, lambda step: 0.1)
    with pytest.raises(ValueError, match=r"Unknown pretraining phases \['coch'\]"):
        pretrain.phase_steps([["coch", 1]], 10)
