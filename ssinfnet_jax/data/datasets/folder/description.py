"""The description of a dataset: where its images and masks are, and what their values mean.

It is `dataset.yaml` beside the data, one of the package's own (`data/datasets/public/NAME.yaml`), or made from the
`dataset.json` of nnU-Net. docs/own_data.md explains it by examples.
"""

import dataclasses
import pathlib
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml

from ssinfnet_jax import config
from ssinfnet_jax.config.fields import Range, Text
from ssinfnet_jax.data.clinical.clinical_table import Exposure
from ssinfnet_jax.data.datasets.folder import nnunet, patterns
from ssinfnet_jax.data.datasets.slice_builder import PARTS

FILE = "dataset.yaml"
PUBLIC_DIR = pathlib.Path(__file__).parents[1] / "public"
Meaning = Literal["background", "ggo", "consolidation", "lesion", "ignore"]
MaskKind = Literal["classes", "lesion", "ggo", "consolidation", "ignore", "lung"]
# Rows run to the first, columns to the second: L left, R right, A anterior, P posterior of the patient.
Orientation = Literal["PL", "PR", "AL", "AR", "LP", "RP", "LA", "RA"]
_Path = Annotated[str, Text("images/{id}.nii.gz")]
_HU = Annotated[float, Range("[-4096, 32767]", -1150.0)]
_EXAMPLE = "images: images/{id}.nii.gz, masks: masks/{id}.nii.gz, labels: {1: ggo, 2: consolidation}"


@dataclasses.dataclass(frozen=True)
class Group:
    """Images that lie and are read in one way.

    Attributes:
      images: pattern (`patterns.Pattern`) of the images, or several: places where the same images may lie.
      masks: pattern by kind of mask. "classes": a label map; its values mean what `labels` says. "lesion", "ggo",
        "consolidation", "ignore": of one class each. "lung": for checks, and for cropping to the lungs.
      labels: meaning by value of a label map, or by name of a segment in DICOM-SEG; 0 is background.
      name: the image's name, a template over the pattern's fields; default: its fields, joined by "_".
      patient: the patient, the same; default: the field `patient`, else the name.
      slices_are_patients: every slice of a volume counts as a patient of its own.
      without_mask: what an image without masks is: an error, unlabeled, or without lesions ("empty").
      values: of the images: Hounsfield units, windowed grey levels, or judged by their range.
      window_hu: the window (low, high) with which grey images were exported; default: that of `data.ct`.
      orientation: of pictures, which do not tell it (`Orientation`); "PL" is the radiologist's view.
    """

    images: tuple[_Path, ...]
    masks: Mapping[MaskKind, _Path] = dataclasses.field(default_factory=dict)
    labels: Mapping[Any, Meaning] = dataclasses.field(default_factory=dict)
    name: Annotated[str, Text("{id}")] | None = None
    patient: Annotated[str, Text("{patient}")] | None = None
    slices_are_patients: bool = False
    without_mask: Literal["error", "unlabeled", "empty"] = "error"
    values: Literal["auto", "hu", "grey"] = "auto"
    window_hu: tuple[_HU, ...] | None = None
    orientation: Orientation = "PL"

    def __post_init__(self):
        for pattern in (*self.images, *self.masks.values()):
            try:
                patterns.Pattern(pattern)
            except ValueError as error:
                raise ValueError(f"images, masks: {error}") from error
        if self.window_hu is not None and not (len(self.window_hu) == 2 and self.window_hu[0] < self.window_hu[1]):
            raise ValueError(f"window_hu must be [low, high] with low < high, found {list(self.window_hu)}.")
        if wrong := [value for value in self.labels if isinstance(value, bool) or not isinstance(value, int | str)]:
            raise ValueError(f"labels: {wrong[0]!r} is no value of a label map; give whole numbers, such as 1: ggo.")
        if self.labels.get(0, "background") != "background":
            raise ValueError(f"labels: 0 must be background, found {self.labels[0]}; save background as 0.")
        meanings = {*self.labels.values()}
        if "lesion" in meanings and meanings & {"ggo", "consolidation"}:
            raise ValueError(
                "labels name lesion beside ggo or consolidation. Where the class of a lesion is not known, call its "
                "value ignore; to find lesions alone, call all of them lesion."
            )

    @property
    def tells_classes(self) -> bool:
        """Whether its masks tell GGO from consolidation, as far as patterns and labels say."""
        return bool({"ggo", "consolidation"} & {*self.masks, *self.labels.values()})


@dataclasses.dataclass(frozen=True)
class Description:
    """A dataset.

    Attributes:
      labeled, unlabeled, cohort, test: the groups of each part (`slice_builder.PARTS`). A cohort needs a `table`.
      title, source, licence, cite: what it is, where it comes from, on which terms; Markdown.
      notes: what a user must know, or has to check.
      version: of its records.
      table: pattern of the one clinical table (`data.clinical.clinical_table`), joined by patient.
      table_without: the exposures that the table does not have; the mediation analysis leaves them out.
      patients: CSV or XLSX with the columns file and patient_id, where names do not tell the patient.
      view: "frame": whole slices; "lungs": cropped to the lungs: volumes are, pictures must be already.
      geometry: "header": a mask must lie on the voxels of its image; "voxel_by_voxel": voxels are paired as stored.
      any_subset: whether groups may have no files at all.
      published: results that were published on the test part, as `registry.published` gives them.
    """

    labeled: tuple[Group, ...] = ()
    unlabeled: tuple[Group, ...] = ()
    cohort: tuple[Group, ...] = ()
    test: tuple[Group, ...] = ()
    title: str = ""
    source: str = ""
    licence: str = ""
    cite: str = ""
    notes: tuple[str, ...] = ()
    version: str = "1.0.0"
    table: str = ""
    table_without: tuple[Exposure, ...] = ()
    patients: str = ""
    view: Literal["frame", "lungs"] = "frame"
    geometry: Literal["header", "voxel_by_voxel"] = "header"
    any_subset: bool = False
    published: tuple[Mapping[str, Any], ...] = ()

    @property
    def groups(self) -> list[tuple[str, Group]]:
        """(part, group), in the order of the parts."""
        return [(part, group) for part in PARTS for group in getattr(self, part)]

    @property
    def origin(self) -> str:
        """Source, licence and citation as a Markdown list; those that are given."""
        told = {"Source": self.source, "Licence": self.licence, "Cite": self.cite}
        return "\n".join(f"- **{name}**: {text}" for name, text in told.items() if text)


def find(root: pathlib.Path) -> Description:
    """The description of a folder: its `dataset.yaml`, completed by nnU-Net's `dataset.json` where there is one.

    Raises: FileNotFoundError if the folder has neither; ValueError for a description that cannot be read.
    """
    path, table = root / FILE, {}
    if (root / nnunet.FILE).is_file():
        own = load(path) if path.is_file() else {}
        table = {**nnunet.read(root, needs_labels="labels" not in own), **own}
    elif path.is_file():
        table = load(path)
    else:
        raise FileNotFoundError(
            f"{root} has neither {FILE} nor the {nnunet.FILE} of nnU-Net, so nothing says where images and masks are. "
            f"Write {path}, such as ({_EXAMPLE}); docs/own_data.md explains it."
        )
    return read(table, str(path if path.is_file() else root / nnunet.FILE))


def public(name: str) -> Description:
    """The description of a public dataset, of which the package has one."""
    path = PUBLIC_DIR / f"{name}.yaml"
    return read(load(path), path.name)


def load(path: pathlib.Path) -> dict[str, Any]:
    """Reads a YAML file that holds a table.

    Raises: ValueError, naming the file and the line, if it does not.
    """
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(table, dict):
        raise ValueError(f"{path} must be a table of keys, such as ({_EXAMPLE}); found {table!r}.")
    return table


def read(table: Mapping[str, Any], name: str) -> Description:
    """The description that a table says.

    Keys of a `Group` at the top level hold for all groups; `images` there is a group of its own: labeled where it has
    masks, else unlabeled. A part may be one group or a list of them.

    Args:
      table: as YAML gives it.
      name: of its file, for errors.
    Raises: ValueError for an unknown key or a value that does not fit, with the remedy.
    """
    keys = {field.name for field in dataclasses.fields(Group)}
    top = {key: value for key, value in table.items() if key in keys}
    rest = {key: value for key, value in table.items() if key not in keys}
    own = {key: top.pop(key) for key in ("images", "masks") if key in top}
    if "images" in own:
        part = "labeled" if own.get("masks") else "unlabeled"
        rest[part] = [own, *_listed(rest.get(part, []))]
    elif own:
        raise ValueError(
            f"{name}: masks has no images beside it; give the pattern of the images, such as ({_EXAMPLE})."
        )
    groups = {
        part: tuple(
            _group({**top, **one} if isinstance(one, Mapping) else one, f"{name}: {part}.{index}", part)
            for index, one in enumerate(_listed(rest.pop(part)))
        )
        for part in PARTS
        if part in rest
    }
    published = tuple(rest.pop("published", ()))
    rest.setdefault("notes", [])
    known = [field.name for field in dataclasses.fields(Description)]
    if unknown := sorted(map(str, set(rest) - set(known))):
        raise ValueError(f"{name}: unknown {', '.join(unknown)}; it has {', '.join([*known, *sorted(keys)])}.")
    found = dataclasses.replace(config.read(Description, rest, f"{name}: description"), **groups, published=published)
    _check(found, name)
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _group(table: Any, name: str, part: str) -> Group:
    if isinstance(table, Mapping):
        table = dict(table)
        if isinstance(table.get("images"), str):
            table["images"] = [table["images"]]
        if isinstance(table.get("masks"), str):
            table["masks"] = {"classes": table["masks"]}
    found = config.read(Group, table, name)
    if part in ("labeled", "test") and not {*found.masks} - {"lung", "ignore"}:
        raise ValueError(f"{name} has no masks; give their pattern, or move the images to `unlabeled`.")
    if part in ("unlabeled", "cohort") and {*found.masks} - {"lung"}:
        raise ValueError(f"{name} has masks; move it to `labeled` or `test`, or leave the masks out.")
    has_names = found.masks.get("classes", "").lower().endswith((".dcm", "/", ".seg.nrrd"))  # of segments
    if "classes" in found.masks and not found.labels and not has_names:
        raise ValueError(
            f"{name} lacks labels: what the values of the masks mean, such as {{1: ggo, 2: consolidation}}, or "
            "{1: lesion}."
        )
    return dataclasses.replace(found, labels=types.MappingProxyType(dict(found.labels)))


def _check(found: Description, name: str) -> None:
    if not found.groups:
        raise ValueError(f"{name} names no images; give their pattern, such as ({_EXAMPLE}).")
    if found.cohort and not found.table:
        raise ValueError(
            f"{name}: a cohort needs `table`, the clinical table of its patients; without one, call it `unlabeled`."
        )


def write(path: pathlib.Path, table: Mapping[str, Any]) -> None:
    """Writes a table as YAML, in its order."""
    path.write_text(yaml.safe_dump(dict(table), sort_keys=False, allow_unicode=True), encoding="utf-8")
