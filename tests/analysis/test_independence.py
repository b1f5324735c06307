import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["mediation", "phenotypes", "severity"])
def test_analysis_loads_without_jax(module):
    code = (
        f"import sys, ssinfnet_jax.analysis.{module}; "
        "loaded = {'jax', 'flax', 'matplotlib.pyplot'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
