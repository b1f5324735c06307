"""Fuzzing: mutated scans and model folders must end in a clear error or a result, and nothing else.

python -m benchmarks.fuzz [--cases=10000] [--seed=0] [--only=nifti]

Every case is an intact file with random edits. A monitored process reads and segments it like launch.segment (with
thresholds in place of the networks), reads its image and mask like launch.phenotypes (masks: segments of 3D Slicer,
DICOM-SEG, label maps), or loads it (model folders; foreign tensors as .npz and .safetensors). A finding is an
exception other than ValueError or OSError, an error that does not name the file, the death of the process, more than
10 s of processor time or 1.5 GiB, an unpickling, or a file written, moved or removed outside the output folder.
Findings are printed with their number, which repeats the case as --seed; the exit code is then 1. For every kind, the
slowest case and the peak memory of a process are printed.
"""

import collections
import dataclasses
import gzip
import logging as standard_logging
import math
import multiprocessing
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable

import highdicom as hd
import nibabel as nib
import numpy as np
import psutil
import pydicom
import safetensors.numpy
import SimpleITK
from absl import app, flags
from PIL import Image

from ssinfnet_jax import models
from ssinfnet_jax.analysis.phenotypes import folder as phenotypes_folder
from ssinfnet_jax.data import ct
from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.data.readers import find
from ssinfnet_jax.data.readers.dicom import series as dicom
from ssinfnet_jax.inference import segment_scan, segmenter
from ssinfnet_jax.inference.writers import dicom_seg, seg_nrrd
from ssinfnet_jax.interop import read_tensors
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.decision import Decision

_CASES = flags.DEFINE_integer("cases", 10_000, "Number of cases.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the first case; later cases count up from it.", 0)
_ONLY = flags.DEFINE_string("only", None, "Restricts the cases to one kind of file.")

MAX_SECONDS, MAX_GIB = 10.0, 1.5
SHARES = {
    "nifti": 0.18, "itk": 0.2, "zip": 0.06, "dicom": 0.27, "masks": 0.1, "picture": 0.13, "checkpoint": 0.01,
    "tensors": 0.05,
}  # fmt: skip
_MASKS = (".seg.nrrd", ".dcm", ".nii")
_BATCH = 500  # cases per process
_POLL_SECONDS = 0.01
_PATIENCE_SECONDS = 120.0  # to wait for an idle process
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {  # event -> indices of its path arguments, and of arguments with the folder that a path is relative to
    "os.mkdir": ((0,), (2,)), "os.remove": ((0,), (1,)), "os.rmdir": ((0,), (1,)), "shutil.rmtree": ((0,), (1,)),
    "os.rename": ((0, 1), (2, 3)), "os.link": ((0, 1), (2, 3)), "os.symlink": ((1,), (2,)), "os.truncate": ((0,), ()),
}  # fmt: skip


class Thresholds:
    """Replaces the networks: grey pixels are GGO, light pixels consolidation."""

    window_hu = (ct.LOW_HU, ct.HIGH_HU)
    decision = Decision()

    def __init__(self):
        self.segmenter, self.batch_size = self, 4

    def probabilities(self, records, positions, decision=None):
        """Like `Segmenter.probabilities`."""
        for position in positions:
            record = records[position]
            classes = np.eye(3, dtype=np.float32)[np.digitize(record["image"], [60, 140])]
            yield record["slice_id"], (1 - classes[..., 0], classes)


def make_seeds(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Writes intact files of every kind; returns kind -> files or folders."""
    folder.mkdir(parents=True)
    hu, _, affine = volume.render(0, 7, 3, 48)
    for suffix in (".nii", ".nii.gz"):
        nib.save(nib.Nifti1Image(hu, affine), folder / f"scan{suffix}")
    for name in ("pair", "nhdr", "mhd"):  # of a header and its voxels, in a folder
        (folder / name).mkdir()
    nib.save(nib.Nifti1Pair(hu, affine), folder / "pair/scan.img")
    image = SimpleITK.ReadImage(folder / "scan.nii")
    for name in ("scan.nrrd", "scan.mha", "nhdr/scan.nhdr", "mhd/scan.mhd"):
        SimpleITK.WriteImage(image, folder / name)
    for name in ("packed.nrrd", "packed.mha"):
        SimpleITK.WriteImage(image, folder / name, True)
    nib.save(nib.Nifti2Image(hu.astype(np.float32), affine), folder / "scan2.nii")
    syntaxes = {
        "plain": None, "rle": pydicom.uid.RLELossless, "jls": pydicom.uid.JPEGLSLossless,
        "j2k": pydicom.uid.JPEG2000Lossless,
    }  # fmt: skip
    for name, syntax in syntaxes.items():
        change = (lambda dataset, _, syntax=syntax: dataset.compress(syntax)) if syntax else None
        volume.write_dicom(folder / name, hu, affine, patient_id="p", change=change)
    volume.write_dicom(folder / "bare", hu, affine, patient_id="p")  # without preamble
    for path in (folder / "bare").iterdir():
        path.write_bytes(path.read_bytes()[132:])
    slices = [pydicom.dcmread(path) for path in sorted((folder / "plain").iterdir())]
    (folder / "frames").mkdir()
    whole = hd.legacy.LegacyConvertedEnhancedCTImage(slices, hd.UID(), 9, hd.UID(), 1)
    whole.save_as(folder / "frames/whole.dcm")
    (folder / "packed_frames").mkdir()
    whole.compress(pydicom.uid.RLELossless)
    whole.save_as(folder / "packed_frames/whole.dcm")
    with zipfile.ZipFile(folder / "exam.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "plain").iterdir()):
            archive.write(path, path.name)
    _make_masks(folder / "masks", sorted((folder / "plain").iterdir()))
    grey = ct.window_hu(hu[:, :, 1].T)
    for suffix in ("png", "jpg"):
        Image.fromarray(grey).save(folder / f"slice.{suffix}")
    Image.fromarray(grey).convert("P").save(folder / "palette.png")
    model = models.create("unet", width=0.0625)
    description = {
        "model": "unet", "options": {"width": 0.0625}, "image_size": 64, "normalisation": {"mean": 0.4, "std": 0.3},
        "window_hu": [-1150.0, 250.0], "view": "lungs",
    }  # fmt: skip
    storage.save(folder / "model", models.init(model, 0, 3), NetworkCard.from_json(description))
    tensors = {"conv1.weight": np.ones((4, 3, 3, 3), np.float32), "bn1.bias": np.arange(4.0, dtype=np.float32)}
    np.savez(folder / "tensors.npz", **tensors)
    safetensors.numpy.save_file(tensors, folder / "tensors.safetensors")
    return {
        "tensors": [folder / "tensors.npz", folder / "tensors.safetensors"],
        "nifti": sorted(folder.glob("*.nii*")),
        "itk": [*folder.glob("*.nrrd"), *folder.glob("*.mha"), folder / "pair", folder / "nhdr", folder / "mhd"],
        "zip": [folder / "exam.zip"],
        "dicom": [folder / name for name in (*syntaxes, "bare", "frames", "packed_frames")],
        "masks": [folder / "masks" / name for name in _MASKS],
        "picture": [*folder.glob("*.png"), folder / "slice.jpg"],
        "checkpoint": [folder / "model"],
    }


def _make_masks(folder: pathlib.Path, series: list[pathlib.Path]) -> None:
    """Writes a folder per name of `_MASKS`: the image of a DICOM series, and a mask of two segments."""
    scan = dicom.read(series)
    labels = np.zeros(scan.grid.shape, np.uint8)
    labels[10:20, 10:30], labels[25:35, 10:30] = 1, 2
    for name in _MASKS:
        path = folder / name / "masks" / f"scan{name}"
        for made in (path.parent, folder / name / "images"):
            made.mkdir(parents=True)
        shutil.copy(folder.parent / "scan.nii", folder / name / "images")
        if name == ".dcm":
            dicom_seg.write(path, labels, scan)
        elif name == ".seg.nrrd":
            seg_nrrd.write(path, labels, scan)
        else:
            nib.save(nib.Nifti1Image(labels, scan.grid.affine), path)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Makes a few edits, mostly in the header: bytes, extreme numbers, chunks cut, doubled or zeroed."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        if not out:
            break
        reach = len(out) if rng.random() < 0.4 else min(len(out), 400 if rng.random() < 0.5 else 1600)
        at, length = int(rng.integers(reach)), int(rng.integers(1, 64))
        extreme = rng.choice([0, 1, -1, 127, 255, 32767, 65535, 2**31 - 1, -(2**31)])
        edit = rng.choice(["byte", "bit", "int16", "int32", "float", "cut", "double", "zero", "noise", "end"])
        if edit == "byte":
            out[at] = int(rng.integers(256))
        elif edit == "bit":
            out[at] ^= 1 << int(rng.integers(8))
        elif edit in ("int16", "int32"):
            out[at : at + int(edit[3:]) // 8] = int(extreme).to_bytes(8, "little", signed=True)[: int(edit[3:]) // 8]
        elif edit == "float":
            out[at : at + 4] = np.float32(rng.choice([np.nan, np.inf, -np.inf, 0, 1e-30, 1e30])).tobytes()
        elif edit == "cut":
            del out[at : at + length]
        elif edit == "double":
            out[at:at] = out[at : at + length]
        elif edit == "zero":
            out[at : at + length] = bytes(len(out[at : at + length]))
        elif edit == "noise":
            out[at : at + length] = rng.bytes(len(out[at : at + length]))
        elif edit == "end":
            del out[at:]
    return bytes(out)


def prepare(kind: str, seeds: list[pathlib.Path], folder: pathlib.Path, rng: np.random.Generator) -> pathlib.Path:
    """Copies an intact file or folder into `folder` and damages a file in it; returns the copy."""
    seed = seeds[int(rng.integers(len(seeds)))]
    copy = folder / seed.name
    shutil.copytree(seed, copy) if seed.is_dir() else shutil.copy(seed, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file()) if copy.is_dir() else [copy]
    # Sometimes damages all slices of a series with the same edits, like a faulty exporter.
    together = kind == "dicom" and rng.random() < 0.3
    chosen, state = files if together else [files[int(rng.integers(len(files)))]], int(rng.integers(2**32))
    for path in chosen:
        edits = np.random.default_rng(state)
        data = path.read_bytes()
        inside = path.name.endswith(".gz") and edits.random() < 0.7
        damaged = mutate(gzip.decompress(data) if inside else data, edits)
        path.write_bytes(gzip.compress(damaged, 1) if inside else damaged)
    return copy


def attempt(kind: str, path: pathlib.Path, out: pathlib.Path) -> str:
    """Reads and segments, or loads; returns "result" or "error", and raises any finding."""
    try:
        if kind == "checkpoint":
            network = segmenter.Segmenter(path)
            network.card.scan_input(path)
            return "result"
        if kind == "tensors":
            read_tensors.read_tensors(path)
            return "result"
        if kind == "masks":
            out.mkdir()
            tempfile.tempdir = str(out)  # of the volumes' scratch files
            for item in phenotypes_folder.items(path / "images", path / "masks", preset="hu"):
                item.source()
            return "result"
        results = 0
        for source in find.find([path]):
            try:
                segment_scan.segment(source, Thresholds(), segment_scan.Options(view="lungs"), out, force=True)
                results += 1
            except (ValueError, OSError) as error:
                _check_message(error, path)
        return "result" if results else "error"
    except (ValueError, OSError) as error:
        _check_message(error, path)
        return "error"


def _check_message(error: Exception, path: pathlib.Path) -> None:
    message = str(error)
    if path.name not in message or len(message) < 30:
        raise AssertionError(f"the error does not say which file, or what: {type(error).__name__}: {message}")


def _work(kinds: list[str], seeds: dict[str, list[pathlib.Path]], root: pathlib.Path, first: int, queue) -> None:
    """Runs cases in a separate process; reports the start and outcome of each to the parent."""
    standard_logging.disable(standard_logging.CRITICAL)
    warnings.simplefilter("ignore")
    allowed, found = [], []

    def watch(event, arguments):
        if not allowed:
            return
        if event == "pickle.find_class":
            found.append(f"unpickles {arguments}")
        paths = []
        if event == "open" and (arguments[2] or 0) & _WRITES:
            paths = [arguments[0]]
        elif event in _CHANGES and all(arguments[k] == -1 for k in _CHANGES[event][1]):
            paths = [arguments[k] for k in _CHANGES[event][0]]
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike):  # not the descriptor of an open file
                absolute = os.path.abspath(os.fsdecode(path))
                if not absolute.startswith((allowed[0], "/dev/null", "/proc/")):
                    found.append(f"{event} {absolute}")

    sys.addaudithook(watch)
    for number, kind in enumerate(kinds, first):
        queue.put((number, kind, "begins", 0.0, 0.0))
        folder = pathlib.Path(tempfile.mkdtemp(dir=root))
        path = prepare(kind, seeds[kind], folder, np.random.default_rng([number, 1]))
        allowed.append(str(folder / "out"))
        start = time.process_time()
        try:
            outcome = attempt(kind, path, folder / "out")
        except Exception as error:  # a finding
            outcome = f"FINDING {type(error).__name__}: {error}"
        seconds = time.process_time() - start
        allowed.clear()
        if found:
            outcome = f"FINDING {found.pop()}"
        gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        if gib > MAX_GIB:
            outcome = f"FINDING {gib:.2f} GiB"
        shutil.rmtree(folder)
        queue.put((number, kind, outcome, seconds, gib))
        if outcome.endswith("GiB"):
            return


@dataclasses.dataclass
class Tally:
    """Outcomes of the cases: counts by (kind, outcome); slowest (processor seconds, number) and peak GiB by kind."""

    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    slowest: dict[str, tuple[float, int]] = dataclasses.field(default_factory=dict)
    peak_gib: dict[str, float] = dataclasses.field(default_factory=dict)

    def add(self, number: int, kind: str, outcome: str, seconds: float, gib: float) -> None:
        """Counts a case; `gib` is the peak memory so far of its process."""
        self.counts[kind, outcome.split(" ")[0]] += 1
        self.slowest[kind] = max(self.slowest.get(kind, (0.0, 0)), (seconds, number))
        self.peak_gib[kind] = max(self.peak_gib.get(kind, 0.0), gib)


def run(kinds: list[str], *, seed: int, report: Callable[[str], None]) -> Tally:
    """Runs one case per entry of `kinds`, numbered from `seed`."""
    context = multiprocessing.get_context("spawn")
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        seeds, done = make_seeds(root / "seeds"), 0
        while done < len(kinds):
            queue = context.SimpleQueue()
            batch = kinds[done : done + _BATCH]
            process = context.Process(target=_work, args=(batch, seeds, root, seed + done, queue))
            process.start()
            finished = _watch(process, queue, len(batch), tally, report)
            process.join()
            done += finished
            report(f"{done} of {len(kinds)} cases")
    return tally


def _watch(process, queue, num_cases: int, tally: Tally, report: Callable[[str], None]) -> int:
    """Follows a process until its last case, its death or a hang; returns the number of cases it has processed."""
    # Processor time counts, since wall time says little on a busy machine; so does waiting for an idle process.
    worker = psutil.Process(process.pid)
    finished, current, waited, before = 0, None, -_PATIENCE_SECONDS, math.inf
    while finished < num_cases:
        if not queue.empty():
            number, kind, outcome, seconds, gib = queue.get()
            waited, before = 0.0, _processor_seconds(worker)
            if outcome == "begins":
                current = number, kind
                continue
            finished += 1
            if outcome.startswith("FINDING"):
                report(f"case {number} ({kind}): {outcome}")
            tally.add(number, kind, outcome, seconds, gib)
            continue
        dead, late = (
            not process.is_alive(),
            (waited > _PATIENCE_SECONDS or _processor_seconds(worker) - before > MAX_SECONDS),
        )
        if not (dead or late):
            time.sleep(_POLL_SECONDS)
            waited += _POLL_SECONDS
            continue
        if dead and not queue.empty():
            continue
        if dead and current is None:
            raise RuntimeError("The process that reads the files could not be started.")
        if dead and process.exitcode == 0:
            return finished  # it ended itself after a finding
        process.kill()
        report(f"case {current[0]} ({current[1]}): FINDING {'hangs' if late else f'dies ({process.exitcode})'}")
        tally.counts[current[1], "FINDING"] += 1
        return finished + 1
    return finished


def _processor_seconds(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0


def main(argv) -> None:
    """Runs the cases and prints their outcomes."""
    del argv
    standard_logging.disable(standard_logging.INFO)
    rng = np.random.default_rng(_SEED.value)
    kinds = [_ONLY.value] * _CASES.value if _ONLY.value else None
    kinds = kinds or rng.choice(list(SHARES), _CASES.value, p=list(SHARES.values())).tolist()
    start = time.monotonic()
    tally = run(kinds, seed=_SEED.value, report=lambda line: print(line, flush=True))
    for kind in SHARES:
        outcomes = {outcome: tally.counts[kind, outcome] for outcome in ("result", "error", "FINDING")}
        if kind in tally.slowest:
            slowest, number = tally.slowest[kind]
            print(f"{kind} {outcomes}, slowest {slowest:.2f} s (case {number}), peak {tally.peak_gib[kind]:.2f} GiB")
    print(f"{_CASES.value} cases in {time.monotonic() - start:.0f} s")
    sys.exit(1 if any(outcome == "FINDING" for _, outcome in tally.counts) else 0)


if __name__ == "__main__":
    app.run(main)
