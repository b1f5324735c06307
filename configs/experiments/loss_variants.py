"""Every line of configs/losses.py as the loss of the multi network, all else the same.

python -m launch.experiment --config=configs/experiments/loss_variants.py:SIZE --workdir=DIR [--data_dir=FOLDER]

A new line in the table adds a method.
"""

import ml_collections

from configs.experiments import common
from configs.losses import LOSSES, losses


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `common.SIZES`."""
    config = common.get_config("loss_variants", size, "Losses of the multi network")
    config.reference = "focal"
    methods = {name: {"title": name, "changes": [("multi.train.losses", losses(name))]} for name in LOSSES}
    return common.with_methods(config, methods)
