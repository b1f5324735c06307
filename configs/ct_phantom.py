"""Generated chest CT: `python -m launch.pipeline --config=configs/ct_phantom.py:demo --workdir=runs/demo`.

The paper's networks, narrow and on small slices, so that all stages take minutes on two cores.
"""

import ml_collections

from configs import recommended
from configs.losses import losses

VARIANTS = {
    "demo": {
        "image_size": 128, "width": 0.25, "multi_width": 0.125, "batch_size": 4,
        "single_phases": (("inpaint_random", 0.5), ("coach", 0.15), ("inpaint_coach", 0.5)),
        "multi_phases": (("inpaint_random", 1.5), ("coach", 0.5), ("inpaint_coach", 1.0)),
        "single_epochs": 18, "multi_epochs": 10, "log_every": 10,
        # With this seed the few healthy patients are spread evenly over the folds.
        "splits": {"seed": 4, "num_folds": 8, "test_fold": (0, 1), "val_fold": 2}, "holdout": 0.1,
    },
    "tiny": {
        "image_size": 64, "width": 0.125, "multi_width": 0.125, "batch_size": 4,
        "single_phases": (("inpaint_random", 0.4), ("coach", 0.4), ("inpaint_coach", 0.4)),
        "multi_phases": (("inpaint_random", 0.4), ("coach", 0.4), ("inpaint_coach", 0.4)),
        "single_epochs": 2, "multi_epochs": 5, "log_every": 1,  # 5 updates: lookahead moves once
        "splits": {"seed": 0, "num_folds": 3, "test_fold": 0, "val_fold": 1}, "holdout": 0.3,
    },
}  # fmt: skip


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """The config of a variant."""
    name, size = recommended.choose(VARIANTS, variant, "configs/ct_phantom.py")
    config = recommended.get_config()
    config.name = f"ct_phantom:{name}"
    config.save_every_s = 30.0
    config.data.datasets, config.data.image_size = (("ct_phantom", name),), size["image_size"]
    config.data.splits, config.data.pretrain_holdout = size["splits"], size["holdout"]
    for which, width in (("single", size["width"]), ("multi", size["multi_width"])):
        section = config[which]
        section.model.options.width = width
        section.pretrain.coach.width = 0.125
        section.pretrain.phases = size[f"{which}_phases"]
        # Differs from the paper: Adam, because the paper's SGD schedule needs hundreds of epochs.
        section.pretrain.inpainter_optimizer = {"name": "adam", "learning_rate": 2e-3, "schedule": "cosine"}
        section.pretrain.coach_optimizer = {"name": "adam", "learning_rate": 1e-3}
        section.pretrain.augmentation = {"flip_left_right": True, "scale": (0.7, 1.0)}
        section.train.epochs = size[f"{which}_epochs"]
        section.train.validate_every_epochs = 4
        section.train.augmentation = {
            "flip_left_right": True, "scale": (0.8, 1.0), "brightness": 0.05, "contrast": 0.1,
        }  # fmt: skip
        for part in (section.pretrain, section.train):
            part.batch_size, part.log_every = size["batch_size"], size["log_every"]
    config.single.train.optimizer.learning_rate = 1e-2
    # The loss's window of 31 of 352 pixels becomes 11 of 128.
    config.single.train.losses.weighted_iou_bce.window = 11
    config.multi.train.losses = losses("focal_balanced")
    config.multi.train.optimizer = {
        "name": "adam", "learning_rate": 1e-2, "schedule": "cosine", "lookahead": {"k": 5, "alpha": 0.5},
    }  # fmt: skip
    return config
