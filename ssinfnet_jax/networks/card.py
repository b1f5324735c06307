"""What is known of a trained network beside its weights: `model.json` in its folder."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ssinfnet_jax import models, plug_in, rundir
from ssinfnet_jax.data import ct
from ssinfnet_jax.networks.decision import Decision
from ssinfnet_jax.networks.inputs import Normalisation

FILE = "model.json"
MAX_IMAGE_SIZE = 2048
VIEWS = ("lungs", "frame")
OUTPUTS = {"single": ("maps", "lesion"), "multi": ("classes",)}  # what a network of this role gives


@dataclasses.dataclass(frozen=True)
class NetworkCard:
    """How to apply a network, and where it comes from. What is not known is None or empty.

    Attributes:
      model, options: as for `models.create`.
      image_size: pixels per side of the slices that it was trained on, a multiple of 32.
      normalisation: of its input.
      window_hu: (low, high) of the slices of its training.
      view: "lungs" if they were cut down to the lungs, "frame" if they show the whole field of view.
      task: "segmentation" | "inpainting".
      datasets: names of what it was trained on.
      initial: the model folder that its training started from.
      weights: "last" | "best" of the training.
      fresh: modules that nothing has trained.
      decision: of a multi network, how both networks' probabilities become labels.
      temperature: above 0; what the logits are divided by before they become the probabilities that are shown.
      sha256: of the weights' file, in the small form (`compact`).
      imported: {"file", "sha256"} of the published checkpoint that it was made from.
    """

    model: str
    options: Mapping[str, Any]
    image_size: int | None = None
    normalisation: Normalisation | None = None
    window_hu: tuple[float, float] | None = None
    view: str | None = None
    task: str | None = None
    datasets: Sequence[str] = ()
    initial: str = ""
    weights: str | None = None
    fresh: Sequence[str] = ()
    decision: Decision | None = None
    temperature: float | None = None
    sha256: str | None = None
    imported: Mapping[str, str] | None = None

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> "NetworkCard":
        """The card of a table as `to_json` gives; keys of other versions are passed over.

        Raises: ValueError for a value that cannot be.
        """
        kinds = type(table.get("model")), type(table.get("options"))
        if kinds != (str, dict):
            raise ValueError(f'must name a "model" and its "options", found {kinds}')
        known = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in table.items() if name in known and value is not None}
        for name, parse in (("image_size", _size), ("normalisation", _normalisation), ("window_hu", _window),
                            ("view", _view), ("datasets", _names), ("fresh", _names),
                            ("temperature", _temperature)):  # fmt: skip
            if name in values:
                values[name] = parse(values[name])
        if "decision" in values:
            values["decision"] = Decision.of(values["decision"], '"decision"')
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is not known is left out."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["normalisation"] = self.normalisation and dataclasses.asdict(self.normalisation)
        values["decision"] = self.decision and dataclasses.asdict(self.decision)
        values |= {name: list(values[name]) for name in ("datasets", "fresh")}
        values["window_hu"] = self.window_hu and list(self.window_hu)
        return {name: value for name, value in values.items() if value not in (None, [])}

    @classmethod
    def read(cls, directory: pathlib.Path) -> "NetworkCard":
        """The card of a model folder.

        Raises: FileNotFoundError if there is none, ValueError if it is damaged, or names a network or a backbone of a
          package that cannot be imported; all with the remedy.
        """
        path = directory / FILE
        if not path.is_file() and (directory.parent / "done.json").is_file():
            raise FileNotFoundError(f"No trained network in {directory}: it is gone; {remedy(directory)}")
        if not path.is_file():
            below = " or ".join(str(found.parent) for found in sorted(directory.glob(f"*/{FILE}")))
            give = (
                f"give {below}, which holds one"
                if below
                else "run the stage that makes it (launch.pipeline), or import one (launch.import_checkpoint)"
            )
            raise FileNotFoundError(f"No trained network in {directory}: {give}.")
        try:
            table = json.loads(path.read_text())
            if not isinstance(table, dict):
                raise ValueError(f"it holds {type(table).__name__}, no table")
        except ValueError as error:  # a text that is not UTF-8, too
            raise ValueError(f"{path} does not describe a network ({error}); {remedy(directory)}") from error
        try:
            card = cls.from_json(table)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} {error}; {remedy(directory)}") from error
        try:
            models.create(card.model, **card.options)
        except (ValueError, TypeError) as error:  # of a damaged card, `storage.load` tells what is wrong
            if isinstance(error, plug_in.PlugInError) and ":" in str(error.name):
                raise ValueError(
                    f"{path} names a network of another package. {error.reason}; install that package, or add its "
                    "folder to PYTHONPATH."
                ) from error
        return card

    def write(self, directory: pathlib.Path) -> None:
        """Writes `model.json` into an existing folder."""
        rundir.write_text(directory / FILE, json.dumps(self.to_json(), indent=2) + "\n")

    def check_role(self, which: str) -> None:
        """Raises ValueError if this cannot be the network `which`, "single" | "multi"."""
        check_role(which, self.model, self.options)

    def check_applicable(self, directory: pathlib.Path) -> None:
        """Raises ValueError if the network of this folder is not trained to the end, or its input is not known."""
        if self.fresh:
            raise ValueError(
                f"{directory} is a start for training, not a network to apply: never trained were "
                f"{', '.join(self.fresh)}."
            )
        for name, value, rule in (
            ("image_size", self.image_size, "the pixels per side that the network was trained on"),
            ("normalisation", self.normalisation, "the mean and std of the network's training"),
        ):
            if value is None:
                raise ValueError(f'{directory / FILE} has no "{name}"; it must give {rule}.')

    def scan_input(self, directory: pathlib.Path) -> tuple[tuple[float, float], str]:
        """The window (low, high) in HU and the view of the network's training, without which it cannot be given a scan.

        Raises: ValueError if its folder does not say.
        """
        if self.window_hu is None:
            raise ValueError(
                f'{directory / FILE} has no "window_hu": without the window of its training a network cannot be given '
                f'HU. Add "window_hu": {[ct.LOW_HU, ct.HIGH_HU]} for a run of launch.pipeline.'
            )
        if self.view is None:
            raise ValueError(
                f'{directory / FILE} has no "view"; add "lungs" if the slices of its training were cut down to the '
                'lungs, "frame" if they show the whole field of view.'
            )
        return self.window_hu, self.view


def check_role(which: str, model: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError if the output of a model does not fit the role `which`, "single" | "multi"."""
    found, needed = models.output(model, **options), OUTPUTS[which]
    if found not in needed:
        raise ValueError(
            f"The {which} network must give {' or '.join(needed)}, but model {model!r} with {dict(options)} gives "
            f"{found}; choose another model, or num_classes of 'unet'."
        )


def check_same_input(*networks: tuple[pathlib.Path, NetworkCard]) -> None:
    """Raises ValueError if two networks, given as (folder, card), were trained on different input."""
    (one, first), (other, second) = networks
    for name in ("image_size", "normalisation", "window_hu", "view"):
        found = [card.to_json().get(name) for card in (first, second)]
        if found[0] != found[1]:
            raise ValueError(
                f"{one} and {other} differ in {name} ({found[0]} and {found[1]}): the two stages must be trained on "
                "the same input."
            )


def remedy(directory: pathlib.Path) -> str:
    """How to have a model folder whole again: a run makes its own once more, others are copied."""
    stage = directory.parent
    if (stage / "done.json").is_file():
        return rundir.RunDir(stage.parent).remedy(stage.name)
    if (stage / "checkpoints").is_dir():
        return f"delete {directory} and run the same command again."
    return "copy the folder again, whole."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _size(value: Any) -> int:
    if not (isinstance(value, int) and value % 32 == 0 and 32 <= value <= MAX_IMAGE_SIZE):
        raise ValueError(
            f'has "image_size" {value}; it must be a multiple of 32, at most {MAX_IMAGE_SIZE}: the pixels per side '
            "that the network was trained on"
        )
    return value


def _normalisation(value: Any) -> Normalisation:
    if not (
        isinstance(value, Mapping)
        and set(value) == {"mean", "std"}
        and all(_is_number(number) for number in value.values())
        and value["std"] > 0
    ):
        raise ValueError(
            f'has "normalisation" {value}; it must give the mean and std (above 0) of the network\'s training'
        )
    return Normalisation(**value)


def _window(value: Any) -> tuple[float, float]:
    if not (
        isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]
    ):
        raise ValueError(f'has "window_hu" {value}; it must be [low, high] in HU, such as {[ct.LOW_HU, ct.HIGH_HU]}')
    return float(value[0]), float(value[1])


def _view(value: Any) -> str:
    if value not in VIEWS:
        raise ValueError(
            f'has "view" {value!r}; it must be "lungs" if the slices of its training were cut down to the lungs, '
            '"frame" if they show the whole field of view'
        )
    return value


def _temperature(value: Any) -> float:
    if not (_is_number(value) and value > 0):
        raise ValueError(f'has "temperature" {value!r}; it must be a number above 0')
    return float(value)


def _names(value: Any) -> tuple[str, ...]:
    if not (isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)):
        raise ValueError(f"has {value!r} where a list of names is wanted")
    return tuple(value)
