"""A step of every stage of every variant has shapes; compiles nothing, and traces shared parts once."""

import functools
import json

import jax
import numpy as np
import pytest

from configs import covid_semiseg, ct_phantom, folder, medseg_ictcf
from ssinfnet_jax import models
from ssinfnet_jax.config import Augmentation, GameOptions, Optimizer, read, read_config
from ssinfnet_jax.networks.inputs import Normalisation
from ssinfnet_jax.training import phases
from ssinfnet_jax.training.steps import adversarial_step, optim, segment_step, state

FILES = {"covid_semiseg": covid_semiseg, "ct_phantom": ct_phantom, "folder": folder, "medseg_ictcf": medseg_ictcf}
VARIANTS = [(name, variant) for name, module in FILES.items() for variant in module.VARIANTS]
BATCH = 2


def _batch(size=64):
    """The smallest size that the networks take; test_configs checks the sizes of configs."""
    slices = {
        name: jax.ShapeDtypeStruct((BATCH, size, size), np.uint8) for name in ("image", "prior", "lesion", "classes")
    }
    numbers = {"valid": np.float32, "position": np.int32, "erased_by_coach": np.float32}
    return slices | {name: jax.ShapeDtypeStruct((BATCH,), dtype) for name, dtype in numbers.items()}


def _state(model, optimizer, table, num_channels):
    return jax.eval_shape(
        lambda: state.create(
            model, optimizer, seed=0, num_channels=num_channels, lookahead=table.lookahead is not None,
            initial=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), models.shapes(model, num_channels)),
        )
    )  # fmt: skip


def _optimizer(table):
    return optim.make_optimizer(table, optim.make_schedule(table, steps_per_epoch=10, num_steps=100))


def _walk(step, current, *rest):
    """The state keeps its shapes, and every metric is a scalar."""
    changed, metrics = jax.eval_shape(step, current, *rest, jax.random.key(0))
    jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(f"{a} -> {b}"), current, changed)
    assert metrics["loss"].shape == ()


@functools.cache
def _segment(which, section, normalisation):
    section, normalisation = json.loads(section), Normalisation(**json.loads(normalisation))
    name, options = section["model"]["name"], section["model"]["options"]
    model, num_inputs, train = models.create(name, **options), models.num_inputs(name), section["train"]
    own = read(Optimizer, train["optimizer"], "optimizer")
    optimizer = _optimizer(own)
    sees = segment_step.Options(
        read(Augmentation, train["augmentation"], "augmentation"),
        normalisation,
        scale=max(train["scales"]),
        label_smoothing=train["label_smoothing"],
    )
    output = models.output(name, **options)
    step = segment_step.make_step(
        model, optimizer, num_inputs=num_inputs, output=output, losses=train["losses"], options=sees
    )
    _walk(step, _state(model, optimizer, own, num_inputs), _batch())


@functools.cache
def _pretrain(model, coach, losses, options, normalisation):
    model, normalisation = json.loads(model), Normalisation(**json.loads(normalisation))
    num_inputs = models.num_inputs(model["name"])
    inpainter, coach = models.create(model["name"], **model["options"]), models.create("coach", **json.loads(coach))
    game = adversarial_step.Game(
        inpainter,
        coach,
        num_inputs,
        normalisation,
        *json.loads(losses),
        GameOptions(**json.loads(options)),
    )
    table = Optimizer("adam", 0.1)
    optimizer, augmentation = _optimizer(table), Augmentation()
    players = _state(inpainter, optimizer, table, num_inputs), _state(coach, optimizer, table, 3)
    _walk(adversarial_step.make_inpaint_step(game, optimizer, augmentation=augmentation), *players, _batch())
    _walk(adversarial_step.make_coach_step(game, optimizer, augmentation=augmentation), *players[::-1], _batch())


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_steps_of_every_variant_have_shapes(name, variant):
    config = FILES[name].get_config(variant).to_dict()
    text = functools.partial(json.dumps, sort_keys=True)
    normalisation = text(config["data"]["normalisation"])
    for which in ("single", "multi"):
        section = config[which]
        names = ("optimizer", "scales", "augmentation", "label_smoothing", "losses")
        train = {key: section["train"][key] for key in names}
        train["optimizer"] = {**train["optimizer"], "learning_rate": 0.1, "schedule": "constant"}
        _segment(which, text({"model": section["model"], "train": train}), normalisation)
        if section["pretrain"]:
            coach, options = (text(section["pretrain"][key]) for key in ("coach", "options"))
            losses = text([section["pretrain"][f"{who}_losses"] for who in ("inpainter", "coach")])
            _pretrain(text(section["model"]), coach, losses, options, normalisation)
            pretrain = getattr(read_config(config), which).pretrain
            assert len(phases.schedule(pretrain, 10)) == len(section["pretrain"]["phases"])
            for optimizer in (pretrain.inpainter_optimizer, pretrain.coach_optimizer):
                _optimizer(optimizer)
