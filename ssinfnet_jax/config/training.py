"""The training sections of a config."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from ssinfnet_jax.config.fields import Open, Range, Text

BatchSize = Annotated[int, Range("[1, inf)", 16)]
Fraction = Annotated[float, Range("[0, 1]", 0.2)]
InsideUnit = Annotated[float, Range("(0, 1)", 0.5)]
Decay = Annotated[float, Range("[0, 1)", 0.9)]
NotNegative = Annotated[float, Range("[0, inf)", 1.0)]
Positive = Annotated[float, Range("(0, inf)", 1.0)]
Folder = Annotated[str, Text("runs/demo/train_single/model")]
Schedules = Literal["constant", "cosine", "steps"]
Rate = Annotated[float, Range("(0, inf)", 0.001)]
WarmupSteps = Annotated[int, Range("[0, inf)", 0)]
StepEpochs = tuple[Annotated[float, Range("[0, inf)", 40)], ...]
Factor = Annotated[float, Range("(0, inf)", 0.1)]
# Name -> {"fn": "module:function", "weight", "maps": {map: weight}, hyper-parameters}; the total is their sum
# (`losses.compose`).
Losses = Mapping[
    str,
    Annotated[
        Mapping[str, Any],
        Open(
            {"fn": Annotated[str, Text("segmentation:bce")], "weight": NotNegative, "maps": Mapping[str, NotNegative]},
            ("fn",),
        ),
    ],
]
# Options of optax's functions; numbers of any other option need only be finite.
OPTIMIZER_OPTIONS = {
    "momentum": Decay | None,
    "b1": Decay,
    "b2": Decay,
    "eps": Annotated[float, Range("(0, inf)", 1e-8)],
    "eps_root": Annotated[float, Range("[0, inf)", 0.0)],
}


@dataclasses.dataclass(frozen=True)
class Lookahead:
    """Slow weights that follow the fast ones (Zhang et al. 2019, arXiv:1907.08610).

    Attributes:
      k: updates between moves of the slow weights.
      alpha: fraction of the way that they move towards the fast ones.
      sync_first: they move at updates 1, k + 1, 2k + 1, ..., as in the published code, instead of k, 2k, ...
    """

    k: Annotated[int, Range("[1, inf)", 5)]
    alpha: Annotated[float, Range("(0, 1]", 0.5)]
    sync_first: bool = False


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer with its learning rate.

    Attributes:
      name: of the optimizer (`training.steps.optim`).
      learning_rate: the peak rate.
      schedule: constant, falling to 0 along a cosine, or falling in steps.
      warmup_steps: updates of a linear rise from 0; they count as part of the training.
      epochs: at which the rate is multiplied by `factor`, for the schedule "steps".
      factor: see `epochs`.
      weight_decay: the optimizer's own, or L2 added to the gradient if it has none.
      clip_value: bound on each element of the gradient.
      clip_norm: bound on the gradient's global norm.
      lookahead: see `Lookahead`.
      options: all other keys, passed to the optimizer's function.
    """

    name: Annotated[str, Text("adam")]
    learning_rate: Rate
    schedule: Schedules = "constant"
    warmup_steps: WarmupSteps = 0
    epochs: StepEpochs | None = None
    factor: Factor = 0.1
    weight_decay: Annotated[float, Range("[0, inf)", 0.0005)] = 0.0
    clip_value: Annotated[float, Range("(0, inf)", 0.5)] | None = None
    clip_norm: Annotated[float, Range("(0, inf)", 1.0)] | None = None
    lookahead: Lookahead | None = None
    options: Annotated[Mapping[str, Any], Open(OPTIMIZER_OPTIONS, is_rest=True)] = dataclasses.field(
        default_factory=dict
    )

    def __post_init__(self):
        if self.schedule == "steps" and self.epochs is None:
            raise ValueError("epochs must be given with schedule 'steps': when the rate falls, such as [40, 80].")


@dataclasses.dataclass(frozen=True)
class RateChanges:
    """A phase's changes to the learner's optimizer, whose state carries over from phase to phase.

    Attributes:
      learning_rate, schedule, warmup_steps, epochs, factor: as in `Optimizer`; None: unchanged.
    """

    learning_rate: Rate | None = None
    schedule: Schedules | None = None
    warmup_steps: WarmupSteps | None = None
    epochs: StepEpochs | None = None
    factor: Factor | None = None


# kind of phase: who learns. Masks are random or the coach's.
LEARNER = {"inpaint_random": "inpainter", "inpaint_coach": "inpainter", "coach": "coach"}


class Phase(NamedTuple):
    """A stretch of pretraining in which one player learns; [kind, epochs] or [kind, epochs, changes] in a config.

    Attributes:
      kind: a key of `LEARNER`.
      epochs: its length.
      changes: see `RateChanges`.
    """

    kind: Literal[*LEARNER]
    epochs: Annotated[float, Range("(0, inf)", 100)]
    changes: RateChanges = RateChanges()


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes to a slice (`training.steps.augment`); the defaults change nothing.

    Attributes:
      flip_left_right, flip_up_down: each with probability 1/2.
      quarter_turns: rotation by a random multiple of 90 degrees.
      scale: (low, high), or one number for both: side of the region that is cut out and enlarged, as a fraction of the
        slice, drawn per axis with at most 10 % between the axes; above 1 the slice shrinks and its border is repeated.
      rotation: largest angle of rotation about the centre, in degrees; the border is repeated outside.
      elastic: largest standard deviation of a smooth random displacement, as a fraction of the slice: normal at
        8 x 8 points, bilinear in between.
      crop: side of a window cut from the slice, as a fraction, rounded to a multiple of 32 pixels.
      crop_focus: probability that the window is centred, as far as possible, on a random pixel of a random class that
        the slice has.
      prior_dropout: probability that the prior is 1/2 everywhere, which says nothing.
      cutout_probability: probability that a rectangle is blackened and its labels cleared.
      cutout_size: largest side of the rectangle, as a fraction of the slice.
      brightness, contrast: largest shift, and largest relative change about the slice's mean.
      gamma: largest |log| of the exponent.
      noise: largest standard deviation of added normal noise.
      blur: largest standard deviation of a Gaussian blur, in pixels.
    """

    flip_left_right: bool = False
    flip_up_down: bool = False
    quarter_turns: bool = False
    scale: Annotated[float, Range("(0, 10]", 0.8)] | tuple[Annotated[float, Range("(0, 10]", 0.8)], ...] = (1.0, 1.0)
    rotation: Annotated[float, Range("[0, 180]", 10)] = 0.0
    elastic: Annotated[float, Range("[0, 1]", 0.05)] = 0.0
    crop: Annotated[float, Range("(0, 1]", 0.6)] = 1.0
    crop_focus: Fraction = 0.0
    prior_dropout: Fraction = 0.0
    cutout_probability: Fraction = 0.0
    cutout_size: Fraction = 0.5
    brightness: Annotated[float, Range("[0, 1]", 0.1)] = 0.0
    contrast: Fraction = 0.0
    gamma: Annotated[float, Range("[0, 5]", 0.3)] = 0.0
    noise: Annotated[float, Range("[0, 1]", 0.05)] = 0.0
    blur: Annotated[float, Range("[0, 100]", 1.0)] = 0.0

    def __post_init__(self):
        scale = self.scale if isinstance(self.scale, tuple) else (self.scale, self.scale)
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be (low, high) with 0 < low <= high, found {self.scale}; try (0.8, 1.0).")
        object.__setattr__(self, "scale", scale)


@dataclasses.dataclass(frozen=True)
class GameOptions:
    """Settings of the adversarial pretraining (`training.steps.adversarial_step`).

    Attributes:
      keep_ratio: fraction of the regions that are kept.
      soft_alpha: steepness of the coach's mask while it learns.
      straight_through: the forward pass uses the coach's binary mask, the gradient its soft one.
      cut_input_gradient: the coach learns only from where the error is counted, not through the inpainter's input, as
        in the published code of the multi network.
    """

    keep_ratio: Annotated[float, Range("(0, 1)", 0.75)] = 0.75
    soft_alpha: Positive = 1.0
    straight_through: bool = False
    cut_input_gradient: bool = False


@dataclasses.dataclass(frozen=True)
class Pretrain:
    """The adversarial inpainting of a network.

    Attributes:
      initial: model folder to start from; "pretrained": the one in the package; "": fresh weights.
      batch_size: slices per update over all devices.
      phases: see `Phase`.
      coach: options of the coach network.
      options: see `GameOptions`.
      inpainter_losses, coach_losses: see `Losses`.
      inpainter_optimizer, coach_optimizer: see `Optimizer`.
      augmentation: see `Augmentation`.
      num_examples: held-out slices whose inpainting is saved as pictures.
      validate_every_epochs: in addition to the end of every phase; None: only then.
      keep: the last weights, or the best on held-out slices in the last phase in which the inpainter learns.
      log_every: updates between rows of metrics.
      max_labeled, max_unlabeled: slices with and without labels to learn from, as `Train.max_slices`; the multi
        network learns from labeled ones alone.
    """

    initial: Folder
    batch_size: BatchSize
    phases: tuple[Phase, ...]
    coach: Annotated[
        Mapping[str, Any],
        Open({"width": Annotated[float, Range("(0, 16]", 1.0)], "latent": Annotated[int, Range("[1, inf)", 100)]}),
    ]
    options: GameOptions
    inpainter_losses: Losses
    coach_losses: Losses
    inpainter_optimizer: Optimizer
    coach_optimizer: Optimizer
    augmentation: Augmentation
    num_examples: Annotated[int, Range("[1, inf)", 4)]
    validate_every_epochs: Annotated[float, Range("(0, inf)", 10)] | None
    keep: Literal["last", "best"]
    log_every: Annotated[int, Range("[1, inf)", 20)]
    max_labeled: Annotated[int, Range("[0, inf)", 40)] | None = None
    max_unlabeled: Annotated[int, Range("[0, inf)", 400)] | None = None

    def __post_init__(self):
        if "inpainter" not in {LEARNER[phase.kind] for phase in self.phases}:
            found = [[phase.kind, phase.epochs] for phase in self.phases]
            raise ValueError(f"phases must have one in which the inpainter learns, found {found}; add inpaint_random.")
        for index, phase in enumerate(self.phases):
            try:
                self.learner_in(phase)
            except ValueError as error:
                raise ValueError(f"phases.{index}.2.{error}") from error

    def learner_in(self, phase: Phase) -> Optimizer:
        """The learner's optimizer in a phase, with the phase's changes."""
        own = {"inpainter": self.inpainter_optimizer, "coach": self.coach_optimizer}[LEARNER[phase.kind]]
        changes = {name: value for name, value in vars(phase.changes).items() if value is not None}
        return dataclasses.replace(own, **changes)


_Bias = Annotated[float, Range("(-inf, inf)", -2.0)]


@dataclasses.dataclass(frozen=True)
class Train:
    """The supervised training of a network.

    Attributes:
      initial: model folder to start from without pretraining; as in `Pretrain`.
      transfer: modules to take from the pretrained network, such as ("encoder",); None: all but the last layers.
      epochs: passes over the labeled slices; 0: the network in `initial` as it is, whatever network the config names.
      batch_size: slices per update over all devices.
      augmentation: see `Augmentation`.
      scales: factors on the side of the slices, one per update; each compiles its own program.
      scale_order: at random, or in turn for equal stretches of the training, such as coarse before fine.
      label_smoothing: s; targets t become t (1 - s) + s / 2.
      averaging: decay of the averaged weights, which are then the result; 0: none.
      oversample: repeats slices of rarer classes.
      validate_every_epochs: None: only at the end.
      patience_epochs: stops at the first validation after this long without an improvement; None: never.
      keep: the last weights, or the best on the validation split.
      log_every: updates between rows of metrics.
      losses: see `Losses`.
      head_biases: path of a bias -> its initial value, one number or one per channel, in log-odds.
      optimizer: see `Optimizer`.
      max_slices: labeled slices to learn from, those of the first patients in the order of a hash; None: all.
    """

    initial: Folder
    transfer: tuple[str, ...] | None
    epochs: Annotated[float, Range("[0, inf)", 500)]
    batch_size: BatchSize
    augmentation: Augmentation
    scales: tuple[Annotated[float, Range("(0, inf)", 0.75)], ...]
    scale_order: Literal["random", "in_turn"]
    label_smoothing: Annotated[float, Range("[0, 1)", 0.1)]
    averaging: Annotated[float, Range("[0, 1)", 0.995)]
    oversample: bool
    validate_every_epochs: Annotated[float, Range("(0, inf)", 10)] | None
    patience_epochs: Annotated[float, Range("(0, inf)", 50)] | None
    keep: Literal["last", "best"]
    log_every: Annotated[int, Range("[1, inf)", 20)]
    losses: Losses
    head_biases: Mapping[str, _Bias | tuple[_Bias, ...]]
    optimizer: Optimizer
    max_slices: Annotated[int, Range("[1, inf)", 10)] | None = None

    def __post_init__(self):
        if not self.epochs and not self.initial:
            raise ValueError(
                "epochs is 0, which takes a trained network as it is; name its folder as initial, or train some epochs."
            )
        if not self.scales:
            raise ValueError("scales must have at least one factor, found (); give (1.0,) for one size.")
