import sys
import types

import numpy as np
import pytest
from safetensors.numpy import save_file

from ssinfnet_jax.interop.read_tensors import read_tensors

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.bias": np.ones(2, np.float16)}


class Unknown:
    """A class that only another program has."""


def _write(path, tensors):
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    elif path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch = pytest.importorskip("torch", reason="needs PyTorch, the optional extra")
        torch.save({name: torch.from_numpy(np.asarray(value)) for name, value in tensors.items()}, path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_format_gives_the_same_tensors(tmp_path, suffix, prefix):
    found = read_tensors(_write(tmp_path / f"x{suffix}", {prefix + name: value for name, value in TENSORS.items()}))
    assert set(found) == set(TENSORS)
    for name, value in TENSORS.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value)


def test_a_prefix_of_only_some_names_is_kept(tmp_path):
    assert set(read_tensors(_write(tmp_path / "x.npz", {"module.a": np.ones(1), "b": np.ones(1)}))) == {"module.a", "b"}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
@pytest.mark.parametrize("keep", [0, 40, 0.6])
def test_truncated_files(tmp_path, suffix, keep):
    path = _write(tmp_path / f"x{suffix}", {**TENSORS, "c": np.ones((40, 40), np.float32)})
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(ValueError, match=f"x{suffix} cannot be read as a .*; if it is incomplete, download it again"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_garbage(tmp_path, suffix):
    if suffix == ".pth":
        pytest.importorskip("torch", reason="needs PyTorch, the optional extra")
    path = tmp_path / f"x{suffix}"
    path.write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(ValueError, match=f"x{suffix} cannot be read as a "):
        read_tensors(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(tmp_path, bad):
    tensors = {**TENSORS, "c.weight": np.array([1, bad])}
    with pytest.raises(ValueError, match=r"not finite in c.weight \(1 tensors\): its training diverged"):
        read_tensors(_write(tmp_path / "x.npz", tensors))


def test_files_without_tensors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"The checkpoint .*absent.npz does not exist"):
        read_tensors(tmp_path / "absent.npz")
    (tmp_path / "x.ckpt").write_text("x")
    with pytest.raises(ValueError, match=r"ends in '.ckpt'; choose a file that ends in .pth, .pt, .safetensors, .npz"):
        read_tensors(tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"x.npz holds no tensors"):
        read_tensors(_write(tmp_path / "x.npz", {}))
    with pytest.raises(ValueError, match=r"Tensor name of checkpoint .*x.npz has dtype <U3, which is not numeric"):
        read_tensors(_write(tmp_path / "x.npz", {"name": np.array("abc")}))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded when allow_pickle=False"):
        read_tensors(_write(tmp_path / "x.npz", {"name": np.array([Unknown()])}))


def test_without_pytorch_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "x.pth").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        ImportError, match=r"needs PyTorch, the optional extra 'torch': .venv/bin/python -m pip install"
    ):
        read_tensors(tmp_path / "x.pth")
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.5.1"))
    with pytest.raises(ImportError, match=r"safely needs PyTorch 2.6 or newer, found 2.5.1"):
        read_tensors(tmp_path / "x.pth")


def test_pytorch_files_of_training_programs(tmp_path):
    torch = pytest.importorskip("torch", reason="needs PyTorch, the optional extra")
    inner = {"module.w": torch.ones(2, dtype=torch.bfloat16), "module.n": torch.tensor(3)}
    for tree in (
        {"state_dict": inner, "epoch": 3},
        {"model": inner, "optimizer": {"lr": 0.1}},
        {"model": {"model": inner}},
    ):
        torch.save(tree, tmp_path / "x.pth")
        found = read_tensors(tmp_path / "x.pth")
        np.testing.assert_array_equal(found["w"], [1, 1])
        assert found["n"] == 3
    for tree, message in (
        (
            {"w": inner["module.w"], "epoch": 3},
            r"holds entries that are not tensors: epoch \(1\); save only the network's state",
        ),
        ([1, 2], "holds a list, not named tensors"),
        ({"w": Unknown()}, "cannot be read as a PyTorch checkpoint of tensors only"),
    ):
        torch.save(tree, tmp_path / "x.pth")
        with pytest.raises(ValueError, match=message):
            read_tensors(tmp_path / "x.pth")
