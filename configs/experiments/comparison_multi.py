"""GGO and consolidation by four systems (the paper's figure 3C, D, table S4): U-Net, FCN8, SInfNet, SSInfNet.

python -m launch.experiment --config=configs/experiments/comparison_multi.py:SIZE --workdir=DIR [--data_dir=FOLDER]

U-Net gets only the slice. The others also get the prior of a single network: SSInfNet of a pretrained one, FCN8 and
SInfNet of one trained from scratch. All but SSInfNet are trained with cross-entropy, without lookahead. At the size
`folds`, all have one learning rate, at which the methods of the ablation (narrower networks) were best, or behind by
0.006 of Dice at most; the single networks are those of `pretraining.py:folds` (`--share=DIR`); and SInfNet is also
trained twice as long, because SSInfNet's pretraining about doubles its time.
"""

import ml_collections

from configs.experiments import common, pretraining


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `common.SIZES`."""
    config = pretraining.share(common.get_config("comparison_multi", size, "GGO and consolidation by four systems"))
    systems = common.systems(config.base)
    plain = systems["sinfnet"]["changes"]
    methods = {
        # The single network is not used, so it may be any.
        "unet": {"title": "U-Net", "changes": [*plain, *common.model("multi", "unet", config.base, num_classes=3)]},
        "fcn8": {"title": "FCN8", "changes": [*plain, *common.model("multi", "fcn8", config.base)]},
        "sinfnet": systems["sinfnet"],
    }
    if config.name.endswith(":folds"):
        longer = [*plain, ("multi.train.epochs", 2 * config.base.multi.train.epochs)]
        methods["sinfnet_long"] = {"title": "SInfNet, twice as long", "changes": longer}
    methods["ssinfnet"] = systems["ssinfnet"]
    return common.with_methods(config, methods, rates=(2.0,))
