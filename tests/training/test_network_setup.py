import types

import jax
import numpy as np
import pandas as pd
import pytest

from configs import ct_phantom
from configs.losses import losses
from ssinfnet_jax import models
from ssinfnet_jax.config import Augmentation, Optimizer
from ssinfnet_jax.data import prepare
from ssinfnet_jax.models import infnet
from ssinfnet_jax.networks import card, prediction
from ssinfnet_jax.networks.inputs import Normalisation
from ssinfnet_jax.training import config_check, network_setup, train
from ssinfnet_jax.training.steps import optim, segment_step, state
from tests import trees
from tests.training import toy, toy_stages

SINGLE = {"infnet": {"backbone": "vgg16"}, "unet": {}}
MULTI = {"unet": {"num_classes": 3}, "multi_infnet": {}, "multi_ssinfnet": {}, "fcn8": {}}


def _check(which, name, options, **changes):
    changes = {f"{which}.{key}": value for key, value in changes.items()}
    config_check.check(trees.config({f"{which}.model": {"name": name, "options": options}, **changes}))


@pytest.mark.parametrize(
    ("which", "name", "own"),
    [("single", *item) for item in SINGLE.items()] + [("multi", *item) for item in MULTI.items()],
)
def test_a_step_and_a_prediction_of_every_network(which, name, own):
    options = {**own, "width": 0.0625}
    card.check_role(which, name, options)
    model, num_inputs, output = models.create(name, **options), models.num_inputs(name), models.output(name, **options)
    table = Optimizer("adam", 1e-3)
    optimizer = optim.make_optimizer(table, optim.make_schedule(table, steps_per_epoch=1, num_steps=10))
    common = dict(options=segment_step.Options(Augmentation(), Normalisation(0.5, 0.25)))
    terms = losses(*{"maps": ("bce", "edge"), "lesion": ("bce",), "classes": ("focal",)}[output])
    step = segment_step.make_step(model, optimizer, num_inputs=num_inputs, output=output, losses=terms, **common)
    start = state.create(model, optimizer, seed=0, num_channels=num_inputs)
    after, metrics = jax.eval_shape(step, start, toy.batch(), jax.random.key(0))
    assert jax.tree.map(np.shape, after) == jax.tree.map(np.shape, start)
    assert {"loss", "train_dice", "grad_norm"} < set(metrics)
    assert all(metric.shape == () for metric in metrics.values())
    assert ("edge" in metrics) == (output == "maps")
    seen = dict(num_inputs=num_inputs, output=output, normalisation=Normalisation(0.5, 0.25))
    predict = prediction.make_predict(model, **seen)
    probs = jax.eval_shape(predict, state.variables(start), toy.batch())
    assert probs.shape == ((4, 32, 32) if which == "single" else (4, 32, 32, 3))


@pytest.mark.parametrize(
    ("which", "name", "options"), [("single", "unet", {}), ("multi", "unet", {"num_classes": 3}), ("multi", "fcn8", {})]
)
def test_what_cannot_be_pretrained_is_refused_before_anything_runs(which, name, options):
    message = (
        rf"'{name}' has no inpainting form to pretrain; set config\.{which}\.pretrain to None, or choose one of inf"
    )
    with pytest.raises(ValueError, match=message):
        _check(which, name, options)
    _check(which, name, options, **{"pretrain": None, "train.head_biases": {}})


@pytest.mark.parametrize(
    ("which", "name", "options", "found"),
    [
        ("single", "fcn8", {}, "classes"),
        ("single", "unet", {"num_classes": 3}, "classes"),
        ("multi", "unet", {}, "lesion"),
        ("multi", "infnet", {}, "maps"),
        ("single", "coach", {}, "scores"),
    ],
)
def test_a_network_in_the_wrong_place(which, name, options, found):
    needed = "maps or lesion" if which == "single" else "classes"
    with pytest.raises(
        ValueError, match=rf"The {which} network must output {needed}, but model '{name}' .* outputs {found};"
    ):
        _check(which, name, options)


@pytest.mark.parametrize(
    ("classes", "which", "reason"),
    [
        ([1, 1], "multi", None),
        ([0, 1], "multi", "no training slice has labels of GGO and consolidation"),
        ([0, 0], "single", None),
    ],
)
def test_data_without_classes_leave_out_the_multi_network(classes, which, reason, monkeypatch):
    table = pd.DataFrame({"split": ["train", "test"], "has_classes": classes})
    monkeypatch.setattr(prepare, "load", lambda config, run_dir: (None, table))
    assert prepare.reason_to_skip(trees.config(), None, which) == reason
    assert prepare.reason_to_skip(trees.config({"multi": None}), None, "multi") == "the config has no such network"


def test_cross_fitting_from_a_trained_network_is_warned_of(caplog):
    config = trees.config({"multi.prior_source": "cross_fitted", "single.train.initial": "elsewhere"})
    with pytest.raises(ValueError, match="both give initial weights"):
        config_check.check(config)
    assert "If the network in config.single.train.initial=elsewhere was trained on these slices" in caplog.text


FORK = '''
"""A loss of a fork: what is predicted outside the lesion."""


def outside(logits, target, *, sharpness=1.0):
    """float[B]: mean of sigmoid(sharpness logits) where target is 0."""
    import jax

    return (jax.nn.sigmoid(sharpness * logits) * (1 - target)).mean(axis=(1, 2, 3))
'''


def test_my_fork_adds_a_loss_by_a_function_and_a_line(monkeypatch, tmp_path):
    """The function is in the fork's package; training logs it beside the other terms."""
    (tmp_path / "my_fork").mkdir()
    (tmp_path / "my_fork" / "losses.py").write_text(FORK)
    monkeypatch.syspath_prepend(tmp_path)
    config = ct_phantom.get_config("tiny")
    config.single.pretrain = None
    config.single.train.losses = {
        **losses("weighted_iou_bce", "edge"),
        "outside": {"fn": "my_fork.losses:outside", "weight": 0.5},
    }
    config.single.train.batch_size, config.single.train.epochs, config.single.train.log_every = 4, 4, 1
    config.single.train.augmentation = {"flip_left_right": True}
    split = ["train"] * 8 + ["val"]
    run_dir = toy_stages.run(
        monkeypatch, tmp_path / "run", config, toy_stages.records(9), split, ["pretrain_single", "train_single"]
    )
    logged = [row for row in toy_stages.rows(run_dir, "train_single") if row["phase"] == "train"]
    assert len(logged) == 8
    for row in logged:
        terms = {name: row[f"{name}_outside"] for name in infnet.MAPS if name != "edge"}
        assert all(0 < value < 0.5 for value in terms.values())
        others = sum(row[f"{name}_weighted_iou_bce"] for name in terms) + row["edge"]
        assert row["loss"] == pytest.approx(sum(terms.values()) + others, rel=1e-5)


def test_scales_in_turn_and_at_random():
    scales = (0.5, 0.5, 1.0)
    assert [train.scale_of(step, 6, scales, "in_turn", 0) for step in range(6)] == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]
    assert [train.scale_of(step, 2, scales, "in_turn", 0) for step in range(2)] == [0.5, 0.5]
    drawn = [train.scale_of(step, 300, scales, "random", 0) for step in range(300)]
    assert 160 < drawn.count(0.5) < 240
    assert drawn == [train.scale_of(step, 300, scales, "random", 0) for step in range(300)]
    assert drawn != [train.scale_of(step, 300, scales, "random", 1) for step in range(300)]


def _rows(which, max_slices=None, **limits):
    """The slices that the training and the pretraining learn from: 4 labeled, 6 unlabeled, one for each other use."""
    splits = ["train"] * 4 + ["unlabeled"] * 6 + ["val", "test", "unlabeled"]
    pretrain = ["train"] * 10 + ["", "", "val"]
    table = pd.DataFrame({"split": splits, "pretrain": pretrain, "patient_id": [f"p{row}" for row in range(13)]})
    table["has_lesion"] = table["has_classes"] = [*[1] * 4, *[0] * 6, 1, 1, 0]
    pretrain_options = types.SimpleNamespace(**{"max_labeled": None, "max_unlabeled": None} | limits)
    section = types.SimpleNamespace(train=types.SimpleNamespace(max_slices=max_slices), pretrain=pretrain_options)
    fields = dict.fromkeys(network_setup.Setup.__dataclass_fields__)
    setup = network_setup.Setup(**fields | {"which": which, "section": section, "table": table, "seed": 0})
    label = {"single": "lesion", "multi": "classes"}[which]
    return setup.positions(setup.training_rows(label)).tolist(), setup.positions(setup.pretraining_rows()).tolist()


def test_which_slices_are_learned_from():
    labeled = [0, 1, 2, 3]
    assert _rows("single") == (labeled, [*range(10)])
    assert _rows("multi") == (labeled, labeled)  # unlabeled slices have no prior
    few, seen = _rows("single", max_slices=2)
    assert len(few) == 2
    assert set(few) < set(labeled)
    assert seen == [*range(10)]  # inpainting needs no labels
    assert _rows("single", max_unlabeled=0)[1] == labeled
    assert _rows("single", max_labeled=0)[1] == [*range(4, 10)]
    some = _rows("single", max_unlabeled=3)[1]
    assert some[:4] == labeled
    assert len(some) == 7
