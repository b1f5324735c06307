"""Time to compute the phenotypes of many slices: python -m benchmarks.phenotypes [--slices=300] [--repeats=3]

Generated slices of 352 x 352, three regions each, are read from PNG files and measured in this process, by one and by
two workers, and by PyRadiomics' own extractor. The cases run in turns, so that other work on the machine slows all
alike. Seconds include starting the processes and writing the tables; nothing is precomputed. Processor seconds are
those of all processes: on a busy machine, half of those of two workers is a lower bound for two free cores. The ceiling
is the speed-up that two cores can reach: two bare processes, each with half of the slices and started at the same time
after loading everything, against one.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import platform
import resource
import tempfile
import time
import warnings

import numpy as np
import SimpleITK
from PIL import Image
from radiomics import featureextractor, setVerbosity

from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.analysis.phenotypes import folder
from ssinfnet_jax.data import labels

SIZE = 352
WORKERS = (0, 1, 2)


def write_slices(directory: pathlib.Path, slices: int) -> None:
    """Writes slices of generated patients with lesions, ten each, and their masks."""
    from ssinfnet_jax.data.datasets.ct_phantom import generator, population

    for name in ("images", "masks"):
        (directory / name).mkdir()
    number = written = 0
    while written < slices:
        patient = population.sample_patient(0, number)
        for index in range(10):
            slice_ = generator.render_slice(0, patient, index, 10, SIZE)
            if slice_.classes.any() and written < slices:
                image = labels.resize_image(slice_.image, (SIZE, SIZE))
                classes = labels.resize_label(slice_.classes, (SIZE, SIZE))
                for name, values in (("images", image), ("masks", classes)):
                    Image.fromarray(values).save(directory / name / f"{number}_{index}.png")
                written += 1
        number += 1


def copy_slices(directory: pathlib.Path, slices: int, images: str, masks: str) -> None:
    """Copies the slices of two folders repeatedly until there are enough."""
    sources = folder.items(images, masks)
    for name in ("images", "masks"):
        (directory / name).mkdir()
    for number in range(slices):
        image, classes, _ = sources[number % len(sources)].source()
        Image.fromarray(image).save(directory / "images" / f"{number}_0.png")
        Image.fromarray(classes).save(directory / "masks" / f"{number}_0.png")


def measure(directory: pathlib.Path, num_workers: int) -> tuple[float, float]:
    """Measures wall and processor seconds of both tables; 0 workers means in this process."""
    started, used = time.perf_counter(), processor_seconds()
    items = folder.items(directory / "images", directory / "masks", patients="^([0-9]+)_")
    with tempfile.TemporaryDirectory() as parts_dir:
        work = phenotypes.Work(parts_dir=parts_dir, num_workers=num_workers, progress=False)
        tables = phenotypes.measure(items, work=work)
    seconds = time.perf_counter() - started
    assert (tables.slices["error"] == "").all()
    return seconds, processor_seconds() - used


def measure_ceiling(directory: pathlib.Path, num_slices: int) -> float:
    """Measures the speed-up of two bare processes over one: less than 2 if cores share resources."""
    half = num_slices // 2
    alone, together = (_bare(directory, shares) for shares in ([(0, 2 * half)], [(0, half), (half, 2 * half)]))
    return alone / together


def _bare(directory: pathlib.Path, shares: list[tuple[int, int]]) -> float:
    """Measures the seconds that one process per share needs for the slices."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(len(shares) + 1), context.Barrier(len(shares) + 1)
    processes = [context.Process(target=_work, args=(directory, share, ready, done)) for share in shares]
    for process in processes:
        process.start()
    ready.wait()
    started = time.perf_counter()
    done.wait()
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    return seconds


def _work(directory: pathlib.Path, share: tuple[int, int], ready, done) -> None:
    """A bare process: loads everything, measures one slice, waits for the others, then measures its share."""
    items = folder.items(directory / "images", directory / "masks")
    phenotypes.table(items[:1], num_workers=0, progress=False)
    ready.wait()
    phenotypes.table(items[slice(*share)], num_workers=0, progress=False)
    done.wait()


def processor_seconds() -> float:
    """Returns the processor seconds of this process and of its finished children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure_extractor(directory: pathlib.Path, slices: int) -> float:
    """Measures the seconds per slice of PyRadiomics' own extractor, called on every region that is large enough."""
    setVerbosity(60)
    extractor = featureextractor.RadiomicsFeatureExtractor(binWidth=2.0, force2D=True, additionalInfo=False)
    extractor.disableAllFeatures()
    for name in ("firstorder", "glcm", "gldm", "ngtdm"):
        extractor.enableFeatureClassByName(name)
    started = time.perf_counter()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for item in folder.items(directory / "images", directory / "masks")[:slices]:
            image, classes, _ = item.source()
            for values in phenotypes.REGIONS.values():
                inside = np.isin(classes, values)
                if inside.sum() >= phenotypes.EIGHT_BIT.min_pixels:
                    volumes = image[None].astype(float), inside[None].astype(np.uint8)
                    extractor.execute(*map(SimpleITK.GetImageFromArray, volumes))
    return (time.perf_counter() - started) / slices


def main() -> None:
    """Prints seconds and ratios, and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--extractor", type=int, default=0, help="slices on which to measure PyRadiomics' own extractor, too"
    )
    parser.add_argument("--images", help="folder of slices to use instead of generated ones")
    parser.add_argument("--masks", help="folder of their masks")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder_name:
        directory = pathlib.Path(folder_name)
        if options.images:
            copy_slices(directory, options.slices, options.images, options.masks)
        else:
            write_slices(directory, options.slices)
        rows = []
        for _ in range(options.repeats):
            measured = {workers: measure(directory, workers) for workers in WORKERS}
            row = {f"workers_{workers}": [round(value, 1) for value in values] for workers, values in measured.items()}
            ratios = {f"against_{workers}": round(measured[workers][0] / measured[2][0], 2) for workers in (0, 1)}
            ratios["ceiling"] = round(measure_ceiling(directory, options.slices), 2)
            rows.append({**row, **ratios, "load": round(os.getloadavg()[0], 1)})
            print(rows[-1], flush=True)
        extractor = round(measure_extractor(directory, options.extractor), 3) if options.extractor else None
    machine = {"cpus": len(os.sched_getaffinity(0)), "processor": platform.processor() or platform.machine()}
    text = json.dumps(
        {"machine": machine, "slices": options.slices, "rows": rows, "extractor_seconds_per_slice": extractor}, indent=2
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
