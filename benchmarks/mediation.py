"""Time and memory of the mediation analysis, and how they grow: python -m benchmarks.mediation [--what=bootstrap,...]

Each line is one function of `ssinfnet_jax.analysis.mediation` on three exposures (the screening: on one) and all
mediators:

  bootstrap    percentile, BC and BCa intervals of every pair; `clusters` are resampled whole (0: patients)
  screening    `draws` halves for the stability
  moderated    indirect effects by gender and their index, with intervals; both paths moderated
  ordinal      natural effects on five levels of severity
  fiml         a path model of incomplete data
  imputation   `draws` imputed tables of ten cycles, pooled

Each case runs in its own process, so seconds include compilation and the peak memory is that of the case. Processor
seconds are those of all its threads: on a busy machine they say more than the wall-clock.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import platform
import resource
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation import imputation
from ssinfnet_jax.analysis.mediation.estimation.sampling import Sampling

BASE = {"what": "bootstrap", "patients": 1338, "mediators": 204, "draws": 5000, "clusters": 0}
SCREENING = BASE | {"what": "screening", "draws": 50}
MODERATED = BASE | {"what": "moderated", "clusters": 20}
ORDINAL = BASE | {"what": "ordinal", "draws": 0}
FIML = ORDINAL | {"what": "fiml", "mediators": 8}
IMPUTATION = ORDINAL | {"what": "imputation", "draws": 20}
CASES = [
    BASE,
    *(BASE | {"patients": n} for n in (334, 669, 2676, 5352)),
    *(BASE | {"mediators": k} for k in (51, 102, 408, 816)),
    *(BASE | {"draws": draws} for draws in (1250, 2500, 10000, 20000)),
    *(BASE | {"clusters": clusters} for clusters in (20, 200)),
    *(SCREENING | {"mediators": k} for k in (204, 500, 1000)),
    *(MODERATED | change for change in ({}, {"patients": 334}, {"mediators": 51}, {"draws": 1250}, {"clusters": 0})),
    *(ORDINAL | change for change in ({}, {"patients": 334}, {"mediators": 51})),
    *(FIML | change for change in ({}, {"patients": 334}, {"mediators": 4}, {"mediators": 16})),
    *(IMPUTATION | change for change in ({}, {"patients": 334}, {"mediators": 51}, {"draws": 5})),
]
EXPOSURES = ["age", "gender", "underlying"]


def measure(case: dict) -> dict:
    """Measures the seconds of one case, the processor seconds, and the process's peak memory (MiB)."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    table = cohort(case["patients"], case["mediators"])
    started = time.perf_counter()
    found = RUNS[case["what"]](table, [name for name in table if name[0] == "m"], case)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert not found.isna().any(axis=None)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    measured = {"seconds": round(seconds, 1), "processor_seconds": round(processor, 1)}
    return case | measured | {"imports_mib": before.ru_maxrss // 1024, "peak_mib": after.ru_maxrss // 1024}


def _bootstrap(table: pd.DataFrame, names: list[str], case: dict) -> pd.DataFrame:
    return mediation.bootstrap(table, EXPOSURES, names, draws=case["draws"], sampling=_sampling(case))


def _screening(table: pd.DataFrame, names: list[str], case: dict) -> pd.DataFrame:
    table[names] = table[names].fillna(table[names].mean())
    return mediation.screen(table, EXPOSURES[:1], names, resamples=case["draws"])[["stability"]]


def _moderated(table: pd.DataFrame, names: list[str], case: dict) -> pd.DataFrame:
    exposures = ["age", "underlying", "smoking"]
    table["smoking"] = np.random.default_rng(1).integers(0, 2, len(table))
    how = {"moderated": "both", "draws": case["draws"], "sampling": _sampling(case)}
    return mediation.moderated_effects(table, exposures, names, "gender", **how)[["se", "bootstrap_bca_lower"]]


def _ordinal(table: pd.DataFrame, names: list[str], case: dict) -> pd.DataFrame:
    table["severity"] = np.random.default_rng(1).integers(0, 5, len(table))
    found = mediation.ordinal_effects(table, EXPOSURES, names, levels=range(5), sampling=_sampling(case))
    return found[["indirect_se", "parallel_p"]]


def _fiml(table: pd.DataFrame, names: list[str], case: dict) -> pd.DataFrame:
    of_all = {exposure: names for exposure in EXPOSURES}
    return mediation.multiple(table, of_all, residual_covariances=True, missing="fiml").estimates[["est", "se"]]


def _imputation(table: pd.DataFrame, names: list[str], case: dict) -> pd.DataFrame:
    found = imputation.imputed_effects(table, EXPOSURES, names, count=case["draws"], sampling=_sampling(case))
    return found[["indirect_se", "natural_indirect_se"]]


def _sampling(case: dict) -> Sampling:
    return Sampling(clusters=np.arange(case["patients"]) % case["clusters"] if case["clusters"] else None)


RUNS: dict[str, Callable[[pd.DataFrame, list[str], dict], pd.DataFrame]] = {
    "bootstrap": _bootstrap,
    "screening": _screening,
    "moderated": _moderated,
    "ordinal": _ordinal,
    "fiml": _fiml,
    "imputation": _imputation,
}


def cohort(patients: int, mediators: int) -> pd.DataFrame:
    """Simulates mediators as noise plus age; in the second half, one in ten values is missing."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(50, 15, patients), "gender": rng.integers(0, 2, patients)})
    table["underlying"] = rng.poisson(1.0, patients)
    table["severity"] = rng.integers(0, 2, patients)
    values = rng.normal(size=(patients, mediators)) + 0.02 * table[["age"]].to_numpy()
    values[rng.random(values.shape) < 0.1 * (np.arange(mediators) >= mediators // 2)] = np.nan
    return table.join(pd.DataFrame(values, columns=[f"m{i}" for i in range(mediators)]))


def main() -> None:
    """Prints a table, and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    parser.add_argument("--what", default=",".join(RUNS), help=f"kinds to measure, of {','.join(RUNS)}")
    arguments = parser.parse_args()
    out, kinds = arguments.out, arguments.what.split(",")
    if unknown := set(kinds) - set(RUNS):
        parser.error(f"Unknown --what={','.join(sorted(unknown))}; choose from {','.join(RUNS)}.")
    context = multiprocessing.get_context("spawn")
    shown = {name: name for name in BASE} | {"seconds": "seconds", "processor_seconds": "processor", "peak_mib": "MiB"}
    print(*(f"{title:>10}" for title in shown.values()))
    results = []
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1)
    with pool:
        for found in pool.map(measure, [case for case in CASES if case["what"] in kinds]):
            results.append(found)
            print(*(f"{found[name]:>10}" for name in shown), flush=True)
    machine = {"cpus": len(os.sched_getaffinity(0)), "processor": platform.processor() or platform.machine()}
    text = json.dumps({"machine": machine, "exposures": len(EXPOSURES), "results": results}, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n")


if __name__ == "__main__":
    main()
