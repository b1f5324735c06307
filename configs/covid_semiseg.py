"""Public COVID-SemiSeg slices: `--config=configs/covid_semiseg.py:cpu --data_dir=FOLDER`.

The dataset's description says how the folder is laid out. Variants:

- `cpu`: half (single) and a quarter (multi) of the width at 192x192, for two cores.
- `best`, `best_second`: the two steps of the best recipe so far that two cores can afford. The second trains the single
  network on, at full size. It takes the networks of the run folder `runs/best`, or of another with
  `--config.single.train.initial=RUN/train_single/model --config.multi.train.initial=RUN/train_multi/model`.
- `small`: as `cpu`, with 160x160, a quarter of the width, crops (multi), and averaged weights, for grids with all folds
  and several seeds.
- `gpu`: the paper's networks at 352x352 in bfloat16, with a schedule of minutes on one large GPU.
- `full`: the paper's 2000 epochs, which take days; `full_paper`, `full_published_code`: in the other presets
  (configs/presets.py).
- `cpu_scratch`, `gpu_scratch`, `full_scratch`: without pretraining.

A fifth of the labeled slices is held out (`--config.data.splits.test_fold='(0,)'`), unless the public test folder is
there. Choose options on another fold as validation (`--config.data.splits.val_fold='(1,)'`), not on the held-out one.
Results: docs/results.md.
"""

import ml_collections

from configs import presets, recommended
from configs.losses import losses

VARIANTS = {
    "cpu": {"small": True, "pretrained": True},
    "cpu_scratch": {"small": True, "pretrained": False},
    "best": {"small": False, "pretrained": False, "best": True},
    "best_second": {"small": False, "pretrained": False, "best": True, "second": True},
    "small": {"small": True, "pretrained": True, "smallest": True},
    "gpu": {"small": False, "pretrained": True, "short": True},
    "gpu_scratch": {"small": False, "pretrained": False, "short": True},
    "full": {"small": False, "pretrained": True},
    "full_scratch": {"small": False, "pretrained": False},
    "full_paper": {"small": False, "pretrained": True, "preset": "paper"},
    "full_published_code": {"small": False, "pretrained": True, "preset": "published_code"},
}

LIGHT = {"brightness": 0.1, "contrast": 0.3, "gamma": 0.4}  # slices were windowed in many ways
STEADY = {"brightness": 0.02, "contrast": 0.08, "gamma": 0.08}  # grey levels tell GGO from consolidation


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """The config of a variant."""
    name, options = recommended.choose(VARIANTS, variant, "configs/covid_semiseg.py")
    config = recommended.get_config()
    config.name = f"covid_semiseg:{name}"
    config.data.datasets = (("covid_semiseg", "default"),)
    config.data.normalisation = {"mean": 0.5, "std": 0.28}
    config.data.splits = {"seed": 0, "num_folds": 5, "test_fold": (0,), "val_fold": ()}
    for which in ("single", "multi"):
        config[which].train.augmentation.update(LIGHT)
    presets.PRESETS[options.get("preset", "recommended")](config)
    if options["small"]:
        _shrink(config)
    if options.get("smallest"):
        _reduce(config)
    if options.get("best"):
        _best(config)
    if options.get("second"):
        _train_on(config)
    if options.get("short"):
        _shorten(config)
    if not options["pretrained"]:
        config.single.pretrain = config.multi.pretrain = None
    return config


def _best(config: ml_collections.ConfigDict) -> None:
    """The best recipe so far (configs/experiments/recipe_single.py): 352x352, hours on two cores."""
    config.save_every_s = 120.0
    single = config.single
    single.model.options.width = 0.5
    single.train.epochs, single.train.batch_size = 120, 4
    single.train.optimizer.learning_rate = 5e-3
    single.train.averaging = 0.995
    single.train.scales, single.train.scale_order = (7 / 11, 7 / 11, 1.0), "in_turn"  # 224 pixels, at last 352
    single.train.augmentation.scale = (0.6, 1.0)
    single.train.validate_every_epochs = 20
    multi = config.multi
    multi.decision = {  # chosen on held-out slices of folds 0 and 1
        "rule": "joint", "consolidation_share": 0.4, "multi_weight": 0.25, "least_share": 0.05,
    }  # fmt: skip
    multi.prior_source = "ground_truth"  # the single network finds the lesion; this one learns to divide it
    multi.model.options.width = 0.25
    multi.train.epochs, multi.train.batch_size = 120, 8
    multi.train.optimizer = {
        "name": "adam", "learning_rate": 2e-3, "schedule": "cosine", "clip_value": 0.5,
        "lookahead": {"k": 5, "alpha": 0.5},
    }  # fmt: skip
    multi.train.losses = losses("division", "focal_balanced")
    multi.train.averaging = 0.99
    multi.train.augmentation.update({**STEADY, "scale": (0.6, 1.0), "crop": 5 / 11, "crop_focus": 0.7})
    multi.train.validate_every_epochs = 50


def _train_on(config: ml_collections.ConfigDict) -> None:
    """From the networks of `best`; the multi network stays as it is."""
    train = config.single.train
    train.epochs, train.scales, train.scale_order = 40, (1.0,), "random"
    train.optimizer.learning_rate, train.averaging = 3e-3, 0.99
    train.augmentation.scale = (0.7, 1.1)  # the networks are applied at scale 1
    config.multi.train.epochs = 0
    for which in ("single", "multi"):
        config[which].train.initial = f"runs/best/train_{which}/model"


def _shorten(config: ml_collections.ConfigDict) -> None:
    """About 130,000 slices through the single network and 50,000 through the multi network."""
    config.save_every_s = 120.0
    for which in ("single", "multi"):
        section = config[which]
        section.model.options.dtype = section.pretrain.coach.dtype = "bfloat16"
        section.pretrain.batch_size, section.train.batch_size = 32, 8
        # Differs from the paper: Adam, because the paper's SGD schedule needs hundreds of epochs.
        section.pretrain.inpainter_optimizer = {"name": "adam", "learning_rate": 1e-3, "schedule": "cosine"}
        section.pretrain.coach_optimizer = {"name": "adam", "learning_rate": 1e-4}
        section.pretrain.augmentation.update(LIGHT)
    config.single.pretrain.phases = (
        ("inpaint_random", 20), ("coach", 5), ("inpaint_coach", 15), ("coach", 5), ("inpaint_coach", 15),
    )  # fmt: skip
    config.multi.pretrain.phases = (("inpaint_random", 300), ("coach", 60), ("inpaint_coach", 200))
    config.single.train.epochs, config.multi.train.epochs = 800, 600
    config.single.train.optimizer.learning_rate = 1e-3
    config.multi.train.optimizer = {
        "name": "adam", "learning_rate": 1e-3, "schedule": "cosine", "lookahead": {"k": 5, "alpha": 0.5},
    }  # fmt: skip


def _shrink(config: ml_collections.ConfigDict) -> None:
    config.data.image_size = 192
    config.save_every_s = 120.0
    for which, width in (("single", 0.5), ("multi", 0.25)):
        section = config[which]
        section.model.options.width = width
        section.pretrain.coach.width = 0.25
        section.pretrain.batch_size = section.train.batch_size = 8
        # Differs from the paper: Adam, because the paper's SGD schedule needs hundreds of epochs.
        section.pretrain.inpainter_optimizer = {"name": "adam", "learning_rate": 1e-3, "schedule": "cosine"}
        section.pretrain.coach_optimizer = {"name": "adam", "learning_rate": 1e-3}
        section.pretrain.augmentation = {**recommended.TURNS, "scale": (0.6, 1.0), **LIGHT}
        section.train.augmentation.scale = (0.6, 1.0)
    config.single.pretrain.phases = (
        ("inpaint_random", 1.0), ("coach", 0.25), ("inpaint_coach", 0.5), ("coach", 0.25), ("inpaint_coach", 0.5),
    )  # fmt: skip
    config.multi.pretrain.phases = (("inpaint_random", 20), ("coach", 4), ("inpaint_coach", 10))
    config.single.train.epochs, config.multi.train.epochs = 160, 100
    config.single.train.batch_size = 4
    config.single.train.optimizer.learning_rate = 5e-3
    # The loss's window of 31 of 352 pixels becomes 17 of 192.
    config.single.train.losses.weighted_iou_bce.window = 17
    config.multi.train.optimizer = {
        "name": "adam", "learning_rate": 1e-3, "schedule": "cosine", "lookahead": {"k": 5, "alpha": 0.5},
    }  # fmt: skip


def _reduce(config: ml_collections.ConfigDict) -> None:
    """After `_shrink`: a single network trains in minutes on one core."""
    config.data.image_size = 160
    config.single.train.losses.weighted_iou_bce.window = 15
    for which in ("single", "multi"):
        config[which].model.options.width = 0.25
        config[which].train.batch_size, config[which].train.averaging = 4, 0.98
        config[which].train.validate_every_epochs = None
    config.single.pretrain.phases = (
        ("inpaint_random", 4), ("coach", 0.5), ("inpaint_coach", 1), ("coach", 0.5), ("inpaint_coach", 2),
    )  # fmt: skip
    config.single.train.epochs = 50
    multi = config.multi
    multi.pretrain.phases = (("inpaint_random", 60), ("coach", 10), ("inpaint_coach", 30))
    multi.train.augmentation.update({**STEADY, "crop": 0.6, "crop_focus": 0.7})
    multi.train.epochs = 100
    multi.train.optimizer.learning_rate = 2e-3
