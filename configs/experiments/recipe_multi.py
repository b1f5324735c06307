"""Recipe for GGO and consolidation: one change of the multi network at a time, five folds.

python -m launch.experiment --config=configs/experiments/recipe_multi.py:WAVE --workdir=DIR --data_dir=FOLDER

Each wave is a separate grid; the recipe's single network is trained once (`--share` takes it from another grid).
"""

import ml_collections

from configs import covid_semiseg, recommended
from configs.experiments import common, recipe_single
from configs.losses import losses

_ALL_CLASSES = [
    ("multi.train.losses", losses("focal_balanced", "dice")),
    ("multi.train.batch_size", 4),
    ("multi.train.averaging", 0.995),
    ("multi.train.augmentation.crop", 7 / 11),
    ("multi.train.augmentation.prior_dropout", 0.3),
    ("multi.train.augmentation.brightness", 0.1),
    ("multi.train.augmentation.contrast", 0.3),
    ("multi.train.augmentation.gamma", 0.4),
]
_DIVIDE = [
    *_ALL_CLASSES,
    *recipe_single.WAVES["upright"]["upright"]["changes"],
    ("multi.train.augmentation.flip_up_down", False),
    ("multi.train.augmentation.quarter_turns", False),
    ("multi.train.epochs", 160),
    ("multi.train.averaging", 0.99),
    ("multi.train.validate_every_epochs", 40),
]
# Grey levels tell GGO from consolidation.
_STEADY = [("multi.train.augmentation." + name, value)
           for name, value in (("brightness", 0.02), ("contrast", 0.08), ("gamma", 0.08))]  # fmt: skip

WAVES: dict[str, dict[str, dict]] = {
    "base": {"base": {"title": "baseline", "changes": []}},
    "divide": {
        "divide": {"title": "a loss of all classes, mirrored only", "changes": _DIVIDE},
        "steady": {"title": "the same, grey levels hardly changed", "changes": [*_DIVIDE, *_STEADY]},
    },
    "model": {
        "unet": {"title": "multi InfNet (U-Net)", "changes": [("multi.model.name", "multi_infnet")]},
        "focal": {"title": "focal loss alone", "changes": [("multi.train.losses", losses("focal"))]},
    },
}


def get_config(wave: str | None = None) -> ml_collections.ConfigDict:
    """The grid of a wave."""
    name, methods = recommended.choose(WAVES, wave, "configs/experiments/recipe_multi.py")
    config = common.get_config("recipe_multi", "gpu", "A recipe for the multi network")
    config.name = f"recipe_multi:{name}"
    config.base = covid_semiseg.get_config("best")
    config.network, config.reference = "both", next(iter(methods))
    config.folds = tuple(range(5))
    return common.with_methods(config, methods)
