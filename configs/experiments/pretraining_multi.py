"""Effect of pretraining on the multi network: inpainting by a path of its own, or by the one that segments; or none.

python -m launch.experiment --config=configs/experiments/pretraining_multi.py:SIZE --workdir=DIR [--data_dir=FOLDER]

In the published code inpainting has its own expanding path, so pretraining never reaches the one that segments; the
paper's text says that all weights but the last layer's are transferred (docs/networks.md). All methods get the priors
of the same pretrained single network. `longer` spends the time of the pretraining on more updates. "One
path": one expanding path segments and inpaints; the last two methods transfer one half of that network alone.
"""

import ml_collections

from configs.experiments import common

CONTRACTING = tuple(f"down_{level}" for level in range(5))
LONGER = 4  # times the updates: in the ablation, a pretraining took 2.4 to 3.9 times as long as a training


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `common.SIZES`."""
    config = common.get_config("pretraining_multi", size, "Effect of pretraining on the multi network")
    config.reference = "scratch"
    scratch = common.SCRATCH["multi"]
    shared = common.model("multi", config.base.multi.model.name, config.base, shared_up=True)
    methods = {
        "scratch": {"title": "no pretraining", "changes": scratch},
        "longer": {
            "title": f"no pretraining, {LONGER}x longer",
            "changes": [*scratch, ("multi.train.epochs", LONGER * config.base.multi.train.epochs)],
        },
        "inpainted": {"title": "pretrained", "changes": []},
        "shared_scratch": {"title": "one path, no pretraining", "changes": [*scratch, *shared]},
        "shared_inpainted": {"title": "one path, pretrained", "changes": shared},
        "shared_contracting": {
            "title": "one path, encoder only",
            "changes": [*shared, ("multi.train.transfer", CONTRACTING)],
        },
        "shared_expanding": {
            "title": "one path, decoder only",
            "changes": [*shared, ("multi.train.transfer", ("up",))],
        },
    }
    return common.with_methods(config, methods)
