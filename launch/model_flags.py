"""Programs that work on one network: the flags --model and its options, and how they begin."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from ssinfnet_jax import models

_MODEL = flags.DEFINE_string(
    "model", None, f"The network: {', '.join(models.MODELS)}, or module:name of one in any package.", required=True
)
_OPTIONS = {
    "backbone": flags.DEFINE_string(
        "backbone", None, "Backbone of infnet, or module:class of one; the default if not given."
    ),
    "num_classes": flags.DEFINE_integer("num_classes", None, "Classes of unet: 1, the lesion, if not given, or 3."),
    "width": flags.DEFINE_float("width", None, "Factor on all channel counts; 1, the published network, if not given."),
    "dtype": flags.DEFINE_string("dtype", None, "Type of the arithmetic, e.g. bfloat16; float32 if not given."),
}


def run(main: Callable[[str, dict[str, Any]], None]) -> None:
    """Parses the flags and calls `main(name, options)` as for `models.create`; a user's mistake ends with one line."""

    def with_model(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
        logging.set_verbosity(logging.WARNING)
        options = {name: flag.value for name, flag in _OPTIONS.items() if flag.value is not None}
        try:
            main(_MODEL.value, options)
        except (ValueError, OSError, ImportError) as error:
            sys.exit(f"Error: {error}")

    app.run(with_model)
