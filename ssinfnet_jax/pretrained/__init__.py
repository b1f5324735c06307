"""The trained networks of the package: model folders `single` and `multi`, and their card, MODEL_CARD.md."""

import pathlib

NAME = "pretrained"  # in place of a model folder, in flags and configs
CARD = "MODEL_CARD.md"
FOLDER = pathlib.Path(__file__).parent


def folder(which: str) -> pathlib.Path:
    """The model folder of the network `which`, "single" | "multi".

    Raises: FileNotFoundError if this copy of the package has none.
    """
    found = FOLDER / which
    if not (found / "model.json").is_file():
        raise FileNotFoundError(
            f"This copy of the package has no trained {which} network in {found}; install it from the repository, or "
            "give a model folder of your own."
        )
    return found


def resolve(given: str | None, which: str) -> pathlib.Path:
    """The model folder that a flag or a config names: a path, or `pretrained`, or nothing for the same."""
    return folder(which) if given in (None, NAME) else pathlib.Path(given)
