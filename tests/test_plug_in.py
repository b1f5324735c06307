"""What a fork adds from its own package: the number of files, and that the real programs use them."""

import json
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import ct_phantom, losses
from launch import flags, stages
from ssinfnet_jax import models, plug_in, rundir
from ssinfnet_jax.config import Augmentation
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.inputs import Normalisation
from ssinfnet_jax.training.steps import adversarial_step, segment_step, state
from tests.training import toy, toy_stages

LOSS = '''
import jax.numpy as jnp

def bright(logits, target, *, image, prior=None, power=1.0):
    """Log-odds where the slice is bright."""
    assert prior is None
    return jnp.abs(image[..., None] ** power * (logits - target)).mean((1, 2, 3))

def greedy(logits, target, *, weight_map):
    return (weight_map[..., None] * logits).mean((1, 2, 3))
'''
BACKBONE = """
from typing import Any
import flax.linen as nn
import jax.numpy as jnp

class Stairs(nn.Module):
    stride = 16
    width: float = 1.0
    dtype: Any = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, x, *, train):
        levels = []
        for number in range(4):
            x = nn.relu(nn.Conv(8, (3, 3), strides=2, name=f"conv{number}")(x))
            levels.append(x * self.param(f"gain{number}", nn.initializers.constant(0.5), (1, 1, 1, 8)))
        return tuple(levels)

class Slope(Stairs):
    def __call__(self, x, *, train):
        return super().__call__(x, train=train)[::-1]
"""
NETWORK = """
import flax.linen as nn
from ssinfnet_jax.models import Entry

class Plain(nn.Module):
    features: int = 4
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Conv(self.features, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, axis_name=self.axis_name)(x))
        return nn.Conv(1, (1, 1), name="head")(x)

    def init_all(self, x):
        self(x, train=False)

PLAIN = Entry(Plain, {}, 3, "lesion", False)
WRONG = Entry(Plain, {}, 3, "classes", False)
"""
DATASET = """
import numpy as np
import tensorflow_datasets as tfds
from ssinfnet_jax.data.datasets import slice_builder

class Squares(slice_builder.SliceBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    NEEDS_SOURCE = False
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="default")]

    def list_slices(self, source_dir):
        return [slice_builder.Slice(f"s{k}", f"p{k}", "labeled", lambda k=k: _arrays(k)) for k in range(16)]

def _arrays(k):
    lesion = np.zeros((40, 40), np.uint8)
    lesion[k : k + 12, 10:30] = 1
    return {"image": 60 + 150 * lesion, "lesion": lesion}
"""
FILES = {"losses": LOSS, "backbones": BACKBONE, "nets": NETWORK, "squares/builder": DATASET}


@pytest.fixture
def fork(tmp_path, monkeypatch):
    """Writes files of a package `outside`, and returns how many."""
    folder = tmp_path / "fork"
    monkeypatch.syspath_prepend(folder)

    def write(*names):
        for name in names:
            path = folder / "outside" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(FILES[name])
        return len([path for path in (folder / "outside").rglob("*") if path.is_file()])

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "outside"]:
        del sys.modules[name]


def _config(**changes):
    """The single network alone, trained in two updates, with changes by path."""
    config = ct_phantom.get_config("tiny")
    config.multi = config.single.pretrain = None
    config.data.image_size, config.save_every_s = 32, 1e9
    train = config.single.train
    train.epochs, train.batch_size, train.log_every, train.head_biases = 2, 4, 1, {}
    train.augmentation, train.scales = {"flip_left_right": True}, (1.0,)
    config = config.to_dict()
    for path, value in changes.items():
        *folders, last = path.split("__")
        section = config
        for name in folders:
            section = section[name]
        section[last] = value
    return config


def test_dataset_network_optimizer_and_loss_of_a_fork_train_together(fork, tmp_path, monkeypatch):
    added = {}
    for what, names in (
        ("loss", ["losses"]),
        ("optimizer", []),
        ("network", ["nets"]),
        ("dataset", ["squares/builder"]),
    ):
        before = sum(added.values())
        added[what] = fork(*names) - before
    assert added == {"loss": 1, "optimizer": 0, "network": 1, "dataset": 1}

    line = {"fn": "outside.losses:bright", "power": 2.0, "weight": 0.5}
    config = _config(
        data__datasets=(("outside.squares.builder:Squares", "default"),),
        single__model={"name": "outside.nets:PLAIN", "options": {"features": 3}},
        single__train__losses={**losses.losses("bce"), "bright": line},
        single__train__optimizer={"name": "optax:lion", "learning_rate": 1e-3, "weight_decay": 0.1},
    )
    checked = stages.check(config)
    monkeypatch.setattr(flags, "source_dirs", lambda config: {})
    run_dir = rundir.open_run(tmp_path / "run", config)
    stages.run(checked, run_dir, ["prepare", "pretrain_single", "train_single"])
    rows = [row for row in toy_stages.rows(run_dir, "train_single") if row["phase"] == "train"]
    assert len(rows) >= 2
    for row in rows:
        assert row["bright"] > 0
        assert row["loss"] == pytest.approx(row["bce"] + row["bright"], rel=1e-5)

    folder = run_dir.path / "train_single" / "model"
    card = NetworkCard.read(folder)
    assert (card.model, list(card.datasets)) == ("outside.nets:PLAIN", ["outside.squares.builder:Squares/default"])
    variables, _ = storage.load(folder)
    assert variables["params"]["Conv_0"]["kernel"].shape == (3, 3, 3, 3)
    # Elsewhere, where the package is not installed.
    shutil.rmtree(tmp_path / "fork" / "outside")
    for name in [name for name in sys.modules if name.partition(".")[0] == "outside"]:
        monkeypatch.delitem(sys.modules, name)
    message = (
        r"model\.json names a network from another package\. Unknown model 'outside\.nets:PLAIN': importing .*install"
    )
    for read in (NetworkCard.read, storage.load):
        with pytest.raises(ValueError, match=message):
            read(folder)


@pytest.mark.long
def test_a_backbone_of_a_fork_is_one_file(fork, tmp_path):
    assert fork("backbones") == 1
    options = {"backbone": "outside.backbones:Stairs", "width": 0.0625}
    config = _config(single__model={"name": "infnet", "options": options})
    stages.check(config)
    model, optimizer = models.create("infnet", **options), optax.sgd(0.1)
    step = segment_step.make_step(
        model, optimizer, num_inputs=3, output="maps", losses=losses.losses("bce", "edge"),
        options=segment_step.Options(Augmentation(), Normalisation(0.5, 0.25)),
    )  # fmt: skip
    start = state.create(model, optimizer, seed=0, num_channels=3)
    np.testing.assert_array_equal(
        start.params["encoder"]["gain2"], np.full((1, 1, 1, 8), 0.5)
    )  # by its own initialiser
    after, metrics = jax.jit(step)(start, toy.batch(count=2), jax.random.key(0))
    assert np.isfinite(metrics["loss"])
    assert (after.params["encoder"]["gain2"] != start.params["encoder"]["gain2"]).all()

    card = NetworkCard("infnet", options, image_size=32, normalisation=Normalisation(0.5, 0.25))
    storage.save(tmp_path / "model", state.variables(start), card)
    variables, _ = storage.load(tmp_path / "model")
    assert "gain2" in variables["params"]["encoder"]
    table = json.loads((tmp_path / "model" / "model.json").read_text())
    table["options"]["backbone"] = "absent_fork.backbones:Stairs"
    (tmp_path / "model" / "model.json").write_text(json.dumps(table))
    with pytest.raises(
        ValueError, match=r"model\.json names a network .* Unknown backbone 'absent_fork\.backbones:S.*inst"
    ):
        storage.load(tmp_path / "model")


@pytest.mark.parametrize("who", ["inpainter", "coach"])
def test_a_game_of_a_fork_s_losses(who, monkeypatch, tmp_path):
    """The learner minimises a function of the fork, which gets the fields that it has as parameters."""
    (tmp_path / "outside_game.py").write_text(
        "def absolute(restored, target, *, keep, image):\n"
        "    return (abs(restored - target) * keep).mean((1, 2, 3)) + 0 * image.mean((1, 2))\n"
        "def timid(reconstruction, *, keep, score, restored, kl):\n"
        "    return -reconstruction + keep.mean((1, 2, 3)) + 0 * score.mean((1, 2, 3))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tables = {"inpainter": {"mine": {"fn": "outside_game:absolute"}}, "coach": {"mine": {"fn": "outside_game:timid"}}}
    adversarial_step.check_losses(tables["inpainter"], tables["coach"], "config.x", 3, "maps")
    game = adversarial_step.Game(
        toy.Toy(), toy.ToyCoach(), 3, Normalisation(0.5, 0.25), tables["inpainter"], tables["coach"]
    )
    optimizer = optax.sgd(0.1)
    inpainter = state.create(game.inpainter, optimizer, seed=0, num_channels=3)
    coach = state.create(game.coach, optimizer, seed=0, num_channels=3)
    batch = {**toy.batch(size=64, count=2), "erased_by_coach": np.ones(2, np.float32)}
    make = adversarial_step.make_inpaint_step if who == "inpainter" else adversarial_step.make_coach_step
    step = jax.jit(make(game, optimizer, augmentation=Augmentation()))
    players = (inpainter, coach) if who == "inpainter" else (coach, inpainter)
    _, metrics = step(*players, batch, jax.random.key(0))
    assert metrics["mine"] == metrics["loss"]
    if who == "coach":
        kept = 1 - metrics["erased_fraction"]
        np.testing.assert_allclose(metrics["loss"], kept - metrics["reconstruction"], rtol=1e-5)
    assert metrics["grad_norm"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"single__train__losses": {"mine": {"fn": "outside.losses:greedy"}}},
            r"config\.single\.train\.losses cannot be computed for 1 class: loss 'outside\.losses:greedy' needs weight"
            "_map: give a value in its line, or name the parameter after a field of the batch, which has image, lesion",
        ),
        ({"single__train__losses": {"mine": {"fn": "outside.losses:gredy"}}}, "outside.losses has no 'gredy'; choose"),
        (
            {"single__model": {"name": "outside.nets:WRONG", "options": {}}},
            "The single network must output maps or lesion, but model 'outside.nets:WRONG'",
        ),
        (
            {"single__model": {"name": "outside.nets:Plain", "options": {}}},
            "Unknown model 'outside.nets:Plain': it must be a ssinfnet_jax.models.Entry, found <class",
        ),
        (
            {"single__model": {"name": "infnet", "options": {"backbone": "outside.backbones:Slope"}}},
            "Backbone 'outside.backbones:Slope' must return four maps x1..x4, each half the size of the one before, x4",
        ),
        (
            {"single__model": {"name": "infnet", "options": {"backbone": "outside.nets:Plain"}}},
            "Unknown backbone 'outside.nets:Plain': it must be a module class with axis_name, dtype, remat, width, and",
        ),
        ({"single__train__optimizer": {"name": "optax:adamm", "learning_rate": 0.1}}, "optax has no 'adamm'; choose"),
        ({"data__datasets": (("outside.nets:Plain", "default"),)}, "it must be a SliceBuilder, found <class"),
        ({"data__datasets": (("outside.absent:Squares", "default"),)}, "importing outside.absent fails with Module"),
        ({"data__datasets": (("outside.squares.builder:Squares", "huge"),)}, "Unknown config 'huge' of dataset 'out"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_before_anything_runs(changes, message, fork):
    fork(*FILES)
    with pytest.raises(ValueError, match=message):
        stages.check(_config(**changes))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import not_installed_here", "ModuleNotFoundError: No module named 'not_installed_here'"),
        ("def f(:", "SyntaxError: "),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("g = 1", "broken has no 'f'"),
        ("f = 1", "it must be a function, found 1"),
    ],
)
def test_one_kind_of_error(source, reason, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    with pytest.raises(plug_in.PlugInError) as error:
        plug_in.resolve("loss", "broken:f", {"a": print, "b": print})
    text = str(error.value)
    assert text.startswith("Unknown loss 'broken:f': ")
    assert reason in text
    assert text.endswith('; choose one of a, b, or give "module:name" from any importable package.')
    monkeypatch.delitem(sys.modules, "broken", raising=False)


@pytest.mark.parametrize("name", ["c", "", ":", "a:", ":b", None, 3, ["a"], "..relative:x"])
def test_what_names_nothing(name):
    with pytest.raises(plug_in.PlugInError, match=r'choose one of a, or give "module:name"'):
        plug_in.resolve("loss", name, {"a": print})
    assert plug_in.resolve("loss", "a", {"a": print}) is print
    assert plug_in.resolve("loss", "jax.numpy:abs", {"a": print}) is jnp.abs
