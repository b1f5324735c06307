"""Every number of a config has a range, and what is out of it is named before the first stage."""

import copy
import json
import math
import re

import numpy as np
import pytest

from configs import covid_semiseg, ct_phantom, medseg_ictcf, recommended
from configs.losses import LOSSES
from launch import stages
from ssinfnet_jax.training import adversarial_step, augment, config_ranges, optim

VARIANTS = {
    "recommended": recommended.get_config,
    **{
        f"{module.__name__}:{variant}": lambda module=module, variant=variant: module.get_config(variant)
        for module in (covid_semiseg, ct_phantom, medseg_ictcf)
        for variant in module.VARIANTS
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_number_has_a_range_and_keeps_to_it(name):
    config = VARIANTS[name]().to_dict()
    assert [path for path, _, found in config_ranges.numbers_of(config) if found is None] == []
    config_ranges.check(config)


def test_what_a_config_may_hold_beside_what_ours_hold_has_a_range_too():
    config = recommended.get_config()
    numbers = [key for key, field in _placeholders(config) if field.get_type() in (int, float)]
    assert len(numbers) >= 4
    for path in numbers:
        assert config_ranges.range_of(path) is not None, path
    names = {
        "single.train.augmentation": augment.Options._field_defaults,
        "multi.pretrain.options": adversarial_step.Options._field_defaults,
    }
    for section, fields in names.items():
        for key, default in fields.items():
            if not isinstance(default, bool):
                assert config_ranges.range_of(f"{section}.{key}") is not None, key
    for key in {*optim.SCHEDULE, "weight_decay", "clip_value", "clip_norm"} - {"schedule"}:
        for table in ("multi.train.optimizer", "single.pretrain.coach_optimizer", "single.pretrain.phases.0.2"):
            assert config_ranges.range_of(f"{table}.{key}") is not None, key


def _placeholders(config, path=""):
    for key in config:
        field = config.get_ref(key)
        if hasattr(config.get_oneway_ref(key).get(), "get_ref"):
            yield from _placeholders(config[key], f"{path}{key}.")
        elif field.get() is None:
            yield f"{path}{key}", field


TABLES = {
    "single.pretrain.phases": [["inpaint_random", 1, {"learning_rate": 0.1, "schedule": "steps", "epochs": [1]}]],
    "single.train.augmentation": {"scale": 0.9, "cutout_probability": 0.5, "cutout_size": 0.5, "noise": 0.1},
    "single.train.optimizer": {
        "name": "adam", "learning_rate": 0.1, "b1": 0.9, "eps": 1e-8, "clip_norm": 1.0, "warmup_steps": 3,
        "weight_decay": 0.1,
    },
    "multi.train.losses": LOSSES,
    "multi.train.patience_epochs": 5,
    "multi.train.validate_every_epochs": 5,
    "data.splits": {"seed": 0, "num_folds": 5, "test_fold": 0, "val_fold": (1, 2)},
}  # fmt: skip


def _config(**changes):
    config = recommended.get_config().to_dict()
    config["data"]["datasets"] = (("ct_phantom", "tiny"),)
    config = json.loads(json.dumps(config))  # a copy in which no table stands twice
    for path, value in {**TABLES, **changes}.items():
        _set(config, path, copy.deepcopy(value))
    return config


def _set(tree, path, value):
    *folders, last = path.split(".")
    for name in folders:
        tree = tree[int(name)] if isinstance(tree, list) else tree[name]
    tree[int(last) if isinstance(tree, list) else last] = value


PATHS = [path for path, _, found in config_ranges.numbers_of(_config()) if "head_biases" not in path]
BOUNDLESS = [path for path, _, _ in config_ranges.numbers_of(_config()) if "head_biases" in path]


@pytest.mark.parametrize("value", [-1e9, -1, True, "1", math.nan, math.inf, np.float32("nan"), {}, [[1]]])
def test_a_number_out_of_range_is_named(value):
    is_negative = value in (-1, -1e9)
    for path in PATHS if is_negative else [*PATHS, *BOUNDLESS]:
        if value == -1 and path == "data.normalisation.mean":
            continue
        expected = rf"^config\.{re.escape(path)} must be .*, found {re.escape(repr(value))}; give a "
        with pytest.raises(ValueError, match=expected):
            config_ranges.check(_config(**{path: value}))


@pytest.mark.parametrize("value", [-1, True])
def test_every_key_is_named_before_the_first_stage(value):
    """By the check that every program makes."""
    for path in PATHS[:: len(PATHS) // 12]:
        with pytest.raises(ValueError, match=rf"^config\.{re.escape(path)} must be"):
            stages.check(_config(**{path: value}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 0.5), ("seed", 2**31), ("data.splits.seed", -1), ("data.image_size", 0), ("data.image_size", 352.5),
        ("data.normalisation.std", 1e-9), ("data.normalisation.std", 0.0), ("single.model.options.width", 0),
        ("single.model.options.width", 1000), ("multi.pretrain.coach.width", 0), ("single.train.epochs", 0),
        ("single.train.optimizer.clip_norm", 0), ("multi.train.optimizer.lookahead.alpha", 1.5),
        ("multi.train.optimizer.lookahead.k", 0), ("multi.train.optimizer.momentum", 1.0), ("single.train.scales", 1.0),
        ("single.train.scales", (1.0, 0.0)), ("single.pretrain.phases.0.1", 0), ("multi.prior_folds", 1),
        ("single.pretrain.phases.0.2.learning_rate", 0.0), ("single.pretrain.phases.0.2.epochs", 1),
        ("multi.train.losses.focal_balanced.alpha", (1.0, -1.0, 4.0)), ("multi.train.losses.bce.weight", -1.0),
        ("multi.train.losses.dice.smooth", 0.0), ("multi.pretrain.coach_losses.coach_loss.kl_weight", -1e-9),
        ("multi.pretrain.options.keep_ratio", 1.0), ("data.splits.fractions", 1), ("single.train.batch_size", 0),
        ("mediation.bootstrap_draws", 0.5), ("mediation.max_correlation", 0), ("single.pretrain.num_examples", 0),
    ],
)  # fmt: skip
def test_the_bounds(path, value):
    config = _config()
    if path == "data.splits.fractions":
        config["data"]["splits"] = {"seed": 0, "fractions": {"train": 1.5}}
    else:
        _set(config, path, value)
    with pytest.raises(ValueError, match=rf"^config\.{re.escape(path)}"):
        stages.check(config)


def test_a_fork_s_own_number_has_only_to_be_finite():
    own = {"fn": "my_fork.losses:outside", "alpha": -3.0, "sharpness": -1.0}
    config_ranges.check(_config(**{"multi.train.losses.mine": own}))
    with pytest.raises(
        ValueError, match=r"config\.multi\.train\.losses\.mine\.sharpness must be finite, found nan; give"
    ):
        config_ranges.check(_config(**{"multi.train.losses.mine": {**own, "sharpness": math.nan}}))
    with pytest.raises(ValueError, match=r"config\.multi\.train\.losses\.mine\.weight must be at least 0, found -1"):
        config_ranges.check(_config(**{"multi.train.losses.mine": {**own, "weight": -1}}))


@pytest.mark.parametrize("key", ["clip_norm", "clip_value", "weight_decay"])
def test_an_optimizer_does_not_reverse_the_gradient(key):
    table = {"name": "sgd", "learning_rate": 0.1, key: -0.5}
    with pytest.raises(ValueError, match=rf"{key} must be .*, found -0\.5"):
        optim.make_optimizer(table, optim.make_schedule(table, steps_per_epoch=1, num_steps=1))
