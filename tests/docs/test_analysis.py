"""Checks the numbers in docs/analysis.md for public slices."""

import numpy as np
import pytest

from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.analysis.phenotypes import columns, folder
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def slices(shared):
    data = shared / "data" / "covid-semiseg" / "TrainingSet" / "MultiClassInfection-Train"
    return phenotypes.table(folder.items(data / "Imgs", data / "GT"), num_workers=0, progress=False)


@pytest.fixture(scope="module")
def text():
    return " ".join((ROOT / "docs" / "analysis.md").read_text().split())


def test_observations_in_real_slices(slices, text):
    means = slices[["ggo_firstorder_Mean", "consolidation_firstorder_Mean"]].dropna()
    ggo, consolidation = means.to_numpy().T
    assert (consolidation > ggo).all()
    assert f"has both ({len(means)})" in text
    assert f"the means {np.median(consolidation):.0f} against {np.median(ggo):.0f} of 255" in text
    names = columns.names(["lesion"])
    correlations = slices[names].corrwith(slices["lesion_shape2D_PixelSurface"], method="spearman")
    others = correlations.drop("lesion_shape2D_PixelSurface")
    others = others[others.abs() > 0.8].sort_values(ascending=False, kind="stable")
    *following, against = [name.rpartition("_")[2] for name in others.index]
    assert f"four of the lesion's phenotypes ({', '.join(following)}) follow its area" in text
    assert f"of 0.89 and more, and {against} goes against it with {others.iloc[-1]:.2f}," in text
    assert others.iloc[-2] >= 0.89
    assert f"The names, {len(names)} per region, are" in text
