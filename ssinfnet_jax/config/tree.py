"""The whole config: the one place that defines its keys and their values.

A config file returns an ml_collections.ConfigDict (configs/recommended.py); `read_config` turns it into a `Config`
before the first stage runs. A fork that adds a key adds a field here, or in `config.training`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from ssinfnet_jax.config import fields
from ssinfnet_jax.config.fields import Open, Range, Text
from ssinfnet_jax.config.training import Fraction, InsideUnit, Pretrain, Train

Seed = Annotated[int, Range("[0, 2147483647]", 0)]
_Fold = Annotated[int, Range("[0, inf)", 0)]
_Names = tuple[Annotated[str, Text("ct_phantom/tiny")], ...]


class Dataset(NamedTuple):
    """A dataset and its variant, a list [name, variant] in a config."""

    name: Annotated[str, Text("ct_phantom")]
    variant: Annotated[str, Text("default")]


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """Input = (image - mean) / std, the same in pretraining, training and inference.

    Attributes:
      mean, std: of the image in [0, 1].
    """

    mean: Annotated[float, Range("[-1000, 1000]", 0.45)]
    std: Annotated[float, Range("[0.001, 1000]", 0.27)]


@dataclasses.dataclass(frozen=True)
class Splits:
    """Which patients are held out: by fractions, by folds of equal size, or by dataset (`data.prepare.assign_splits`).

    Attributes:
      seed: of the assignment of patients.
      official_test: use an official test part as the test split; False: split its slices like the rest.
      fractions: of train, val and test; adding patients does not change another patient's split.
      num_folds: number of folds.
      test_fold, val_fold: the folds held out for test and validation, one or several.
      test_datasets: "name/variant" of datasets to test on; the others are for training.
    """

    seed: Seed
    official_test: bool = True
    fractions: Mapping[Literal["train", "val", "test"], Fraction] | None = None
    num_folds: Annotated[int, Range("[2, inf)", 5)] | None = None
    test_fold: _Fold | tuple[_Fold, ...] = ()
    val_fold: _Fold | tuple[_Fold, ...] = ()
    test_datasets: _Names | None = None

    def __post_init__(self):
        for name in ("test_fold", "val_fold"):
            value = getattr(self, name)
            object.__setattr__(self, name, value if isinstance(value, tuple) else (value,))


@dataclasses.dataclass(frozen=True)
class Data:
    """The slices.

    Attributes:
      datasets: to use, see `Dataset`.
      image_size: pixels per side of the slices that the networks see.
      normalisation: see `Normalisation`.
      splits: see `Splits`.
      pretrain_holdout: fraction of the patients without labels that is held out to validate the pretraining.
      interpolate_labels: resize labels bilinearly, as in the published code, instead of by the nearest pixel.
    """

    datasets: tuple[Dataset, ...]
    image_size: Annotated[int, Range("[16, inf)", 352)]
    normalisation: Normalisation
    splits: Splits
    pretrain_holdout: Annotated[float, Range("[0, 1)", 0.1)]
    interpolate_labels: bool


@dataclasses.dataclass(frozen=True)
class Model:
    """A network.

    Attributes:
      name, options: as for `models.create`.
    """

    name: Annotated[str, Text("infnet")]
    options: Annotated[
        Mapping[str, Any],
        Open({"width": Annotated[float, Range("(0, 16]", 1.0)], "num_classes": Annotated[int, Range("[1, inf)", 3)]}),
    ]


@dataclasses.dataclass(frozen=True)
class Decision:
    """How the probabilities of both networks become labels (`networks.decision`).

    Attributes:
      rule: "likeliest": the likeliest of background, GGO and consolidation by the multi network alone, as in the
        paper; "joint": the single network finds the lesion, the multi network divides it.
      lesion_threshold: on the lesion's probability.
      consolidation_share: share of the lesion's probability above which a pixel is consolidation.
      multi_weight: weight of the multi network in the lesion's probability.
      least_share: of the lesion in a slice; a class with less than this share of it counts as the other class.
    """

    rule: Literal["likeliest", "joint"] = "likeliest"
    lesion_threshold: InsideUnit = 0.5
    consolidation_share: InsideUnit = 0.5
    multi_weight: Annotated[float, Range("[0, 1]", 0.5)] = 0.0
    least_share: Annotated[float, Range("[0, 0.5)", 0.05)] = 0.0


@dataclasses.dataclass(frozen=True)
class Single:
    """The network that finds the lesion.

    Attributes:
      model: see `Model`.
      pretrain: see `Pretrain`; None: trained from scratch, or from `train.initial`.
      train: see `Train`.
    """

    model: Model
    pretrain: Pretrain | None
    train: Train


@dataclasses.dataclass(frozen=True)
class Multi:
    """The network that divides the lesion.

    Attributes:
      model, pretrain, train: as for the single network.
      prior_source: source of the priors of training slices: the single network, which has seen their labels, as in the
        paper; single networks that have not; or the labels, as in the published code.
      prior_folds: number of trainings for "cross_fitted".
      decision: see `Decision`.
    """

    model: Model
    prior_source: Literal["predicted", "cross_fitted", "ground_truth"]
    prior_folds: Annotated[int, Range("[2, inf)", 5)]
    decision: Decision
    pretrain: Pretrain | None
    train: Train


@dataclasses.dataclass(frozen=True)
class Phenotypes:
    """The phenotypes of the segmented cohort.

    Attributes:
      by_patient: how the slices of a patient become one row.
      settings: changes to `analysis.phenotypes.EIGHT_BIT`, such as {"bin_width": 4.0, "classes": {...}}.
    """

    by_patient: Literal["slice_mean", "area_weighted", "merged"]
    settings: Annotated[Mapping[str, Any], Open({})]


@dataclasses.dataclass(frozen=True)
class Mediation:
    """The mediation analysis (`analysis.mediation.analyse`).

    Attributes:
      exposures: columns whose effect on the outcome is decomposed.
      mediators: a regular expression for column names.
      rule: a pair is significant by its indirect effect, or by the paper's three regressions.
      alpha: level of the tests.
      max_correlation: of two mediators with |r| above this, one is dropped.
      prefer: features or columns to keep where two correlate.
      adjust: method of adjusting p values.
      family: p values are adjusted over all pairs, or over the pairs of each exposure.
      covariates: columns adjusted for in every model.
      paths: the path model leads from an exposure to the mediators selected for it, or to all selected ones.
      residual_covariances: residuals of mediators may correlate in the path model.
      link: of the regression behind the natural effects.
      interaction: natural effects let the exposure change the effect of the mediator.
      robust: standard errors allow for unequal variances.
      sets: sets of mediators for joint effects: all, region, class, or name=expression.
      screening: select mediators in a model of all of them.
      fdr: false discovery rate of the screening.
      levels: severity levels, lowest first, for proportional odds; "Mild|Regular" joins two; none: a binary outcome.
      moderator: column that may change the paths of the indirect effect; "": none.
      moderated: the moderated paths: first (exposure to mediator), second (mediator to outcome), both, or all (also
        the direct effect).
      missing: the path model drops patients with missing values, or uses their other values (fiml).
      imputations: number of imputations of missing values for models of one mediator; 0: none.
      imputation_cycles: rounds of the chained equations in each imputation.
      bootstrap_draws: resamples for the intervals; 0: none.
      seed: of the resamples and imputations.
    """

    exposures: tuple[Annotated[str, Text("age")], ...]
    mediators: Annotated[str, Text("^ggo_")]
    rule: Literal["indirect", "paper"] = "indirect"
    alpha: Annotated[float, Range("(0, 1)", 0.05)] = 0.05
    max_correlation: Annotated[float, Range("(0, 1]", 0.8)] = 0.8
    prefer: tuple[Annotated[str, Text("Entropy")], ...] = ("PixelSurface", "Entropy", "Imc1")
    adjust: Literal["fdr_bh", "fdr_by", "holm", "bonferroni", "none"] = "fdr_bh"
    family: Literal["all", "exposure"] = "all"
    covariates: tuple[Annotated[str, Text("age")], ...] = ()
    paths: Literal["selected", "all"] = "selected"
    residual_covariances: bool = True
    link: Literal["logit", "probit"] = "logit"
    interaction: bool = False
    robust: bool = False
    sets: tuple[Annotated[str, Text("region")], ...] = ()
    screening: bool = False
    fdr: Annotated[float, Range("(0, 1)", 0.05)] = 0.05
    levels: tuple[Annotated[str, Text("Severe")], ...] = ()
    moderator: Annotated[str, Text("gender")] = ""
    moderated: Literal["first", "second", "both", "all"] = "first"
    missing: Literal["listwise", "fiml"] = "listwise"
    imputations: Annotated[int, Range("[0, inf)", 20)] = 0
    imputation_cycles: Annotated[int, Range("[2, inf)", 10)] = 10
    bootstrap_draws: Annotated[int, Range("[0, inf)", 1000)] = 1000
    seed: Seed = 0

    def __post_init__(self):
        if self.imputations == 1:
            raise ValueError("imputations must be 0 or at least 2, found 1; one imputation hides its own uncertainty.")
        if self.missing == "fiml" and self.robust:
            raise ValueError("robust errors cannot be combined with missing='fiml'; choose one of the two.")


@dataclasses.dataclass(frozen=True)
class Config:
    """A run.

    Attributes:
      name: a label, for people.
      seed: of all randomness in training.
      save_every_s: seconds between checkpoints.
      data: see `Data`.
      single: see `Single`.
      multi: see `Multi`; None: the lesion alone.
      phenotypes: see `Phenotypes`.
      mediation: see `Mediation`.
      parallel: how steps are divided among the devices (`networks.parallel`); the result is the same.
      fsdp_min_size: with "jit", arrays of the state with at least this many elements are split over the devices.
    """

    name: Annotated[str, Text("demo")]
    seed: Seed
    save_every_s: Annotated[float, Range("[0, inf)", 600.0)]
    data: Data
    single: Single
    multi: Multi | None
    phenotypes: Phenotypes
    mediation: Mediation
    parallel: Literal["pmap", "jit"] = "pmap"
    fsdp_min_size: Annotated[int, Range("[1, inf)", 65536)] | None = None

    def __post_init__(self):
        if self.parallel == "pmap" and self.fsdp_min_size is not None:
            raise ValueError(
                f"fsdp_min_size={self.fsdp_min_size} splits the state over the devices, which pmap cannot; set "
                "config.parallel to 'jit', or config.fsdp_min_size to None."
            )


def read_config(tree: Mapping[str, Any]) -> Config:
    """Reads a config from a tree of plain data, such as `ConfigDict.to_dict()`.

    Raises: ValueError for the first key that is unknown or missing, or whose value does not fit.
    """
    return fields.read(Config, tree, "config")


def part(config: Any, names: Sequence[str]) -> Any:
    """The same config with only the parts `names`, such as ("data", "single.model"), as attributes."""
    parts: dict[str, list[str]] = {}
    for name in names:
        head, _, below = name.partition(".")
        parts.setdefault(head, []).append(below)
    found = object.__new__(type(config))
    for head, below in parts.items():
        value = getattr(config, head)
        object.__setattr__(found, head, value if "" in below or value is None else part(value, below))
    return found
