"""Segments many scans independently: a failed scan stops no other, and a rerun does only what is missing."""

import dataclasses
import functools
import hashlib
import itertools
import json
import logging as standard_logging
import pathlib
import shutil
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import pandas as pd
from absl import logging

from ssinfnet_jax import dask_tasks, rundir
from ssinfnet_jax.data import input_files
from ssinfnet_jax.data.readers import find
from ssinfnet_jax.data.readers.dicom import series as dicom
from ssinfnet_jax.inference import segment_scan
from ssinfnet_jax.networks import card
from ssinfnet_jax.networks.card import NetworkCard

FAILURES = ("scan", "source", "left_out", "reason")  # columns of failures.csv
# Everything that a call writes, including its pages.
WRITTEN = ("images", "masks", "scans", "cases", "measurements.csv", "failures.csv", input_files.FILE, "report.html")


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process needs to segment scans; small, so that it can be sent to another process.

    Attributes:
      single_dir, multi_dir: model folders.
      out_dir: output folder.
      options: how to segment.
      input_kind: "hu" | "uint8" if set by the user.
      batch_size: slices per call of the networks.
      cache_dir: cache of compiled programs, or None.
      force: segments volumes in which no lungs are found, too.
    """

    single_dir: pathlib.Path
    multi_dir: pathlib.Path
    out_dir: pathlib.Path
    options: segment_scan.Options
    input_kind: str | None
    batch_size: int
    cache_dir: str | None
    force: bool = False


def run(
    job: Job,
    inputs: Sequence[pathlib.Path],
    *,
    num_workers: int = 0,
    scheduler: str | None = None,
    report: input_files.Report | None = None,
    choice: find.Choice | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Segments all scans in `inputs`; writes `measurements.csv`, `failures.csv`, `unused_files.csv` beside the scans.

    Afterwards, `images` and `masks` hold exactly the files of the scans in `scans`: lost files are rewritten, and files
    of scans that the last call measured and whose folders are gone are removed.

    Args:
      job: how to segment, and the output folder.
      inputs: files and folders.
      num_workers: processes on this machine; 0 uses only this one.
      scheduler: address of a running Dask scheduler to use instead; its workers must see the same files.
      report: records the files that are not used.
      choice: of kernel and phase.
    Returns: measurements, one row per scan; failures: scan, source, left_out (not a CT volume), reason.
    Raises: ValueError or OSError if there is no scan or no network, or if the folder holds results of other networks or
      files that no call has written.
    """
    quieten()
    report = input_files.Report() if report is None else report
    sources = find.find(inputs, report, choice)
    _check_out(job.out_dir, inputs)
    run_dir = rundir.open_run(job.out_dir, _config(job))
    scans_dir = run_dir.stage("scans")
    for partial in scans_dir.glob(".partial-*"):
        shutil.rmtree(partial)
    before = {path.parent.name: json.loads(path.read_text()) for path in sorted(scans_dir.glob("*/scan.json"))}
    lost = _forget_lost(before, sources, job)
    known = {row.get("identity"): row for row in before.values()}
    missing = [source for source in sources if source.identity not in known]
    if len(missing) < len(sources):
        logging.info("%d of %d scans were segmented before.", len(sources) - len(missing), len(sources))
    there = [(source, known[source.identity]) for source in sources if source.identity in known]
    changed = [
        (source, _changed(source, row, job)) for source, row in there if row.get("stamp") not in (None, source.stamp)
    ]
    taken = [(source, _taken(source, before[source.name], job)) for source in missing if source.name in before]
    free = [source for source in missing if source.name not in before]
    failures, refused = [], {}
    for source, result in itertools.chain(changed, taken, lost, _results(job, free, num_workers, scheduler)):
        if isinstance(result, Exception):
            failures.append(_failure(source, result))
            refused[source.identity] = ("left out" if failures[-1]["left_out"] else "failed", failures[-1]["reason"])
    failed = pd.DataFrame(sorted(failures, key=lambda row: row["scan"]), columns=list(FAILURES))
    done = [json.loads(path.read_text()) for path in sorted(scans_dir.glob("*/scan.json"))]
    table = pd.DataFrame(done, columns=segment_scan.COLUMNS)
    for name in measured(job.out_dir) - set(table["scan"]):
        for kind in ("images", "masks"):
            segment_scan.remove_files(job.out_dir / kind, scans_dir, name)
    rundir.write_text(job.out_dir / "measurements.csv", table.to_csv(index=False))
    rundir.write_text(job.out_dir / "failures.csv", failed.to_csv(index=False))
    _count_files(sources, refused, done, report)
    report.write(job.out_dir)
    return table, failed


def _config(job: Job) -> dict[str, Any]:
    """What the results depend on. Raises ValueError for a model that cannot be what it is given as."""
    config = {"options": dataclasses.asdict(job.options)}
    models = [(directory, NetworkCard.read(directory)) for directory in (job.single_dir, job.multi_dir)]
    for which, (directory, found) in zip(("single", "multi"), models, strict=True):
        _check_role(which, directory, found)
        found.scan_input(directory)
        config[f"{which}_sha256"] = _hash(directory)
    card.check_same_input(*models)
    return config


def _failure(source: find.Source, error: Exception) -> dict[str, Any]:
    """A row of failures.csv."""
    reason = input_files.readable(" ".join(str(error).split())) or type(error).__name__
    # Unexpected errors are logged with their traceback.
    foreseen = isinstance(error, ValueError | OSError | dask_tasks.WorkerDiedError)
    logging.warning("%s: %s", source.name, reason, exc_info=None if foreseen else error)
    left_out = isinstance(error, dicom.LeftOutError)
    path = input_files.readable(str(source.path))
    return dict(zip(FAILURES, (source.name, path, left_out, reason), strict=True))


def _count_files(
    sources: list[find.Source],
    refused: dict[str, tuple[str, str]],
    done: list[dict[str, Any]],
    report: input_files.Report,
) -> None:
    """Counts the files of this call's scans as used or unused; `refused`: identity -> kind and reason."""
    left_out_of = {row.get("identity"): row.get("left_out", {}) for row in done}
    for source in sources:
        if source.identity in refused:
            report.leave_out(source.path, *refused[source.identity], files=source.num_files)
            continue
        left_out = left_out_of.get(source.identity, {})
        for path, reason in left_out.items():
            report.leave_out(pathlib.Path(path), "left out of a series", reason)
        report.used += source.num_files - len(left_out)


def measured(out_dir: pathlib.Path) -> set[str]:
    """Returns the names of the scans that the last call measured, whether or not they still exist."""
    path = out_dir / "measurements.csv"
    if not path.is_file() or not (out_dir / "config.json").is_file():
        return set()
    return set(pd.read_csv(path, usecols=["scan"], dtype=str, keep_default_na=False)["scan"])


def _check_out(out_dir: pathlib.Path, inputs: Sequence[pathlib.Path]) -> None:
    """Raises ValueError if results could overwrite the user's own files, or if the path cannot be a folder."""
    rundir.check_folder(out_dir)
    for path in inputs:
        if path.resolve() == out_dir.resolve():
            raise ValueError(
                f"--out={out_dir} is the same folder as --input={path}; use a new folder, inside it or not."
            )
    found = [name for name in WRITTEN if (out_dir / name).exists()]
    if found and not (out_dir / "config.json").exists():
        raise ValueError(
            f"--out={out_dir} must be a new folder or hold results of launch.segment, but it holds {', '.join(found)} "
            "and no config.json: results could overwrite files there. Use a new folder."
        )


def _check_role(which: str, directory: pathlib.Path, found: NetworkCard) -> None:
    """Raises ValueError if a model cannot be the network `which`."""
    try:
        found.check_role(which)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{directory} cannot be the {which} network: {error} Check whether --single and --multi are swapped."
        ) from error


def _forget_lost(
    before: dict[str, dict[str, Any]], sources: list[find.Source], job: Job
) -> list[tuple[find.Source, ValueError]]:
    """Removes scans that lost a file from `before` and `scans`, so that they are segmented again.

    Returns: errors for scans that are not among the sources. Changed scans are reported elsewhere.
    """
    given, told = {source.identity: source for source in sources}, []
    for name, row in list(before.items()):
        file, source = segment_scan.lost_file(job.out_dir, name), given.get(row.get("identity"))
        if file is None:
            continue
        if source is None:
            path, folder = pathlib.Path(row["source"]), job.out_dir / "scans" / name
            remedy = f"add --input={path} to rewrite it, or delete {folder} to remove the scan"
            told.append((find.Source(name, path, "", ()), ValueError(f"{file} is missing: {remedy}.")))
        elif row.get("stamp") in (None, source.stamp):
            logging.info("%s is missing: segmenting %s again.", file, name)
            shutil.rmtree(job.out_dir / "scans" / name)
            del before[name]
    return told


def _changed(source: find.Source, before: dict[str, Any], job: Job) -> ValueError:
    return ValueError(
        f"{source.path} has changed since it was segmented as {before['scan']} in {job.out_dir}; delete "
        f"{job.out_dir / 'scans' / before['scan']} to segment it again."
    )


def _taken(source: find.Source, before: dict[str, Any], job: Job) -> ValueError:
    return ValueError(
        f"{source.path} would be named {source.name}, like {before['source']} in {job.out_dir}. If it is the same "
        f"scan, moved or with other files, delete {job.out_dir / 'scans' / source.name} to segment it again; else "
        "rename it, or use another --out."
    )


def _results(
    job: Job, sources: list[find.Source], num_workers: int, scheduler: str | None
) -> Iterator[tuple[find.Source, Any]]:
    """Yields (source, row or error) as they finish."""
    function = functools.partial(_segment, job)
    if not num_workers and not scheduler:
        for source in sources:
            try:
                yield source, function(source)
            except Exception as error:  # reported in failures.csv
                yield source, error
        return
    with dask_tasks.client(scheduler, None if scheduler else num_workers) as client:
        yield from dask_tasks.run_all(
            function, sources, client=client, description="segment", total=len(sources), unit="scan"
        )


def quieten() -> None:
    """Silences libraries that log every odd element of every file, and every error with its traceback."""
    for library in ("pydicom", "nibabel"):
        standard_logging.getLogger(library).setLevel(standard_logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")


def _segment(job: Job, source: find.Source) -> dict[str, Any]:
    quieten()
    if job.cache_dir:
        jax.config.update("jax_compilation_cache_dir", job.cache_dir)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    both = _networks(job.single_dir, job.multi_dir, job.options.flips, job.batch_size)
    return segment_scan.segment(source, both, job.options, job.out_dir, job.input_kind, job.force)


@functools.lru_cache(maxsize=1)
def _networks(*arguments) -> segment_scan.Networks:
    """Loads and compiles the networks, once per process."""
    return segment_scan.Networks(*arguments)


def _hash(directory: pathlib.Path) -> str:
    """Computes SHA-256 over the names and contents of all files in a model folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(directory)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
