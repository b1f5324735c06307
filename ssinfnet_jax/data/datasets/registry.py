"""The names of the datasets."""

import inspect
import pathlib
from collections.abc import Sequence

from ssinfnet_jax import plug_in

# Name -> "module:class" of a slice_builder.SliceBuilder.
BUILDERS: dict[str, str] = {
    "covid_semiseg": "ssinfnet_jax.data.datasets.covid_semiseg.covid_semiseg_dataset_builder:Builder",
    "ct_phantom": "ssinfnet_jax.data.datasets.ct_phantom.ct_phantom_dataset_builder:Builder",
    "ictcf": "ssinfnet_jax.data.datasets.ictcf.ictcf_dataset_builder:Builder",
    "medseg": "ssinfnet_jax.data.datasets.medseg.medseg_dataset_builder:Builder",
}


def builder_class(name: str) -> type:
    """Returns the builder class of a dataset: a key of `BUILDERS`, or "module:class" of any package.

    Raises: PlugInError if there is no such class.
    """
    from ssinfnet_jax.data.datasets.slice_builder import SliceBuilder  # imported here because it loads TFDS

    def fits(found):
        return isinstance(found, type) and issubclass(found, SliceBuilder)

    return plug_in.resolve("dataset", BUILDERS.get(name, name), BUILDERS, fits=fits, needed="a SliceBuilder")


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
    """Returns a dataset's source, licence and citation: the first list of the README beside its builder, or ""."""
    readme = pathlib.Path(inspect.getfile(builder_class(name))).with_name("README.md")
    paragraphs = readme.read_text().split("\n\n") if readme.is_file() else []
    return next((text for text in paragraphs if text.startswith("- ")), "")


def view(names: Sequence[str]) -> str:
    """Returns "lungs" if the slices of all these datasets are cropped to the lungs, else "frame"."""
    views = {builder_class(name).VIEW for name in names}
    return "lungs" if views == {"lungs"} else "frame"
