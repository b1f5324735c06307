"""The names of the datasets."""

import inspect
import pathlib

from ssinfnet_jax import plug_in

# Name -> "module:class" of a slice_builder.SliceBuilder.
BUILDERS: dict[str, str] = {
    "ct_phantom": "ssinfnet_jax.data.datasets.ct_phantom.ct_phantom_dataset_builder:Builder",
    "folder": "ssinfnet_jax.data.datasets.folder.folder_dataset_builder:Builder",
}
# Those that the package describes (`public/NAME.yaml`).
PUBLIC = tuple(sorted(path.stem for path in (pathlib.Path(__file__).parent / "public").glob("*.yaml")))


def builder_class(name: str) -> type:
    """Returns the builder class of a dataset: a key of `BUILDERS`, one of `PUBLIC`, or "module:class" of any package.

    Raises: PlugInError if there is no such class.
    """
    from ssinfnet_jax.data.datasets.slice_builder import SliceBuilder  # imported here because it loads TFDS

    def fits(found):
        return isinstance(found, type) and issubclass(found, SliceBuilder)

    if name in PUBLIC:
        from ssinfnet_jax.data.datasets.folder import folder_dataset_builder

        return folder_dataset_builder.public(name)
    known = dict.fromkeys(sorted((*BUILDERS, *PUBLIC)))
    return plug_in.resolve("dataset", BUILDERS.get(name, name), known, fits=fits, needed="a SliceBuilder")


def config_names(name: str) -> list[str]:
    """Lists the configs of a dataset, the default one first."""
    return [config.name for config in builder_class(name).BUILDER_CONFIGS]


def check_config(name: str, config: str) -> None:
    """Raises ValueError with the choices for an unknown dataset or config."""
    names = config_names(name)
    if config not in names:
        raise ValueError(f"Unknown config {config!r} of dataset {name!r}; choose one of {', '.join(names)}.")


def truth(name: str) -> list[dict]:
    """Returns the true effects in generated data: exposure, phenotype, mediates (bool); empty for real data."""
    return list(getattr(builder_class(name), "TRUTH", ()))


def published(name: str) -> list[dict]:
    """Lists published results on a dataset's official test part: method, class, metric, mean, n, source; else empty."""
    return list(getattr(builder_class(name), "PUBLISHED", ()))


def origin(name: str) -> str:
    """Returns a dataset's source, licence and citation: of its description, or the README beside its builder; or ""."""
    found = builder_class(name)
    if hasattr(found, "ORIGIN"):
        return found.ORIGIN
    readme = pathlib.Path(inspect.getfile(found)).with_name("README.md")
    paragraphs = readme.read_text().split("\n\n") if readme.is_file() else []
    return next((text for text in paragraphs if text.startswith("- ")), "")
