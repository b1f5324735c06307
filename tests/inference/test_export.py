import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export as jax_export
from PIL import Image

from ssinfnet_jax import models
from ssinfnet_jax.data import labels
from ssinfnet_jax.inference import export, segmenter
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.decision import Decision
from tests.data.test_ct import write_png

pytestmark = pytest.mark.long

SIZE = 64
NETWORKS = {"single": ("infnet", {"width": 0.125}), "multi": ("multi_ssinfnet", {"width": 0.125})}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Writes model folders of both networks, with norms and heads that differ from fresh ones."""
    folder = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(0)
    for which, (name, options) in NETWORKS.items():
        model = models.create(name, **options)
        variables = models.init(model, 1, models.num_inputs(name))
        variables = jax.tree.map(lambda x: x * random.uniform(0.7, 1.4, x.shape).astype(np.float32), variables)
        description = {
            "model": name, "options": options, "image_size": SIZE, "normalisation": {"mean": 0.4, "std": 0.3},
            "datasets": ["ct_phantom/tiny"], "initial": "", "window_hu": [-1000.0, 200.0], "view": "lungs",
        }  # fmt: skip
        storage.save(folder / which, variables, NetworkCard.from_json(description))
    return folder


@pytest.fixture(scope="module")
def exported(folders, tmp_path_factory):
    """Writes the exported program and returns its folder."""
    folder = tmp_path_factory.mktemp("exported")
    said = export.write(folder, folders / "single", folders / "multi")
    assert (said["window_hu"], said["view"]) == ((-1000.0, 200.0), "lungs")
    return folder


def _read(folder):
    return jax_export.deserialize(bytearray((folder / export.PROGRAM).read_bytes()))


def _images(num):
    coarse = np.random.default_rng(num).integers(0, 256, (num, 8, 8), np.uint8)
    return np.stack([np.asarray(Image.fromarray(part).resize((SIZE, SIZE))) for part in coarse])


@pytest.mark.parametrize("num", [1, 3])
def test_the_program_matches_the_package(exported, folders, num):
    image = _images(num)
    found = jax.jit(_read(exported).call)(image)
    program = segmenter.load_program(folders / "single", folders / "multi")
    lesion, classes = jax.jit(program.predict)(program.variables, {"image": image})
    np.testing.assert_allclose(found["lesion"], lesion, atol=1e-5)
    np.testing.assert_allclose(found["classes"], classes, atol=1e-5)
    np.testing.assert_array_equal(found["labels"], classes.argmax(axis=-1))
    assert found["labels"].dtype == np.uint8
    assert np.ptp(lesion) > 0.01  # not a constant


@pytest.mark.parametrize("platform", export.PLATFORMS)
def test_the_program_is_lowered_for_every_platform(exported, platform):
    image = jax.ShapeDtypeStruct((2, SIZE, SIZE), np.uint8)
    text = jax.jit(_read(exported).call).trace(image).lower(lowering_platforms=(platform,)).as_text()
    assert f"tensor<2x{SIZE}x{SIZE}x3xf32>" in text


def test_forms_for_the_cpu_and_for_other_platforms(folders, monkeypatch):
    """Runs the forms for GPU and TPU on the CPU; lesions only."""
    program = segmenter.load_program(folders / "single")
    image = _images(2)
    both = export.make_program(program)
    expected = jax.jit(both.call)(image)
    assert set(expected) == {"labels", "lesion", "decision"}
    np.testing.assert_array_equal(expected["labels"], expected["lesion"] > 0.5)
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *args, cpu, default: default(*args))
    others = export.make_program(program)
    np.testing.assert_allclose(jax.jit(others.call)(image)["lesion"], expected["lesion"], atol=1e-4)
    # Only other platforms use reduce_window; only the CPU computes 1x1 convolutions as products.
    counts = [[text.count(word) for word in ("stablehlo.reduce_window", "stablehlo.dot_general")]
              for text in (both.mlir_module(), others.mlir_module())]  # fmt: skip
    assert counts[0][0] == counts[1][0] > 0
    assert counts[0][1] > counts[1][1] + 20


def _run_alone(folder, cwd, *arguments):
    environment = {"PATH": os.environ["PATH"], "JAX_PLATFORMS": "cpu", "HOME": str(cwd)}
    command = [sys.executable, "-I", str(folder / "run_exported.py"), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_script_runs_without_the_package(exported, folders, tmp_path):
    image = np.asarray(Image.fromarray(_images(1)[0]).resize((90, 70)))
    Image.fromarray(image).save(tmp_path / "slice.png")
    alone = shutil.copytree(exported, tmp_path / "alone")
    result = _run_alone(alone, tmp_path, "slice.png", "labels.png")
    assert result.returncode == 0, result.stderr
    found = np.array(Image.open(tmp_path / "labels.png"))
    program = segmenter.load_program(folders / "single", folders / "multi")
    resized = labels.resize_image(image, (SIZE, SIZE))
    _, (classes,) = jax.jit(program.predict)(program.variables, {"image": resized[None]})
    expected = np.stack([segmenter.resize_probs(np.asarray(classes[..., c]), (70, 90)) for c in range(3)])
    # Rounding may change pixels whose classes are equally probable.
    assert (found == expected.argmax(axis=0)).mean() > 0.999
    shares = ", ".join(f"label {label}: {100 * np.mean(found == label):.2f} %" for label in range(3))
    assert result.stdout == f"{shares}\n"


def test_the_script_decides_like_the_package():
    random = np.random.default_rng(0)
    lesion, classes = random.random((20, 20), np.float32), random.random((20, 20, 3), np.float32)
    maps = np.stack([*np.moveaxis(classes, 2, 0), lesion])
    rules = [Decision(), Decision("joint"), Decision("joint", 0.3, 0.7, 0.4), Decision().with_threshold(0.8)]
    rules += [Decision("joint", consolidation_share=share, least_share=0.4) for share in (0.35, 0.5, 0.65)]
    for rule in rules:
        numbers = (rule.rule == "joint", *dataclasses.astuple(rule)[1:])
        np.testing.assert_array_equal(export.run_exported.decide(maps, *numbers), rule.labels(lesion, classes))
        np.testing.assert_array_equal(export.run_exported.decide(maps[3:], *numbers), rule.labels(lesion))


def test_the_script_is_short_and_independent():
    text = pathlib.Path(export.run_exported.__file__).read_text()
    assert "ssinfnet_jax" not in text
    body = "".join(text.split('"""')[::2])
    assert sum(bool(line.strip()) for line in body.splitlines()) <= 34


DEEP_COLOUR = np.full((8, 8, 3), 4095)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((8, 8), 40000, np.uint16), "slice.png (mode I;16) is not 8-bit grey; window it as"),
        (np.array([[[90, 90, 90], [90, 150, 90]]], np.uint8), "slice.png (mode RGB) is not 8-bit grey"),
        (DEEP_COLOUR, "slice.png (mode RGB) is not 8-bit grey"),
        (None, "pass two files, SLICE.png LABELS.png"),
    ],
)
def test_the_script_refuses_other_pictures_in_one_line(exported, tmp_path, pixels, message):
    if pixels is not None:
        write = write_png if pixels is DEEP_COLOUR else lambda path, pixels, **_: Image.fromarray(pixels).save(path)
        write(tmp_path / "slice.png", pixels, colour=2, bits=16)
    result = _run_alone(exported, tmp_path, "slice.png", *(["labels.png"] if pixels is not None else []))
    assert result.returncode == 1
    assert f"Error: {message}" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "labels.png").exists()


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("absent.png", "labels.png", "Error: absent.png: FileNotFoundError: [Errno 2] No such file or directory: "),
        ("notes.txt", "labels.png", "Error: notes.txt: UnidentifiedImageError: cannot identify image file "),
        ("cut.png", "labels.png", "Error: cut.png: OSError: image file is truncated"),
        ("absent.png", "labels.jpg", "Error: labels.jpg must end in .png, differ from the slice, and lie in an"),
        ("absent.png", "labels", "Error: labels must end in .png"),
        ("absent.png", "absent/labels.png", "Error: absent/labels.png must end in .png, differ from the slice, and"),
        ("cut.png", "./cut.png", "Error: cut.png must end in .png, differ from the slice"),
    ],
)
def test_the_script_refuses_bad_files_in_one_line_before_computing(exported, tmp_path, source, target, message):
    Image.fromarray(_images(1)[0]).save(tmp_path / "slice.png")
    before = {"cut.png": (tmp_path / "slice.png").read_bytes()[:-200], "notes.txt": b"no picture"}
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    result = _run_alone(exported, tmp_path, source, target)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(message)
    assert len(result.stderr.strip().splitlines()) == 1
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert {path.name for path in tmp_path.iterdir()} == {"slice.png", *before}


def test_the_script_accepts_grey_stored_as_colour(exported, tmp_path):
    grey = Image.fromarray(_images(1)[0])
    found = []
    for mode in ("L", "RGB"):
        grey.convert(mode).save(tmp_path / f"{mode}.png")
        result = _run_alone(exported, tmp_path, f"{mode}.png", f"{mode}_labels.png")
        assert result.returncode == 0, result.stderr
        found.append(np.array(Image.open(tmp_path / f"{mode}_labels.png")))
    np.testing.assert_array_equal(*found)
