import dataclasses

import numpy as np
import pytest

from ssinfnet_jax.config import Lookahead, Optimizer
from ssinfnet_jax.training.steps import optim

STEPS = Optimizer("sgd", 0.1, schedule="steps", epochs=(40, 80, 90), factor=0.1)


def test_published_steps():
    schedule = optim.make_schedule(STEPS, steps_per_epoch=2, num_steps=200)
    found = [float(schedule(2 * epoch)) for epoch in (0, 39, 41, 81, 91)]
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.0001])


def test_rate_restarts_in_every_phase():
    low = Optimizer("sgd", 1e-5)
    schedule = optim.restarting([(STEPS, 200), (STEPS, 100), (low, 10)], steps_per_epoch=1)
    found = [float(schedule(step)) for step in (0, 50, 199, 200, 250, 299, 300, 309)]
    assert found == pytest.approx([0.1, 0.01, 0.0001, 0.1, 0.01, 0.0001, 1e-5, 1e-5])


def test_cosine_with_warmup():
    cosine = Optimizer("sgd", 1.0, schedule="cosine", warmup_steps=10)
    schedule = optim.make_schedule(cosine, steps_per_epoch=1, num_steps=110)
    assert [float(schedule(step)) for step in (0, 5, 10, 60, 110)] == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-6)


def test_steps_keep_their_time_after_a_warmup_and_all_count():
    warm = dataclasses.replace(STEPS, epochs=(4, 8), warmup_steps=3)
    schedule = optim.make_schedule(warm, steps_per_epoch=1, num_steps=12)
    found = [float(schedule(step)) for step in (3, 4, 5, 8, 9)]
    assert found == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.001])
    schedule = optim.make_schedule(dataclasses.replace(STEPS, epochs=(0.2, 0.4)), steps_per_epoch=2, num_steps=4)
    assert float(schedule(1)) == pytest.approx(0.001)


def test_errors():
    with pytest.raises(ValueError, match="Unknown optimizer 'adma'; choose one of sgd, adam, adamw"):
        optim.make_optimizer(Optimizer("adma", 0.1), lambda step: 0.1)
    with pytest.raises(ValueError, match="Unknown key momentum of optimizer 'adam'; it has name, learning_rate"):
        optim.make_optimizer(Optimizer("adam", 0.1, options={"momentum": 0.9}), lambda step: 0.1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("optax:lyon", "Unknown optimizer 'optax:lyon': optax has no 'lyon'; choose one of sgd, adam, adamw, or give"),
        ("optix:lion", "Unknown optimizer 'optix:lion': importing optix fails with ModuleNotFoundError: No module"),
        ("optax:scale", "'optax:scale': it must be a function whose first parameter is learning_rate, found"),
        ("optax:lbfgs", "Optimizer 'optax:lbfgs' cannot be updated with gradients and parameters .TypeError"),
    ],
)
def test_an_optimizer_of_another_package_that_cannot_be_used(name, message):
    with pytest.raises(ValueError, match=message):
        optim.check(Optimizer(name, 0.1))


@pytest.mark.parametrize("lookahead", [None, Lookahead(5, 0.5)])
def test_optimizers_of_optax_are_usable(lookahead):
    for name in ("optax:lion", "optax:adan", "optax:rmsprop"):
        optim.check(Optimizer(name, 0.1, weight_decay=0.1, lookahead=lookahead))


def test_a_training_shorter_than_lookahead_would_return_its_initial_weights():
    optim.check_length(Optimizer("sgd", 0.1), 1, "config.multi.train")
    lookahead = Optimizer("sgd", 0.1, lookahead=Lookahead(5, 0.5))
    optim.check_length(lookahead, 5, "config.multi.train")
    with pytest.raises(ValueError, match=r"config\.multi\.train has 4 updates, but lookahead moves its slow weights"):
        optim.check_length(lookahead, 4, "config.multi.train")


# Those that the package names, and others of optax. The update of weights of 1 by a gradient of 0, rate 0.1 and decay
# 0.1: decoupled -rate * decay, or coupled, which Adam normalises to -rate.
DECAYED = {
    "sgd": -0.01, "adam": -0.1, "adamw": -0.01, "optax:lion": -0.01, "optax:nadamw": -0.01, "optax:adamaxw": -0.01,
    "optax:adan": -0.01,
    # Scaled by |weights| / |decay * weights| = 10, as in their papers; lars by another 0.001.
    "optax:lamb": -0.1, "optax:lars": -0.0001,
    "optax:adafactor": -0.1,  # by the decay alone, at any rate
    "optax:rmsprop": -0.1 / np.sqrt(0.1),  # coupled: divided by the root of a mean of one value
}  # fmt: skip


def _update_without_gradient(name, weight_decay=0.0, decayed=None):
    params = {"used": np.ones(2, np.float32), "unused": np.ones(2, np.float32)}
    optimizer = optim.make_optimizer(Optimizer(name, 0.1, weight_decay=weight_decay), lambda step: 0.1, decayed=decayed)
    zero = {key: np.zeros(2, np.float32) for key in params}
    return optimizer.update(zero, optimizer.init(params), params)[0]


@pytest.mark.parametrize("name", DECAYED)
def test_weight_decay_is_what_the_config_says_and_leaves_alone_what_is_not_decayed(name):
    np.testing.assert_array_equal(_update_without_gradient(name)["used"], 0)
    updates = _update_without_gradient(name, 0.1, {"used": True, "unused": False})
    np.testing.assert_allclose(updates["used"], DECAYED[name], rtol=1e-3)
    np.testing.assert_array_equal(updates["unused"], 0)


def test_every_optimizer_is_tested_for_its_decay():
    assert set(optim.OPTIMIZERS) <= set(DECAYED)


def test_a_decay_that_takes_no_mask_is_refused_where_some_weights_must_not_shrink():
    with pytest.raises(ValueError, match=r"'optax:novograd' decays all weights \(.* set weight_decay to 0, or choose"):
        _update_without_gradient("optax:novograd", 0.1, {"used": True, "unused": False})
    np.testing.assert_allclose(_update_without_gradient("optax:novograd", 0.1)["used"], -0.01, rtol=1e-3)
    updates = _update_without_gradient("optax:novograd", 0.0, {"used": True, "unused": False})
    np.testing.assert_array_equal(updates["used"], 0)


def test_what_the_training_gives_is_no_key_of_the_table():
    for name, key in (("adamw", "mask"), ("optax:lars", "weight_decay_mask"), ("optax:adafactor", "weight_decay_rate")):
        with pytest.raises(ValueError, match=f"Unknown key {key} of optimizer '{name}'; it has name, learning_rate"):
            optim.make_optimizer(Optimizer(name, 0.1, options={key: None}), lambda step: 0.1)
