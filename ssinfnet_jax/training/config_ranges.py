"""The range of every number of a config, checked before the first stage begins.

A fork that adds a number to a config adds its line here; without one it only has to be finite.
"""

import fnmatch
import math
import numbers
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
    """What a number may be.

    Attributes:
      low, high: bounds; -inf and inf: none.
      example: for the error.
      without_low, without_high: whether a bound itself is excluded.
      whole: whether it must be a whole number.
      several: "no": one number; "yes": a list of them; "either".
      optional: whether it may be None.
    """

    low: float
    high: float
    example: Any
    without_low: bool = False
    without_high: bool = False
    whole: bool = False
    several: str = "no"
    optional: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value of a config keeps to it."""
        if value is None:
            return self.optional
        if isinstance(value, list | tuple):
            return self.several != "no" and all(self._holds_one(one) for one in value)
        return self.several != "yes" and self._holds_one(value)

    def _holds_one(self, value: Any) -> bool:
        if not is_number(value) or not math.isfinite(value) or (self.whole and value != int(value)):
            return False
        above = value > self.low if self.without_low else value >= self.low
        return above and (value < self.high if self.without_high else value <= self.high)

    def rule(self) -> str:
        """The range in words."""
        if (self.low == 0 and self.without_low and self.high == math.inf) or (self.whole, self.low) == (True, 1):
            return "positive"
        if self.high == math.inf:
            return "finite" if self.low == -math.inf else f"at least {self.low}"
        return f"in {'(' if self.without_low else '['}{self.low}, {self.high}{')' if self.without_high else ']'}"

    def remedy(self) -> str:
        """What to give instead."""
        kind = "whole number" if self.whole else "number"
        kind = {"no": f"a {kind}", "yes": f"a list of {kind}s", "either": f"a {kind}, or a list of them"}[self.several]
        return f"give {kind}, such as {self.example}" + (", or None for none" if self.optional else "")


def is_number(value: Any) -> bool:
    """Whether a value is a number; a bool is none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _positive(example: float, **options: Any) -> Range:
    return Range(0, math.inf, example, without_low=True, **options)


def _count(example: int, low: int = 1, **options: Any) -> Range:
    return Range(low, math.inf, example, whole=True, **options)


def _fraction(example: float, **options: Any) -> Range:
    return Range(0, 1, example, **options)


_SEED = Range(0, 2**31 - 1, 0, whole=True)
_FOLDS = Range(0, math.inf, 0, whole=True, several="either")
_NOT_NEGATIVE = Range(0, math.inf, 1.0)
_WIDTH = Range(0, 16, 1.0, without_low=True)

# Path in the config -> range; * stands for any part of it. A loss is found by its function, whatever it is called.
RANGES: dict[str, Range] = {
    "seed": _SEED,
    "save_every_s": Range(0, math.inf, 600.0),
    "fsdp_min_size": _count(65536, optional=True),
    "data.image_size": _count(352, low=16),
    "data.normalisation.mean": Range(-1000, 1000, 0.45),
    "data.normalisation.std": Range(0.001, 1000, 0.27),
    "data.pretrain_holdout": _fraction(0.1, without_high=True),
    "data.splits.seed": _SEED,
    "data.splits.fractions.*": _fraction(0.2),
    "data.splits.num_folds": _count(5, low=2),
    "data.splits.test_fold": _FOLDS,
    "data.splits.val_fold": _FOLDS,
    "*.model.options.width": _WIDTH,
    "*.model.options.num_classes": _count(3),
    "multi.prior_folds": _count(5, low=2),
    "multi.decision.lesion_threshold": _fraction(0.5, without_low=True, without_high=True),
    "multi.decision.consolidation_share": _fraction(0.5, without_low=True, without_high=True),
    "multi.decision.multi_weight": _fraction(0.0),
    "*.batch_size": _count(16),
    "*.log_every": _count(20),
    "*.validate_every_epochs": _positive(10, optional=True),
    "*.pretrain.phases.*.1": _positive(100),
    "*.pretrain.coach.width": _WIDTH,
    "*.pretrain.coach.latent": _count(100),
    "*.pretrain.options.keep_ratio": _fraction(0.75, without_low=True, without_high=True),
    "*.pretrain.options.soft_alpha": _positive(1.0),
    "*.pretrain.num_examples": _count(4),
    "*.train.epochs": _positive(500),
    "*.train.scales": _positive((0.75, 1.0, 1.25), several="yes"),
    "*.train.label_smoothing": _fraction(0.1, without_high=True),
    "*.train.averaging": _fraction(0.995, without_high=True),
    "*.train.patience_epochs": _positive(50, optional=True),
    "*.train.head_biases.*": Range(-math.inf, math.inf, -2.0, several="either"),
    "*.train.teacher.weight": _positive(1.0),
    "*.train.teacher.ramp_epochs": _positive(50),
    "*.train.teacher.sharpness": _positive(2.0),
    "*losses.*.weight": _NOT_NEGATIVE,
    "*losses.*.maps.*": _NOT_NEGATIVE,
    "*losses.segmentation:*.gamma": _NOT_NEGATIVE,
    "*losses.segmentation:*.alpha": Range(0, math.inf, 1.0, several="either"),
    "*losses.segmentation:*.beta": _NOT_NEGATIVE,
    "*losses.segmentation:*.smooth": _positive(1.0),
    "*losses.segmentation:*.bce_weight": _NOT_NEGATIVE,
    "*losses.segmentation:*.window": _count(31),
    "*losses.inpainting:*.kl_weight": _NOT_NEGATIVE,
    "*losses.inpainting:*.clip": _positive(2.0),
    "mediation.alpha": _fraction(0.05, without_low=True, without_high=True),
    "mediation.max_correlation": _fraction(0.8, without_low=True),
    "mediation.bootstrap_draws": _count(1000, low=0),
    "mediation.seed": _SEED,
}
# Of an optimizer, and of what a phase of pretraining changes of it.
_OPTIMIZER: dict[str, Range] = {
    "learning_rate": _positive(0.001),
    "warmup_steps": _count(0, low=0),
    "epochs": Range(0, math.inf, (40, 80), several="yes"),
    "factor": _positive(0.1),
    "weight_decay": Range(0, math.inf, 0.0005),
    "clip_value": _positive(0.5, optional=True),
    "clip_norm": _positive(1.0, optional=True),
    "momentum": _fraction(0.9, without_high=True, optional=True),
    "b1": _fraction(0.9, without_high=True),
    "b2": _fraction(0.999, without_high=True),
    "eps": _positive(1e-8),
    "eps_root": Range(0, math.inf, 0.0),
    "lookahead.k": _count(5),
    "lookahead.alpha": _fraction(0.5, without_low=True),
}
_AUGMENTATION: dict[str, Range] = {
    "scale": Range(0, 10, (0.8, 1.0), without_low=True, several="either"),
    "cutout_probability": _fraction(0.5),
    "cutout_size": _fraction(0.5),
    "brightness": _fraction(0.1),
    "contrast": _fraction(0.2),
    "gamma": Range(0, 5, 0.3),
    "noise": _fraction(0.05),
    "rotation": Range(0, 180, 10),
    "elastic": _fraction(0.05),
    "crop": _fraction(0.6, without_low=True),
    "crop_focus": _fraction(0.7),
    "prior_dropout": _fraction(0.3),
    "blur": Range(0, 100, 1.0),
}
RANGES |= {
    f"*.{table}.{name}": own
    for tables, ranges in ((("*optimizer", "pretrain.phases.*.2"), _OPTIMIZER), (("augmentation",), _AUGMENTATION))
    for table in tables
    for name, own in ranges.items()
}
_ANY = Range(-math.inf, math.inf, 1.0)


def check(config: Mapping[str, Any]) -> None:
    """Raises ValueError, naming the key, for a number of a config that is out of its range, or no number."""
    for path, value, found in numbers_of(config):
        if not (found or _ANY).holds(value):
            own = found or _ANY
            raise ValueError(f"config.{path} must be {own.rule()}, found {value!r}; {own.remedy()}.")


def range_of(key: str) -> Range | None:
    """The range of what stands at a path of a config, if it has one."""
    return next((own for pattern, own in RANGES.items() if fnmatch.fnmatchcase(key, pattern)), None)


def numbers_of(tree: Any, path: str = "", key: str = "") -> Iterator[tuple[str, Any, Range | None]]:
    """(path, value, range) of everything in a config that is a number, or is to be one; a range of None: it has none.

    Args:
      tree: of the config.
      path, key: of the tree, for reading and for finding its range.
    """
    found = range_of(key)
    if found is not None:
        yield path, tree, found
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            known = value["fn"] if isinstance(value, Mapping) and "fn" in value else name
            yield from numbers_of(value, f"{path}.{name}".lstrip("."), f"{key}.{known}".lstrip("."))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from numbers_of(value, f"{path}.{index}", f"{key}.{index}")
    elif is_number(tree):
        yield path, tree, None
