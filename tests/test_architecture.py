"""Imports point only down the list of rooms."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "ssinfnet_jax"
BASE = {"config", "rundir", "plug_in", "dask_tasks", "latex", "pretrained"}
ALLOWED = {  # folder: what it may import from the package, besides itself and the base
    "config": set(),
    "rundir": set(),
    "plug_in": set(),
    "dask_tasks": set(),
    "latex": set(),
    "pretrained": set(),
    "data": set(),
    "models": set(),
    "losses": {"models"},
    "metrics": set(),
    "networks": {"data", "models"},
    "interop": {"data", "models", "networks"},
    "training": {"data", "models", "losses", "metrics", "networks"},
    "inference": {"data", "models", "networks"},
    "evaluation": {"data", "models", "metrics", "networks", "training", "inference"},
    "analysis": {"data"},
    "report": {"data", "metrics", "networks", "inference", "evaluation", "analysis"},
}

LARGEST_ROOM = 2500  # lines of the files in a folder


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] == "ssinfnet_jax" and len(parts) > 1:
                yield parts[1]


def test_every_folder_has_its_place():
    found = {path.stem for path in PACKAGE.iterdir() if path.name not in ("__init__.py", "__pycache__")}
    assert found == set(ALLOWED)


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_down(room):
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else sorted((PACKAGE / room).rglob("*.py"))
    known = {path.stem for path in PACKAGE.iterdir()}
    for path in files:
        wrong = set(_imported(path)) & known - ALLOWED[room] - BASE - {room}
        assert not wrong, f"{path.relative_to(PACKAGE.parent)} imports {sorted(wrong)}"


def test_no_room_is_too_large():
    rooms = {path.parent for path in PACKAGE.rglob("*.py")}
    sizes = {
        str(room.relative_to(PACKAGE)): sum(len(path.read_text().splitlines()) for path in room.glob("*.py"))
        for room in rooms
    }
    assert max(sizes.values()) <= LARGEST_ROOM, max(sizes, key=sizes.get)


def test_the_library_does_not_import_programs():
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text()
        assert "import launch" not in source, path
        assert "from launch" not in source, path
        assert "from configs" not in source, path


def test_only_one_file_knows_how_arrays_lie_on_devices():
    words = ("jax.pmap", "shard_map", "NamedSharding", "make_mesh", "addressable", "jax_utils", "parallel.AXIS")
    for path in PACKAGE.rglob("*.py"):
        if path.name != "parallel.py":
            source = path.read_text()
            assert not [word for word in words if word in source], path
