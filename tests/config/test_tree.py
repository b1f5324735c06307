"""The types of its sections define a config; errors name the key that does not fit, with the remedy."""

import dataclasses
import math
import re
import typing

import numpy as np
import pytest

from configs import covid_semiseg, ct_phantom, medseg_ictcf, recommended
from configs.losses import LOSSES
from ssinfnet_jax import config as configs
from ssinfnet_jax.analysis.mediation.estimation.adjust import FAMILIES, METHODS
from ssinfnet_jax.analysis.mediation.outcome.binomial import LOG_CDF
from ssinfnet_jax.analysis.mediation.result import RULES
from ssinfnet_jax.analysis.phenotypes.aggregation import HOW
from ssinfnet_jax.config import fields, training
from tests import trees

VARIANTS = {
    "recommended": recommended.get_config,
    **{
        f"{module.__name__}:{variant}": lambda module=module, variant=variant: module.get_config(variant)
        for module in (covid_semiseg, ct_phantom, medseg_ictcf)
        for variant in module.VARIANTS
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_config_holds_what_its_file_says(name):
    """Each key of the tree is an attribute of the same value; every other attribute has its default."""
    tree = VARIANTS[name]().to_dict()
    _compare(configs.read_config(tree), tree)


def _compare(found, wanted, path="config"):
    if dataclasses.is_dataclass(found):
        held = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
        rest = held.pop("options") if isinstance(found, training.Optimizer) else {}
        held |= rest
        assert set(wanted) <= set(held), path
        for key, value in wanted.items():
            _compare(held[key], value, f"{path}.{key}")
        defaults = {field.name: field.default for field in dataclasses.fields(found)}
        assert all(held[key] == defaults[key] for key in set(held) - set(wanted)), path
    elif hasattr(found, "items"):
        assert list(found) == list(wanted), path
        for key in found:
            _compare(found[key], wanted[key], f"{path}.{key}")
    elif isinstance(found, tuple) and not isinstance(wanted, int | float):
        for one, other in zip(found, wanted, strict=not hasattr(found, "_fields")):
            _compare(one, other, path)
    elif isinstance(found, tuple):
        assert set(found) == {wanted}, path  # one number for several
    else:
        assert found == wanted, path


def _sections(kind=configs.Config, seen=None):
    """All dataclasses and NamedTuples of the tree."""
    seen = [] if seen is None else seen
    if isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
        if kind in seen:
            return seen
        seen.append(kind)
        parts = fields.types_of(kind).values()
    else:
        parts = typing.get_args(kind)
    for part in parts:
        _sections(part, seen)
    return seen


@pytest.mark.parametrize("section", _sections(), ids=lambda section: section.__name__)
def test_every_key_says_what_it_means(section):
    attributes = section.__doc__.partition("Attributes:")[2] or section.__doc__
    for key in fields.types_of(section):
        assert re.search(rf"\b{key}\b", attributes), key


def test_choices_are_those_of_the_code():
    wanted = {
        (configs.Mediation, "adjust"): METHODS, (configs.Mediation, "family"): FAMILIES,
        (configs.Mediation, "rule"): RULES, (configs.Mediation, "link"): LOG_CDF,
        (configs.Phenotypes, "by_patient"): HOW,
    }  # fmt: skip
    for (section, key), known in wanted.items():
        assert configs.choices(section, key) == tuple(known), key


TABLES = {
    "single.pretrain.phases": [["inpaint_random", 1, {"learning_rate": 0.1, "schedule": "steps", "epochs": [1]}]],
    "single.train.augmentation": {"scale": 0.9, "cutout_probability": 0.5, "cutout_size": 0.5, "noise": 0.1},
    "single.train.optimizer": {
        "name": "adam", "learning_rate": 0.1, "b1": 0.9, "eps": 1e-8, "clip_norm": 1.0, "warmup_steps": 3,
        "weight_decay": 0.1,
    },
    "single.train.averaging": 0.9,
    "multi.train.losses": LOSSES,
    "multi.train.patience_epochs": 5,
    "multi.train.validate_every_epochs": 5,
    "multi.decision": {"rule": "joint", "lesion_threshold": 0.4, "consolidation_share": 0.6, "multi_weight": 0.1,
                       "least_share": 0.05},
    "data.splits": {"seed": 0, "num_folds": 5, "test_fold": 0, "val_fold": (1, 2)},
}  # fmt: skip
BASE = trees.tree(TABLES, recommended.get_config().to_dict())


def _leaves(tree, path=""):
    """(path, value) of all but tables, and lists that hold tables or lists."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    if isinstance(tree, dict) or any(isinstance(one, dict | list) for _, one in parts):
        for key, value in parts:
            yield from _leaves(value, f"{path}.{key}".lstrip("."))
    else:
        yield path, tree


def _kind(value):
    first = value[0] if isinstance(value, list) and value else value
    return {bool: "bool", int: "number", float: "number", str: "text"}.get(type(first))


# Functions of losses define the ranges of their hyper-parameters themselves (tests/losses).
PLUGGED_IN = re.compile(r"losses\.\w+\.(?!fn|weight|maps)|model\.options\.backbone")
LEAVES = {path: _kind(value) for path, value in _leaves(BASE) if not PLUGGED_IN.search(path)}
WRONG = {
    "number": [-1e9, 10**400, True, "1", math.nan, math.inf, -math.inf, np.float32("nan"), {}, [[1]], ["1"]],
    "bool": [1, 0.0, "yes", None, []],
    "text": [1, None, {}, [1], True],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in WRONG.items() for value in values])
def test_a_value_that_does_not_fit_is_named(kind, value):
    paths = [path for path, own in LEAVES.items() if own == kind]
    assert len(paths) > {"number": 80, "bool": 10, "text": 20}[kind]
    for path in paths:
        if (value == -1e9 and "head_biases" in path) or (value is None and "transfer" in path):
            continue
        name, found = re.escape(f"config.{path}"), re.escape(repr(value))
        expected = rf"^({name} must be .*found|Unknown {name}) {found}[.;]"
        with pytest.raises(ValueError, match=expected):
            configs.read_config(trees.tree({path: value}, BASE))


def test_tables_are_tables_and_have_no_other_keys():
    tables = [path for path, value in _tables(BASE)]
    assert len(tables) > 30
    for path in tables:
        if not PLUGGED_IN.search(f"{path}."):
            for value in (0.5, "x", [1]):
                with pytest.raises(
                    ValueError,
                    match=rf"^config\.{re.escape(path)} must be a (table|list).*, found {re.escape(repr(value))}",
                ):
                    configs.read_config(trees.tree({path: value}, BASE))
        if not re.search(r"losses|options$|coach$|optimizer$|head_biases|settings", path) or "pretrain.options" in path:
            with pytest.raises(ValueError, match=rf"^Unknown config\.{re.escape(path)}\.mine; it has "):
                configs.read_config(trees.tree({f"{path}.mine": 1}, BASE))


def _tables(tree, path=""):
    if isinstance(tree, dict | list):
        if isinstance(tree, dict) and path:
            yield path, tree
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _tables(value, f"{path}.{key}".lstrip("."))


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("fsdp_min_size", 1000, "=1000 splits the state over the devices, which pmap cannot; set config.parallel to"),
        ("seed", 0.5, r"in [0, 2147483647], found 0.5; give a whole number, such as 0."),
        ("seed", 2**31, r"in [0, 2147483647], found 2147483648"),
        ("data.image_size", 352.5, "at least 16, found 352.5; give a whole number"),
        ("data.splits.fractions", 0.5, "a table, found 0.5; it has train, val, test"),
        ("data.splits.num_folds", 1, "at least 2, found 1"),
        ("data.datasets", ["ct_phantom", "tiny"], "0 must be a list [name, variant], found 'ct_phantom'"),
        ("data.normalisation.std", 0.0, "in [0.001, 1000], found 0.0"),
        ("single.model.options.width", 1000, "in (0, 16], found 1000"),
        ("multi.pretrain.coach.width", 0, "in (0, 16], found 0"),
        ("single.train.epochs", -1, "at least 0, found -1; give a number, such as 500."),
        ("single.train.epochs", 0, "epochs is 0, which takes a trained network as it is; name its folder as initial"),
        ("single.train.batch_size", 0, "positive, found 0; give a whole number, such as 16."),
        ("single.train.batch_size", 4.0, "positive, found 4.0; give a whole number"),
        ("single.train.scales", 1.0, "positive, found 1.0; give a list of numbers, such as [0.75]."),
        ("single.train.scales", (1.0, 0.0), "positive, found (1.0, 0.0); give a list of numbers"),
        ("single.train.scales", (), "have at least one factor"),
        ("single.train.patience_epochs", 0, "positive, found 0; give a number, such as 50, or None."),
        ("single.train.optimizer.clip_norm", 0, "positive, found 0"),
        ("single.train.augmentation.scale", (1.0, 0.5), "(low, high) with 0 < low <= high, found (1.0, 0.5)"),
        ("single.train.augmentation.scale", (0.1, 0.5, 1.0), "(low, high) with 0 < low <= high"),
        ("multi.train.optimizer.lookahead.alpha", 1.5, "in (0, 1], found 1.5"),
        ("multi.train.optimizer.momentum", 1.0, "in [0, 1), found 1.0"),
        ("multi.train.losses.bce.weight", -1.0, "at least 0, found -1.0"),
        ("single.pretrain.phases.0", ["inpaint_random"], "a list [kind, epochs] or [kind, epochs, changes], found"),
        ("single.pretrain.phases.0.2.epochs", 1, "at least 0, found 1; give a list of numbers, such as [40]"),
        ("single.pretrain.phases", [["coach", 1]], "must have one in which the inpainter learns, found [['coach', 1"),
        ("multi.pretrain.options.soft_alpha", -1e-9, "positive, found -1e-09"),
        ("single.train.losses.edge.maps.edge", -1.0, "at least 0, found -1.0"),
        ("mediation.bootstrap_draws", 100.0, "at least 0, found 100.0; give a whole number, such as 1000."),
        ("mediation.max_correlation", 0, "in (0, 1], found 0"),
        ("single.train.optimizer.mine", math.nan, "finite, found nan"),
        ("multi.train.losses.focal.mine", [1.0, math.inf], "1 must be finite, found inf"),
        ("phenotypes.settings.mine", {"deep": math.nan}, "deep must be finite, found nan"),
    ],
)  # fmt: skip
def test_the_bounds(path, value, rule):
    base = recommended.get_config().to_dict() if "fractions" in path else BASE
    with pytest.raises(ValueError, match=rf"^config\.{re.escape(path.rpartition('.')[0])}.*{re.escape(rule)}"):
        configs.read_config(trees.tree({path: value}, base))


@pytest.mark.parametrize(
    ("path", "lacks"),
    [("seed", "config lacks seed;"), ("single.train.epochs", "config.single.train lacks epochs; ssinfnet_jax/config "),
     ("multi.train.losses.bce.fn", "config.multi.train.losses.bce lacks fn;"),
     ("multi.train.optimizer.lookahead.alpha", "config.multi.train.optimizer.lookahead lacks alpha;")],
)  # fmt: skip
def test_a_key_that_is_missing_is_named(path, lacks):
    tree = trees.tree({}, BASE)
    *above, last = path.split(".")
    section = tree
    for name in above:
        section = section[name]
    del section[last]
    with pytest.raises(ValueError, match=f"^{re.escape(lacks)}"):
        configs.read_config(tree)


def test_the_steps_of_a_rate_need_their_epochs():
    table = {"name": "sgd", "learning_rate": 0.1, "schedule": "steps"}
    with pytest.raises(
        ValueError, match=r"^config\.multi\.train\.optimizer\.epochs must be given with schedule 'steps'"
    ):
        trees.config({"multi.train.optimizer": table})


def test_a_phase_changes_the_rate_alone():
    phase = ["coach", 1, {"learning_rate": 0.5}]
    found = trees.config({"single.pretrain.phases.1": phase}).single.pretrain
    changed = found.learner_in(found.phases[1])
    assert changed == dataclasses.replace(found.coach_optimizer, learning_rate=0.5)
    with pytest.raises(
        ValueError, match=r"^Unknown config\.single\.pretrain\.phases\.1\.2\.momentum; it has learning_rate"
    ):
        trees.config({"single.pretrain.phases.1": ["coach", 1, {"momentum": 0.5}]})
    with pytest.raises(ValueError, match=r"^config\.single\.pretrain\.phases\.1\.2\.epochs must be given"):
        trees.config({"single.pretrain.phases.1": ["coach", 1, {"schedule": "steps"}]})


def test_what_is_left_out_by_an_empty_table_is_none():
    config = trees.config({"single.pretrain": {}, "multi.train.optimizer.lookahead": {}})
    assert config.single.pretrain is config.multi.train.optimizer.lookahead is None


def test_a_config_cannot_be_changed():
    config = trees.config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.single.train.epochs = 3
    with pytest.raises(TypeError):
        config.multi.train.losses["mine"] = {}
    with pytest.raises(TypeError):
        config.multi.train.losses["focal_balanced"]["gamma"] = 1.0


def test_a_part_of_a_config_has_no_other_attributes():
    config = trees.config()
    found = configs.part(config, ("seed", "data", "single.model", "single.train"))
    assert (found.seed, found.data, found.single.train) == (config.seed, config.data, config.single.train)
    for owner, name in ((found, "multi"), (found, "mediation"), (found.single, "pretrain")):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            getattr(owner, name)
    assert configs.part(trees.config({"multi": None}), ("multi.model",)).multi is None
