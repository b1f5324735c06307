import dataclasses
import json

import jax
import numpy as np
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.networks import compact, storage
from ssinfnet_jax.networks.card import NetworkCard

OPTIONS = {"width": 0.125}
DESCRIPTION = {"model": "infnet", "options": OPTIONS, "image_size": 64, "normalisation": {"mean": 0.4, "std": 0.3}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same network in both forms, with values as after training."""
    folder = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(0)
    variables = models.init(models.create("infnet", **OPTIONS), 1, 3)
    variables = jax.tree.map(lambda x: x * random.uniform(0.7, 1.4, x.shape).astype(np.float32), variables)
    storage.save(folder / "orbax", variables, NetworkCard.from_json(DESCRIPTION))
    storage.save_compact(folder / "compact", variables, NetworkCard.from_json(DESCRIPTION))
    return folder


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_it_is_half_as_large_and_close(folders):
    whole, card = storage.load(folders / "orbax")
    small, said = storage.load(folders / "compact")
    assert dataclasses.replace(said, sha256=None) == card
    assert jax.tree.structure(small) == jax.tree.structure(whole)
    flat = jax.tree_util.tree_leaves_with_path(whole)
    for (path, wanted), found in zip(flat, jax.tree.leaves(small), strict=True):
        assert found.dtype == np.float32, path
        if wanted.ndim > 1:  # 11 bits
            np.testing.assert_allclose(found, wanted, rtol=2**-11, atol=1e-7, err_msg=str(path))
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=str(path))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(whole))
    assert _size(folders / "compact") < 2.3 * parameters


def test_what_is_damaged_is_refused(folders, tmp_path):
    source = folders / "compact"
    for name, message in (("cut", "has SHA-256"), ("other", "differ in"), ("none", "cannot be loaded")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.json").write_bytes((source / "model.json").read_bytes())
        data = (source / compact.FILE).read_bytes()
        if name == "cut":
            (folder / compact.FILE).write_bytes(data[:-10])
        if name == "other":
            variables = compact.read(source, json.loads((source / "model.json").read_text())["sha256"])
            variables["params"]["rfb9"] = variables["params"].pop("rfb2")
            sha256 = compact.write(folder, variables)
            (folder / "model.json").write_text(json.dumps({**DESCRIPTION, "sha256": sha256}))
        with pytest.raises(ValueError, match=f"{folder}.*{message}|{message}.*copy"):
            storage.load(folder)


def test_numbers_beyond_half_precision(tmp_path):
    with pytest.raises(ValueError, match="params/a/kernel has values up to 1e\\+06, which overflow half precision"):
        compact.write(tmp_path, {"params": {"a": {"kernel": np.full((2, 2), 1e6, np.float32)}}})
