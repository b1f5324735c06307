"""The config of a run, as typed sections that cannot be changed."""

from ssinfnet_jax.config.fields import Range, choices, plain, read
from ssinfnet_jax.config.training import (
    Augmentation,
    GameOptions,
    Optimizer,
    Phase,
    Pretrain,
    Teacher,
    Train,
)
from ssinfnet_jax.config.tree import (
    Config,
    Data,
    Decision,
    Mediation,
    Model,
    Multi,
    Normalisation,
    Phenotypes,
    Single,
    Splits,
    part,
    read_config,
)

__all__ = [
    "Augmentation", "Config", "Data", "Decision", "GameOptions", "Mediation", "Model", "Multi", "Normalisation",
    "Optimizer", "Phase", "Phenotypes", "Pretrain", "Range", "Single", "Splits", "Teacher", "Train", "choices", "part",
    "plain", "read", "read_config",
]  # fmt: skip
