import pathlib

import numpy as np
import pandas as pd
import pytest

GOLDEN = pathlib.Path(__file__).resolve().parents[3] / "shared" / "golden"


@pytest.fixture(scope="session")
def golden():
    """Reads a table of reference numbers; skips the test if it does not exist."""

    def read(name: str) -> pd.DataFrame:
        path = GOLDEN / name
        if not path.exists():
            pytest.skip(f"reference numbers ../shared/golden/{name} are not on this machine")
        return pd.read_csv(path)

    return read


@pytest.fixture
def cohort() -> pd.DataFrame:
    """200 patients: `ggo_A` mediates age, `ggo_B` is nearly -`ggo_A`, `ggo_C` mediates diseases."""
    rng = np.random.default_rng(7)
    age, diseases = rng.normal(50, 15, 200), rng.poisson(1.0, 200).astype(float)
    a = 0.05 * age + rng.normal(size=200)
    c = 0.8 * diseases + rng.normal(size=200)
    severity = (0.9 * a + 0.7 * c + 0.01 * age + rng.normal(size=200) > 3.5).astype(int)
    return pd.DataFrame(
        {
            "patient_id": [f"p{i:03d}" for i in range(200)],
            "age": age,
            "diseases": diseases,
            "severity": severity,
            "ggo_A": a,
            "ggo_B": -a + 0.1 * rng.normal(size=200),
            "ggo_C": c,
            "ggo_Noise": rng.normal(size=200),
        }
    )
