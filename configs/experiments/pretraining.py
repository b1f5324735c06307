"""Effect of pretraining on the lesion: all weights transferred, the encoder only, or none; with few and all labels.

python -m launch.experiment --config=configs/experiments/pretraining.py:SIZE --workdir=DIR [--data_dir=FOLDER]

With few labels the single network learns from a fifth of the labeled slices (a third of the generated ones) in the same
number of updates. An official test part is split like the rest. At the size `folds` the number of labels varies, and
`common` has the command of the pretraining.
"""

import ml_collections

from configs.experiments import common

LABELS = (5, 10, 20, 40)  # labeled slices, at size "folds"
LONGER = 2.5  # times the updates, for the fewest labels: five trainings then cost what a pretraining and five do
ALL_LABELS = f"labels_{max(LABELS)}"  # the data with all of them
UNLABELED = (1600,)  # at size "folds"; add 100 and 400 where all of them help


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `common.SIZES`."""
    config = common.get_config("pretraining", size, "Effect of pretraining on the lesion")
    config.network, config.reference, config.base.multi = "single", "scratch", None
    config.base.data.splits.official_test = False
    scratch = {"title": "no pretraining", "changes": common.SCRATCH["single"]}
    if size == "folds":
        return _dose(config, scratch)
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
        "scratch": scratch,
        "encoder": {"title": "encoder pretrained", "changes": [("single.train.transfer", ("encoder",))]},
        "all": {"title": "all pretrained", "changes": []},
    }
    return common.with_methods(config, methods)


def share(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Restricts an experiment to the data with all labels, so that `--share=DIR` finds the networks trained here."""
    if config.name.endswith(":folds"):
        config.data = {ALL_LABELS: get_config("folds").data[ALL_LABELS]}
    return config


def _dose(config: ml_collections.ConfigDict, scratch: dict) -> ml_collections.ConfigDict:
    """Numbers of labels, each with the same number of updates, and the fewest also with more, by method."""
    train = config.base.single.train
    updates = train.epochs * (max(LABELS) // train.batch_size)
    config.data = {
        f"labels_{count:02d}{'_long' if longer > 1 else ''}": {
            "title": f"{count} labeled slices" + (f", {longer:g} times the updates" if longer > 1 else ""),
            "changes": [
                ("single.train.max_slices", count),
                # An epoch's last slices are left out.
                ("single.train.epochs", int(longer * updates) // (count // train.batch_size)),
            ],
        }
        for count, longer in (*((count, 1.0) for count in LABELS), (min(LABELS), LONGER))
    }
    methods = {"scratch": scratch} | {
        f"inpainted_{count}": {
            "title": f"pretrained on {count} slices",
            "changes": [("single.train.initial", common.INPAINTED.format(count))],
        }
        for count in UNLABELED
    }
    return common.with_methods(config, methods)
