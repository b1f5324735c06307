"""The config of a run as typed, frozen sections."""

from ssinfnet_jax.config.fields import Range, check_options, choices, plain, read, types_of
from ssinfnet_jax.config.training import (
    LEARNER,
    Augmentation,
    GameOptions,
    Lookahead,
    NotNegative,
    Optimizer,
    Phase,
    Positive,
    Pretrain,
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
