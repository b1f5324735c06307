import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["phenotypes.cohort", "phenotypes.folder", "severity"])
def test_phenotypes_load_without_jax(module):
    code = (
        f"import sys, ssinfnet_jax.analysis.{module}; "
        "loaded = {'jax', 'flax', 'matplotlib.pyplot'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_worker_starts_without_what_tables_and_volumes_need():
    code = (
        "import sys, ssinfnet_jax.analysis.phenotypes.rows, ssinfnet_jax.analysis.phenotypes.picture_slices; "
        "loaded = {'pandas', 'pyarrow', 'nibabel', 'scipy', 'jax'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_mediation_knows_nothing_of_the_networks():
    code = (
        "import sys, ssinfnet_jax.analysis.mediation; "
        "loaded = {'flax', 'optax', 'orbax', 'grain', 'matplotlib.pyplot'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
