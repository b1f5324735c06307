"""The four training stages at their smallest, 21 updates each, for `tests.training.toy_run`."""

import ml_collections

from configs import ct_phantom


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Three updates per epoch: 24 training slices in batches of 8; variant "single": without the multi network."""
    config = ct_phantom.get_config("tiny")
    config.name, config.data.image_size, config.save_every_s = "toy", 32, 0.0
    config.multi.prior_source = "ground_truth"
    for which in ("single", "multi"):
        section = config[which]
        section.model = {"name": f"toy_{which}", "options": {}}
        section.pretrain.coach = {}
        # 6, 6 and 9 updates; phases end in the middle of lookahead's rounds of 5.
        section.pretrain.phases = [["inpaint_random", 2], ["coach", 2], ["inpaint_coach", 3]]
        section.pretrain.inpainter_optimizer = {
            "name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "clip_value": 0.5,
            "lookahead": {"k": 5, "alpha": 0.5},
        }  # fmt: skip
        # Adam would turn the rounding errors of gradients near zero into unit steps.
        section.pretrain.coach_losses.coach_loss.kl_weight = 0.1
        section.pretrain.coach_optimizer = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
        section.train.epochs, section.train.validate_every_epochs = 7, 2
        section.train.head_biases = {"head/conv/bias": -1.0}
        light = {"brightness": 0.1, "contrast": 0.2, "gamma": 0.3, "noise": 0.05}
        for part in (section.pretrain, section.train):
            part.augmentation = {"flip_left_right": True, "quarter_turns": True, "scale": (0.7, 1.0), **light}
            part.batch_size, part.log_every = 8, 1
    config.single.train.optimizer.learning_rate = 1e-3
    config.single.train.losses.weighted_iou_bce.window = 5
    if variant == "single":
        config.multi = None
    return config
