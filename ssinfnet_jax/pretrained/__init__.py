"""The trained networks in the package: model folders `single` and `multi`, and their card, MODEL_CARD.md."""

import pathlib

NAME = "pretrained"  # names them in flags and configs, in place of a model folder
CARD = "MODEL_CARD.md"
FOLDER = pathlib.Path(__file__).parent


def folder(which: str) -> pathlib.Path:
    """Returns the model folder of the network `which`, "single" | "multi".

    Raises: FileNotFoundError if this copy of the package has none.
    """
    found = FOLDER / which
    if not (found / "model.json").is_file():
        raise FileNotFoundError(
            f"This copy of the package has no trained {which} network in {found}; install it from the repository, or "
            "pass your own model folder."
        )
    return found


def resolve(given: str | None, which: str) -> pathlib.Path:
    """Returns the model folder for a flag or config value: a path, or the package's own for `pretrained` or None."""
    return folder(which) if given in (None, NAME) else pathlib.Path(given)
