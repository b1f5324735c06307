"""Effect of pretraining on the lesion: all weights transferred, the encoder only, or none; with few and all labels.

python -m launch.experiment --config=configs/experiments/pretraining.py:SIZE --workdir=DIR [--data_dir=FOLDER]

With few labels the single network learns from a fifth of the labeled slices (a third of the generated ones) in the same
number of updates. An official test part is split like the rest.
"""

import ml_collections

from configs.experiments import common


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `common.SIZES`."""
    config = common.get_config("pretraining", size, "Effect of pretraining on the lesion")
    config.network, config.reference, config.base.multi = "single", "scratch", None
    config.base.data.splits.official_test = False
    folds = [fold for fold in range(config.base.data.splits.num_folds) if fold not in config.folds]
    epochs = config.base.single.train.epochs
    config.data = {
        "all_labels": {"title": "all labels", "changes": [("data.splits.val_fold", ())]},
        "few_labels": {
            "title": f"labels of one fold in {len(folds)}",
            "changes": [("data.splits.val_fold", tuple(folds[1:])), ("single.train.epochs", epochs * len(folds)),
                        ("single.train.validate_every_epochs", epochs * len(folds))],
        },
    }  # fmt: skip
    methods = {
        "scratch": {"title": "no pretraining", "changes": [common.SCRATCH["single"]]},
        "encoder": {"title": "encoder pretrained", "changes": [("single.train.transfer", ("encoder",))]},
        "all": {"title": "all pretrained", "changes": []},
    }
    return common.with_methods(config, methods)
