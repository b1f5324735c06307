"""Ablation of the multi network (the paper's table S7): all eight combinations of inpainting, focal loss, lookahead.

python -m launch.experiment --config=configs/experiments/ablation.py:SIZE --workdir=DIR [--data_dir=FOLDER]

All eight get the priors of the same pretrained single network and have the same layers.
"""

import itertools

import ml_collections

from configs.experiments import common

FACTORS = {  # name: the changes that remove it
    "inpainting": common.SCRATCH["multi"],
    "focal": common.PLAIN[:1],
    "lookahead": common.PLAIN[1:],
}


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `common.SIZES`."""
    config = common.get_config("ablation", size, "Inpainting, focal loss and lookahead, with and without")
    config.reference = "none"
    methods = {}
    for present in itertools.product((False, True), repeat=len(FACTORS)):
        factors = dict(zip(FACTORS, present, strict=True))
        name = "_".join(factor for factor, there in factors.items() if there) or "none"
        methods[name] = {
            "title": " + ".join(factor for factor, there in factors.items() if there) or "none of them",
            "changes": [change for factor, there in factors.items() if not there for change in FACTORS[factor]],
            "factors": factors,
        }
    return common.with_methods(config, methods)
