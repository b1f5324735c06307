import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def cohort():
    """300 patients, 8 phenotypes of two classes: three mediate age, two mediate diseases, the rest nothing."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"age": rng.normal(50, 15, 300), "diseases": rng.poisson(1.0, 300).astype(float)})
    table["gender"] = rng.integers(0, 2, 300)
    names = ["Entropy", "Kurtosis", "Skewness", "Uniformity", "Mean", "Energy"]
    for i, name in enumerate([*(f"ggo_firstorder_{n}" for n in names), "ggo_glcm_Imc1", "ggo_glcm_MCC"]):
        table[name] = (i < 3) * 0.05 * table["age"] + (i in (2, 3)) * 0.8 * table["diseases"] + rng.normal(size=300)
    table["ggo_firstorder_Uniformity"] *= -1
    signs = [1, 1, 1, -1]
    score = sum(s * table[f"ggo_firstorder_{n}"] for s, n in zip(signs, names, strict=False))
    table["severity"] = (score + rng.normal(size=300) > score.median()).astype(int)
    return table


@pytest.fixture(scope="module")
def phenotypes(cohort):
    return [name for name in cohort if name.startswith("ggo_")]
