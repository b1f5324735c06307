"""A grid for `test_experiment`: two U-Nets with different rates, and between them one that diverges."""

import ml_collections

from configs.experiments import common, comparison_single


def get_config() -> ml_collections.ConfigDict:
    """Three runs, of which the second fails in its stage `train_single`."""
    config = comparison_single.get_config("tiny")
    config.name, config.reference, config.compare.num_draws = "toy", "slow", 200
    config.base.data.image_size, config.base.save_every_s = 32, 0.0
    config.base.single.train.losses.weighted_iou_bce.window = 5
    config.base.single.train.epochs = 4
    unet = config.methods["unet"]["changes"]
    methods = {
        "slow": {"title": "slow", "changes": [*unet, ("single.train.optimizer.learning_rate", 1e-3)]},
        "broken": {"title": "broken", "changes": [*unet, ("single.train.optimizer.learning_rate", 1e38)]},
        "fast": {"title": "fast", "changes": [*unet, ("single.train.optimizer.learning_rate", 1e-2)]},
    }
    return common.with_methods(config, methods)
