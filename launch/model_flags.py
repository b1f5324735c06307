"""Programs that work on one network: the flags --model and its options."""

from collections.abc import Callable
from typing import Any

from absl import flags, logging

from launch import errors
from ssinfnet_jax import models

_MODEL = flags.DEFINE_string(
    "model", None, f"The network: {', '.join(models.MODELS)}, or module:name from any package.", required=True
)
_OPTIONS = {
    "backbone": flags.DEFINE_string("backbone", None, "Backbone of infnet, or module:class; default: the network's."),
    "num_classes": flags.DEFINE_integer("num_classes", None, "Classes of unet: 1, the lesion (default), or 3."),
    "width": flags.DEFINE_float("width", None, "Factor on all channel counts; default: 1, the published network."),
    "dtype": flags.DEFINE_string("dtype", None, "Type of the arithmetic, e.g. bfloat16; default: float32."),
}


def run(main: Callable[[str, dict[str, Any]], None]) -> None:
    """Parses the flags and calls `main(name, options)` as for `models.create`; a user's mistake ends with one line."""

    def with_model() -> None:
        logging.set_verbosity(logging.WARNING)
        main(_MODEL.value, {name: flag.value for name, flag in _OPTIONS.items() if flag.value is not None})

    errors.run(with_model)
