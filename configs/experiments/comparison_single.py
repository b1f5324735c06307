"""Lesion segmentation by three networks (the paper's figure 3A, B): U-Net, SInfNet and, with pretraining, SSInfNet.

python -m launch.experiment --config=configs/experiments/comparison_single.py:SIZE --workdir=DIR [--data_dir=FOLDER]

At the size `folds`, SInfNet and SSInfNet are those of `pretraining.py:folds` with 40 labeled slices (`--share=DIR`),
and the U-Net has half their width.
"""

import ml_collections

from configs.experiments import common, pretraining


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `common.SIZES`."""
    config = pretraining.share(common.get_config("comparison_single", size, "Lesion segmentation by three networks"))
    config.network = "single"
    config.base.multi = None
    base = common.get_config("comparison_single", size, "").base
    narrow = {"width": 0.125} if size == "folds" else {}  # at InfNet's width, it costs six times as much
    methods = {
        "unet": {"title": "U-Net", "changes": common.model("single", "unet", base, **narrow)},
        "sinfnet": {"title": "SInfNet", "changes": common.SCRATCH["single"]},
        "ssinfnet": {"title": "SSInfNet", "changes": []},
    }
    return common.with_methods(config, methods)
