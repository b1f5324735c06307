"""Presets: what the paper says, what its published code does, and what we recommend (configs/recommended.py).

Each changes a config in place. Comments give the paper's figures, and where its text and code disagree.
"""

import ml_collections

from configs.losses import losses


def recommended(config: ml_collections.ConfigDict) -> None:
    """Changes nothing: configs start from the recommended tree."""


def paper(config: ml_collections.ConfigDict) -> None:
    """The paper's text, as far as it goes."""
    for which in ("single", "multi"):
        section = config[which]
        # Phases as recommended: the text's add up to 200 + 200 + 1800 = 2200 epochs, but it states 2000 in all.
        # Rate 0.1, then 0.01 from epoch 40, 0.001 from 80, 0.0001 from 90, in every phase; no clipping.
        del section.pretrain.inpainter_optimizer.clip_value
        section.pretrain.options.straight_through = False
        # Crops of 128 of 352 pixels.
        section.pretrain.augmentation.scale = (0.364, 0.364)
        section.train.augmentation = {
            "flip_left_right": True, "flip_up_down": True, "scale": (0.8, 0.8), "cutout_probability": 0.5,
            "cutout_size": 0.5,
        }  # fmt: skip
        section.train.optimizer.schedule = "constant"
    config.single.train.scales = (0.75, 1.0, 1.25)
    # "The weights from the trained networks, except for the last layer, are transferred": so inpainting must train all
    # of them, without an expanding path of its own.
    config.multi.model.options.shared_up = True
    config.multi.train.losses = losses("focal")
    config.multi.prior_source = "predicted"
    # Three regressions per pair; equation 15: residuals of mediators do not correlate.
    config.mediation.rule = "paper"
    config.mediation.residual_covariances = False


def published_code(config: ml_collections.ConfigDict) -> None:
    """The authors' code, quirks included, for comparison with their checkpoints."""
    paper(config)
    # The cross-entropy is averaged before it is weighted, so the weight cancels.
    config.single.train.losses = losses("weighted_iou_bce_published", "edge")
    # Segmentation and inpainting have separate expanding paths, so pretraining does not train the former's.
    config.multi.model.options.shared_up = False
    config.multi.train.optimizer.lookahead.sync_first = True
    config.multi.prior_source = "ground_truth"
    config.multi.pretrain.options.cut_input_gradient = True
    config.data.interpolate_labels = True
    for which in ("single", "multi"):
        config[which].train.head_biases = {}
        # The table of rates has rows for 11 of the 19 phases, all 1e-5 but the first; then the code stops.
        low = {"learning_rate": 1e-5, "schedule": "constant"}
        phases = config[which].pretrain.phases
        config[which].pretrain.phases = (
            phases[0], *[(kind, epochs, low) if kind != "coach" else (kind, epochs) for kind, epochs in phases[1:11]]
        )  # fmt: skip


PRESETS = {"paper": paper, "published_code": published_code, "recommended": recommended}
