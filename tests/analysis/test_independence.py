import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["phenotypes", "severity"])
def test_phenotypes_load_without_jax(module):
    code = (
        f"import sys, ssinfnet_jax.analysis.{module}; "
        "loaded = {'jax', 'flax', 'matplotlib.pyplot'} & set(sys.modules); "
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
