"""The description of a trained network, `model.json` in its folder."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ssinfnet_jax import models, plug_in, rundir
from ssinfnet_jax.data import ct
from ssinfnet_jax.networks.decision import Decision
from ssinfnet_jax.networks.inputs import Normalisation

FILE = "model.json"
MAX_IMAGE_SIZE = 2048
VIEWS = ("lungs", "frame")
OUTPUTS = {"single": ("maps", "lesion"), "multi": ("classes",)}  # outputs that fit each role


@dataclasses.dataclass(frozen=True)
class NetworkCard:
    """How to apply a network, and its origin. Unknown values are None or empty.

    Attributes:
      model, options: as for `models.create`.
      image_size: pixels per side of the training slices, a multiple of 32.
      normalisation: of its input.
      window_hu: (low, high) of the training slices.
      view: "lungs" if the training slices were cropped to the lungs, "frame" if they show the whole field of view.
      task: "segmentation" | "inpainting".
      datasets: names of the training datasets.
      initial: the model folder that its training started from.
      weights: "last" | "best" of the training.
      fresh: untrained modules.
      decision: for a multi network, how both networks' probabilities become labels.
      temperature: above 0; divides the logits before they become the probabilities shown.
      sha256: of the weight file in the compact form (`compact`).
      imported: {"file", "sha256"} of the published checkpoint that it was converted from.
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
        """The card from a table as `to_json` returns; ignores unknown keys, which other versions may have written.

        Raises: ValueError for an invalid value.
        """
        kinds = type(table.get("model")), type(table.get("options"))
        if kinds != (str, dict):
            raise ValueError(f'must name a "model" and its "options", found {kinds}')
        known = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in table.items() if name in known and value is not None}
        for name, (fits, rule, convert) in _RULES.items():
            if name in values and not fits(values[name]):
                raise ValueError(f'has "{name}" {values[name]!r}; it must be {rule}')
            if name in values:
                values[name] = convert(values[name])
        if "decision" in values:
            values["decision"] = Decision.of(values["decision"], '"decision"')
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Plain data, without unknown values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["normalisation"] = self.normalisation and dataclasses.asdict(self.normalisation)
        values["decision"] = self.decision and dataclasses.asdict(self.decision)
        values |= {name: list(values[name]) for name in ("datasets", "fresh")}
        values["window_hu"] = self.window_hu and list(self.window_hu)
        return {name: value for name, value in values.items() if value not in (None, [])}

    @classmethod
    def read(cls, directory: pathlib.Path) -> "NetworkCard":
        """Reads the card of a model folder.

        Raises: FileNotFoundError if there is none; ValueError if it is damaged, or names a network or a backbone of a
          package that cannot be imported; all with the remedy.
        """
        path = directory / FILE
        if not path.is_file() and (directory.parent / "done.json").is_file():
            raise FileNotFoundError(f"No trained network in {directory}: {FILE} is missing; {remedy(directory)}")
        if not path.is_file():
            below = " or ".join(str(found.parent) for found in sorted(directory.glob(f"*/{FILE}")))
            give = (
                f"give {below}, which has one"
                if below
                else "run the stage that trains it (launch.pipeline), or import one (launch.import_checkpoint)"
            )
            raise FileNotFoundError(f"No trained network in {directory}: {give}.")
        try:
            table = json.loads(path.read_text())
            if not isinstance(table, dict):
                raise ValueError(f"it must be a table, found {type(table).__name__}")
        except ValueError as error:  # invalid JSON or UTF-8 too
            raise ValueError(f"{path} does not describe a network ({error}); {remedy(directory)}") from error
        try:
            card = cls.from_json(table)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} {error}; {remedy(directory)}") from error
        try:
            models.create(card.model, **card.options)
        except (ValueError, TypeError) as error:  # `storage.load` reports other damage
            if isinstance(error, plug_in.PlugInError) and ":" in str(error.name):
                raise ValueError(
                    f"{path} names a network from another package. {error.reason}; install that package, or add its "
                    "folder to PYTHONPATH."
                ) from error
        return card

    def write(self, directory: pathlib.Path) -> None:
        """Writes `model.json` into an existing folder."""
        rundir.write_text(directory / FILE, json.dumps(self.to_json(), indent=2) + "\n")

    def check_role(self, which: str) -> None:
        """Raises ValueError if this cannot be the "single" | "multi" network."""
        check_role(which, self.model, self.options)

    def check_applicable(self, directory: pathlib.Path) -> None:
        """Raises ValueError if the network of this folder is not fully trained, or its input is not known."""
        if self.fresh:
            raise ValueError(
                f"{directory} is a starting point for training, not a network to apply: its modules "
                f"{', '.join(self.fresh)} are untrained."
            )
        for name, value, rule in (
            ("image_size", self.image_size, "the pixels per side that the network was trained on"),
            ("normalisation", self.normalisation, "the mean and std of the network's training"),
        ):
            if value is None:
                raise ValueError(f'{directory / FILE} has no "{name}"; it must give {rule}.')

    def scan_input(self, directory: pathlib.Path) -> tuple[tuple[float, float], str]:
        """The window (low, high) in HU and the view of the training slices, which applying it to a scan requires.

        Raises: ValueError if the card lacks one.
        """
        if self.window_hu is None:
            raise ValueError(
                f'{directory / FILE} has no "window_hu", the window of the training slices, which a network needs to '
                f'read HU. Add "window_hu": {[ct.LOW_HU, ct.HIGH_HU]} for one trained by launch.pipeline.'
            )
        if self.view is None:
            raise ValueError(
                f'{directory / FILE} has no "view"; add "lungs" if its training slices were cropped to the lungs, '
                '"frame" if they show the whole field of view.'
            )
        return self.window_hu, self.view


def check_role(which: str, model: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError if the output of a model does not fit the role `which`, "single" | "multi"."""
    found, needed = models.output(model, **options), OUTPUTS[which]
    if found not in needed:
        raise ValueError(
            f"The {which} network must output {' or '.join(needed)}, but model {model!r} with {dict(options)} outputs "
            f"{found}; choose another model, or num_classes of 'unet'."
        )


def check_same_input(*networks: tuple[pathlib.Path, NetworkCard]) -> None:
    """Raises ValueError if two networks, given as (folder, card), were trained on different input."""
    (one, first), (other, second) = networks
    for name in ("image_size", "normalisation", "window_hu", "view"):
        found = [card.to_json().get(name) for card in (first, second)]
        if found[0] != found[1]:
            raise ValueError(
                f"{one} and {other} differ in {name} ({found[0]} and {found[1]}): both networks must be trained on the "
                "same input."
            )


def remedy(directory: pathlib.Path) -> str:
    """How to restore a model folder: retrain if it belongs to a run, else copy it again."""
    stage = directory.parent
    if (stage / "done.json").is_file():
        return rundir.RunDir(stage.parent).remedy(stage.name)
    if (stage / "checkpoints").is_dir():
        return f"delete {directory} and run the same command again."
    return "copy the whole folder again."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_normalisation(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) != {"mean", "std"}:
        return False
    return all(map(_is_number, value.values())) and value["std"] > 0


def _is_window(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    return all(map(_is_number, value)) and value[0] < value[1]


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


# field: whether a value fits, what it must be, and its conversion
_RULES: dict[str, tuple[Callable[[Any], bool], str, Callable[[Any], Any]]] = {
    "image_size": (
        lambda value: isinstance(value, int) and value % 32 == 0 and 32 <= value <= MAX_IMAGE_SIZE,
        f"a multiple of 32, at most {MAX_IMAGE_SIZE}: the pixels per side of the training slices",
        int,
    ),
    "normalisation": (
        _is_normalisation,
        "the mean and std (above 0) of the network's training",
        lambda value: Normalisation(**value),
    ),
    "window_hu": (
        _is_window,
        f"[low, high] in HU, such as {[ct.LOW_HU, ct.HIGH_HU]}",
        lambda value: (float(value[0]), float(value[1])),
    ),
    "view": (
        lambda value: value in VIEWS,
        '"lungs" if its training slices were cropped to the lungs, "frame" if they show the whole field of view',
        str,
    ),
    "temperature": (lambda value: _is_number(value) and value > 0, "a number above 0", float),
    "datasets": (_is_names, "a list of names", tuple),
    "fresh": (_is_names, "a list of names", tuple),
}
