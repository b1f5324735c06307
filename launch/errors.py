"""Ends simple programs with one line for a user's mistake."""

import sys
from collections.abc import Callable, Sequence

from absl import app


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`; a user's mistake ends with one line."""

    def with_flags(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
        try:
            main()
        except (ValueError, OSError, ImportError) as error:
            sys.exit(f"Error: {error}")

    app.run(with_flags)
