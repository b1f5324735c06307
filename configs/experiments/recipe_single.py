"""Recipe for a single network in two hours on two cores: one change at a time, five folds.

python -m launch.experiment --config=configs/experiments/recipe_single.py:WAVE --workdir=DIR --data_dir=FOLDER

Each wave is a separate grid, so a later one can build on earlier findings; `--share` reuses an earlier grid's runs.
"""

import ml_collections

from configs import covid_semiseg, recommended
from configs.experiments import common

WARP = {"rotation": 30.0, "elastic": 0.015, "noise": 0.03, "blur": 1.0, "scale": (0.6, 1.15)}


def _augmented(**options) -> list:
    """Changes of the training's augmentation."""
    table = covid_semiseg.get_config("best").single.train.augmentation.to_dict()
    return [("single.train.augmentation", {**table, **options})]


_BIASES = covid_semiseg.get_config("best").single.train.head_biases.to_dict()
_REFINEMENTS = [f"attention{level}/head/bn/norm/scale" for level in (2, 3, 4)]


def _rate(learning_rate: float, batch_size: int) -> list:
    """Changes of the optimizer's rate and the batch size."""
    return [("single.train.optimizer.learning_rate", learning_rate), ("single.train.batch_size", batch_size)]


_GROW = [("single.train.scales", (7 / 11, 7 / 11, 1.0)), ("single.train.scale_order", "in_turn")]
_MIRRORED = {"flip_up_down": False, "quarter_turns": False}  # only flips left to right
_MILD = {"rotation": 20.0, "elastic": 0.01, "noise": 0.02, "blur": 0.7, "scale": (0.6, 1.1)}


def _long(epochs: int) -> list:
    """Changes for many epochs of training: coarse to fine, batches of 2."""
    return [
        *_rate(3e-3, 2), *_GROW, ("single.train.epochs", epochs), ("single.train.averaging", 0.998),
        ("single.train.validate_every_epochs", 50),
    ]  # fmt: skip


WAVES: dict[str, dict[str, dict]] = {
    "base": {"base": {"title": "baseline", "changes": []}},
    # Where does the curve bend?
    "twice": {"twice": {"title": "twice the epochs", "changes": [("single.train.epochs", 240)]}},
    # How fast a recipe learns, by the training loss.
    "speed": {
        name: {"title": title, "changes": [("single.train.epochs", 40), ("single.train.averaging", 0.98), *changes]}
        for name, title, changes in (
            ("b4_5e3", "batches of 4, rate 5e-3", []),
            ("b2_3e3", "batches of 2, rate 3e-3", _rate(3e-3, 2)),
            ("b4_2e3", "batches of 4, rate 2e-3", _rate(2e-3, 4)),
            ("b2_1e3", "batches of 2, rate 1e-3", _rate(1e-3, 2)),
        )
    },
    "speed_scales": {
        name: {"title": title, "changes": [("single.train.epochs", 40), ("single.train.averaging", 0.98), *changes]}
        for name, title, changes in (
            (
                "grow",
                "224 pixels for two thirds, batches of 2, rate 3e-3, as many pixels",
                [*_rate(3e-3, 2), *_GROW, ("single.train.epochs", 66)],
            ),
            (
                "quiet_heads",
                "batches of 2, rate 3e-3, refinements that start at zero",
                [*_rate(3e-3, 2), ("single.train.head_biases", {**_BIASES, **dict.fromkeys(_REFINEMENTS, 0.0)})],
            ),
        )
    },
    "warp": {
        "warp": {"title": "rotation, elastic deformation, noise, blur", "changes": _augmented(**WARP)},
        "warp_300": {
            "title": "the same, 300 epochs",
            "changes": [*_augmented(**WARP), ("single.train.epochs", 300), ("single.train.averaging", 0.998)],
        },
    },
    # The same number of pixels: windows of 224 of 352 pixels for two and a half times as many epochs.
    "windows": {
        "windows": {
            "title": "warp, windows of 224 pixels",
            "changes": [
                *_augmented(**WARP, crop=7 / 11, crop_focus=0.3), ("single.train.epochs", 300),
                ("single.train.averaging", 0.998), ("single.train.validate_every_epochs", 50),
            ],
        },
    },
    # Slices in the radiologist's view need no turns; do turns help anyway?
    "upright": {
        "upright": {
            "title": "as grow, mirrored only, no other turns",
            "changes": [
                *_rate(3e-3, 2), *_GROW, ("single.train.epochs", 66), ("single.train.averaging", 0.98),
                *_augmented(**_MIRRORED),
            ],
        },
        "upright_warp": {
            "title": "mirrored only, 200 epochs, rotation, elastic deformation, noise, blur",
            "changes": [*_long(200), *_augmented(**_MIRRORED, **_MILD)],
        },
    },
    # InfNet's finest map has one cell for 8 x 8 pixels; a U-Net's has one for each.
    "unet": {
        "unet": {
            "title": "U-Net of a quarter of the width",
            "changes": common.model("single", "unet", covid_semiseg.get_config("best"), width=0.25),
        },
    },
    "long": {
        name: {"title": f"224 pixels for two thirds, batches of 2, rate 3e-3, 300 epochs{title}", "changes": changes}
        for name, title, changes in (
            ("long", "", _long(300)),
            ("long_warp", ", rotation, elastic deformation, noise, blur", [*_long(300), *_augmented(**_MILD)]),
        )
    },
}  # fmt: skip


def get_config(wave: str | None = None) -> ml_collections.ConfigDict:
    """The grid of a wave."""
    name, methods = recommended.choose(WAVES, wave, "configs/experiments/recipe_single.py")
    config = common.get_config("recipe_single", "gpu", "A recipe for the single network")
    config.name = f"recipe_single:{name}"
    config.base = covid_semiseg.get_config("best")
    config.base.multi = None
    config.network, config.reference = "single", next(iter(methods))
    config.folds = tuple(range(5))
    return common.with_methods(config, methods)
