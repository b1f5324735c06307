"""Sizes of the experiments, and the networks that they compare.

At the size `folds` the single network is pretrained once, on slices without labels alone, and all folds start from it:

for N in 100 400 1600; do python -m launch.pipeline --config=configs/covid_semiseg.py:small --data_dir=FOLDER \\
    --workdir=runs/inpainted_$N --config.data.splits.test_fold='()' --config.single.pretrain.max_labeled=0 \\
    --config.single.pretrain.max_unlabeled=$N --stages=prepare,pretrain_single; done

Phases are counted in epochs, so fewer slices need more of them for as many updates (`--config.single.pretrain.phases`).
"""

from collections.abc import Sequence
from typing import Any

import ml_collections

from configs import covid_semiseg, ct_phantom, recommended
from configs.losses import losses

SIZES = {
    "tiny": (ct_phantom, "tiny"),  # generated slices; a smoke test
    "demo": (ct_phantom, "demo"),
    "cpu": (covid_semiseg, "cpu"),  # public slices; an hour or two on two cores
    "folds": (covid_semiseg, "small"),  # public slices, all folds, two seeds, most methods at the better of two rates
    "gpu": (covid_semiseg, "gpu"),  # at 352x352
    "full": (covid_semiseg, "full"),  # the paper's 2000 epochs of pretraining
}
# Plain training: cross-entropy without lookahead.
PLAIN = [("multi.train.losses", losses("bce")), ("multi.train.optimizer.lookahead", None)]
SCRATCH = {which: [(f"{which}.pretrain", None), (f"{which}.train.initial", "")] for which in ("single", "multi")}
INPAINTED = "runs/inpainted_{}/pretrain_single/model"


def get_config(name: str, size: str | None, title: str) -> ml_collections.ConfigDict:
    """An experiment without methods: base config, one dataset, one fold, one seed."""
    size, (file, variant) = recommended.choose(SIZES, size, f"configs/experiments/{name}.py")
    base = file.get_config(variant)
    if size == "cpu":
        _shorten(base)
    if file is ct_phantom:
        base.multi.train.losses = losses("focal")
    whole = size == "folds"
    if whole:
        base.single.pretrain, base.single.train.initial = None, INPAINTED.format(1600)
    return ml_collections.ConfigDict(
        {
            "name": f"{name}:{size}",
            "title": title,
            "task": "train",
            "network": "multi",  # the network to compare: "single", "multi" or "both"
            "reference": "ssinfnet",  # the method that the others are compared with
            "base": base,
            "methods": {},  # see `with_methods`
            "order": (),
            "data": {"default": {"title": " + ".join(name for name, _ in base.data.datasets), "changes": []}},
            "folds": tuple(range(base.data.splits.num_folds)) if whole else (0,),
            "seeds": (0, 1) if whole else (0,),
            # p values are adjusted over the metrics too; with few slices, name only the metric of interest.
            "compare": {
                "test": "wilcoxon", "num_draws": 10_000,
                "metrics": ("dice",) if whole else ("dice", "iou", "recall", "precision", "auc"),
            },
        }
    )  # fmt: skip


def with_methods(
    config: ml_collections.ConfigDict, methods: dict[str, dict], rates: Sequence[float] = (1.0, 2.0)
) -> ml_collections.ConfigDict:
    """The experiment with its methods in this order; a ConfigDict sorts its keys.

    With several folds and seeds, each method is run at `rates`, multiples of the base's learning rate, and is judged
    with the best one of the other folds: lookahead halves the steps, pretrained weights may want smaller ones.
    """
    if config.name.endswith(":folds") and len(config.folds) > 1:
        key = f"{'single' if config.network == 'single' else 'multi'}.train.optimizer.learning_rate"
        rate = config.base[key]
        settings = {f"rate_{value:.0e}": [(key, value)] for value in (factor * rate for factor in rates)}
        methods = {name: {**method, "settings": settings} for name, method in methods.items()}
    config.methods, config.order = methods, tuple(methods)
    return config


def model(which: str, name: str, base: ml_collections.ConfigDict, **options: Any) -> list[tuple[str, Any]]:
    """Changes that use network `name`, at the base's width, as the single or the multi network."""
    section = base[which]
    shared = {key: section.model.options[key] for key in ("width", "dtype") if key in section.model.options}
    if which == "single" and name != section.model.name:
        shared["width"] = base.multi.model.options.width  # a U-Net costs six times as much as InfNet
    changes = [(f"{which}.model", {"name": name, "options": {**shared, **options}})]
    if name in ("unet", "fcn8"):
        biases = -2.0 if which == "single" else (2.0, -2.5, -3.0)
        changes += [*SCRATCH[which], (f"{which}.train.head_biases", {"head/conv/bias": biases})]
    return changes


def systems(base: ml_collections.ConfigDict) -> dict[str, dict]:
    """U-Net, SInfNet and SSInfNet as systems of a single and a multi network, with their changes."""
    plain = [*SCRATCH["single"], *SCRATCH["multi"], *PLAIN]
    unet = [*model("single", "unet", base), *model("multi", "unet", base, num_classes=3)]
    return {
        "unet": {"title": "U-Net", "changes": [*plain, *unet]},
        "sinfnet": {"title": "SInfNet", "changes": [*plain, *model("multi", "multi_infnet", base)]},
        "ssinfnet": {"title": "SSInfNet", "changes": []},
    }


def _shorten(base: ml_collections.ConfigDict) -> None:
    """160x160 instead of 192x192 and fewer epochs: three grids take two hours."""
    base.data.image_size = 160
    base.single.train.losses.weighted_iou_bce.window = 15
    base.single.train.epochs, base.multi.train.epochs = 100, 60
    base.multi.pretrain.phases = (("inpaint_random", 12), ("coach", 3), ("inpaint_coach", 6))
