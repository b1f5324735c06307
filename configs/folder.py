"""Your own images and masks (docs/own_data.md): `--config=configs/folder.py:finetune --data_dir=FOLDER --workdir=DIR`.

Variants:

- `finetune`: a few epochs from the networks in the package; minutes on two cores for a few scans.
- `train`: fresh weights, at a size for two cores (`covid_semiseg:cpu_scratch`).
- `train_pretrained`: the same, pretrained on all slices, with and without labels, then half as many epochs. On public
  slices, with five labels and one seed, training for longer was better (docs/results.md).
- `evaluate`: no training: the networks in the package, or those that `--config.single.train.initial=FOLDER` and
  `--config.multi.train.initial=FOLDER` name, on all labeled slices. None of them may have been trained on these.

A third of the labeled patients is held out, so that three suffice (`--config.data.splits.num_folds=5`: a fifth), unless
the description has a test part. Without labels of GGO and consolidation only the single network is trained. Other
datasets: `--config.data.datasets='(("mosmed","default"),)'`.
"""

import ml_collections

from configs import covid_semiseg, recommended

VARIANTS = {
    "finetune": {"base": "best_second", "epochs": {"single": 4, "multi": 8}, "rates": {"single": 5e-4, "multi": 2e-4}},
    "train": {"base": "cpu_scratch", "epochs": {"single": 120, "multi": 80}},
    "train_pretrained": {"base": "cpu", "epochs": {"single": 60, "multi": 40}},
    "evaluate": {"base": "best_second", "epochs": {"single": 0, "multi": 0}},
}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """The config of a variant."""
    name, options = recommended.choose(VARIANTS, variant, "configs/folder.py")
    config = covid_semiseg.get_config(options["base"])
    config.name = f"folder:{name}"
    config.data.datasets = (("folder", "default"),)
    config.data.splits = {"seed": 0, "num_folds": 3, "test_fold": (0,), "val_fold": ()}
    for which in ("single", "multi"):
        config[which].train.epochs = options["epochs"][which]
        config[which].train.validate_every_epochs = None
        if options["base"] == "best_second":
            config[which].train.initial = "pretrained"  # in the package
    if name == "finetune":
        _slow_down(config, options["rates"])
    if options["base"] != "best_second":
        _divide_as_best(config)
    if name == "evaluate":
        config.data.splits = {"seed": 0, "official_test": False, "fractions": {"test": 1.0}}
    return config


def _divide_as_best(config: ml_collections.ConfigDict) -> None:
    """The multi network divides the lesions that the single network finds, as in `covid_semiseg:best`."""
    best = covid_semiseg.get_config("best").multi
    config.multi.decision, config.multi.prior_source = best.decision, best.prior_source
    config.multi.train.losses = best.train.losses


def _slow_down(config: ml_collections.ConfigDict, rates: dict[str, float]) -> None:
    """Rates far below those from fresh weights, and no averaging, which is slower than so short a training."""
    for which, rate in rates.items():
        config[which].train.averaging = 0.0
        config[which].train.optimizer.learning_rate = rate
