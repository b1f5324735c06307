"""Time and memory of bootstrap and screening, and how they scale: python -m benchmarks.mediation [--out=FILE.json]

Three exposures; percentile, BC and BCa intervals of every pair, or of pairs by resampling `clusters` (0: patients); the
screening of one exposure's mediators, with `draws` halves. Each case runs in its own process, so
seconds include compilation and the peak memory is that of the case.
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

import numpy as np
import pandas as pd

BASE = {"what": "bootstrap", "patients": 1338, "mediators": 204, "draws": 5000, "clusters": 0}
SCREENING = BASE | {"what": "screening", "draws": 50}
CASES = [
    BASE,
    *(BASE | {"patients": n} for n in (334, 669, 2676, 5352)),
    *(BASE | {"mediators": k} for k in (51, 102, 408, 816)),
    *(BASE | {"draws": draws} for draws in (1250, 2500, 10000, 20000)),
    *(BASE | {"clusters": clusters} for clusters in (20, 200)),
    *(SCREENING | {"mediators": k} for k in (204, 500, 1000)),
]
EXPOSURES = ["age", "gender", "underlying"]


def measure(case: dict) -> dict:
    """Measures the seconds of one bootstrap or screening, and the process's peak memory (MiB)."""
    from ssinfnet_jax.analysis import mediation
    from ssinfnet_jax.analysis.mediation.sampling import Sampling

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    table = cohort(case["patients"], case["mediators"])
    started = time.perf_counter()
    names = [name for name in table if name[0] == "m"]
    if case["what"] == "screening":
        table[names] = table[names].fillna(table[names].mean())
        found = mediation.screen(table, EXPOSURES[:1], names, resamples=case["draws"])["stability"]
    else:
        clusters = np.arange(case["patients"]) % case["clusters"] if case["clusters"] else None
        found = mediation.bootstrap(table, EXPOSURES, names, draws=case["draws"], sampling=Sampling(clusters=clusters))
    seconds = time.perf_counter() - started
    assert not found.isna().any(axis=None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return case | {"seconds": round(seconds, 1), "imports_mib": before // 1024, "peak_mib": peak // 1024}


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
    out = parser.parse_args().out
    context = multiprocessing.get_context("spawn")
    print(f"{'what':>9} {'patients':>8} {'mediators':>9} {'draws':>6} {'clusters':>8} {'seconds':>8} {'peak MiB':>9}")
    results = []
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1)
    with pool:
        for found in pool.map(measure, CASES):
            results.append(found)
            columns = (found[name] for name in (*BASE, "seconds", "peak_mib"))
            print("{:>9} {:8d} {:9d} {:6d} {:8d} {:8.1f} {:9d}".format(*columns), flush=True)
    machine = {"cpus": len(os.sched_getaffinity(0)), "processor": platform.processor() or platform.machine()}
    text = json.dumps({"machine": machine, "exposures": len(EXPOSURES), "results": results}, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n")


if __name__ == "__main__":
    main()
