"""The steps of every variant have shapes; compiles nothing, and traces shared parts once.

A step knows no more of a network than its output, so those of the configs are traced with a toy of the same output.
test_configs.py checks the networks of the configs, and tests/training/test_network_setup.py takes a step of each kind.
"""

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
from tests.training import toy

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


def _toy(output, num_inputs):
    return toy.Toy(3 if output == "classes" else 1, num_inputs, as_maps=output == "maps")


@functools.cache
def _segment(output, num_inputs, train, normalisation):
    train, model = json.loads(train), _toy(output, num_inputs)
    own = read(Optimizer, train["optimizer"], "optimizer")
    optimizer = _optimizer(own)
    sees = segment_step.Options(
        read(Augmentation, train["augmentation"], "augmentation"),
        Normalisation(**json.loads(normalisation)),
        scale=max(train["scales"]),
        label_smoothing=train["label_smoothing"],
    )
    step = segment_step.make_step(
        model, optimizer, num_inputs=num_inputs, output=output, losses=train["losses"], options=sees
    )
    _walk(step, _state(model, optimizer, own, num_inputs), _batch())


@functools.cache
def _game(output, num_inputs, losses, options, normalisation):
    options, normalisation = GameOptions(**json.loads(options)), Normalisation(**json.loads(normalisation))
    _play(_toy(output, num_inputs), toy.ToyCoach(), num_inputs, normalisation, *json.loads(losses), options)


def _play(inpainter, coach, num_inputs, normalisation, *losses_and_options):
    game = adversarial_step.Game(inpainter, coach, num_inputs, normalisation, *losses_and_options)
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
        model, options = section["model"]["name"], section["model"]["options"]
        role = models.output(model, **options), models.num_inputs(model)
        names = ("optimizer", "scales", "augmentation", "label_smoothing", "losses")
        train = {key: section["train"][key] for key in names}
        train["optimizer"] = {**train["optimizer"], "learning_rate": 0.1, "schedule": "constant"}
        _segment(*role, text(train), normalisation)
        if section["pretrain"]:
            losses = text([section["pretrain"][f"{who}_losses"] for who in ("inpainter", "coach")])
            _game(*role, losses, text(section["pretrain"]["options"]), normalisation)
            pretrain = getattr(read_config(config), which).pretrain
            assert len(phases.schedule(pretrain, 10)) == len(section["pretrain"]["phases"])
            for optimizer in (pretrain.inpainter_optimizer, pretrain.coach_optimizer):
                _optimizer(optimizer)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name, entry in models.MODELS.items() if entry.inpaints])
def test_every_network_that_inpaints_plays_against_the_coach(name):
    pretrain = covid_semiseg.get_config("full")["single" if name == "infnet" else "multi"].pretrain.to_dict()
    losses = [pretrain[f"{who}_losses"] for who in ("inpainter", "coach")]
    options = {"width": 0.0625, **({"backbone": "vgg16"} if name == "infnet" else {})}  # the one with the fewest layers
    players = models.create(name, **options), models.create("coach", width=0.0625)
    _play(*players, models.num_inputs(name), Normalisation(0.5, 0.25), *losses, GameOptions(**pretrain["options"]))
