"""The volume and the network of the benchmark are what it says they are."""

import numpy as np

from benchmarks import marked_lesions, segment
from ssinfnet_jax import models
from ssinfnet_jax.data import ct, labels


def test_half_of_the_slices_have_lung_and_a_third_a_lesion_that_is_found():
    hu, affine, kinds = segment.draw(12, 256)
    assert hu.shape == (256, 256, 12)
    assert affine[2, 2] == 1
    assert {name: kind.sum() for name, kind in kinds.items()} == {"lung": 6, "lesion": 4}
    assert not (kinds["lesion"] & ~kinds["lung"]).any()
    inside = (hu < -500)[64:192, 96:160].mean(axis=(0, 1))  # the middle of the body
    assert (inside[kinds["lung"]] > 0.1).all()
    assert (inside[~kinds["lung"]] < 0.01).all()
    grey = np.stack(
        [labels.resize_image(ct.window_hu(hu[..., k], ct.LOW_HU, ct.HIGH_HU), (352, 352)) for k in range(12)]
    )
    found = np.asarray(marked_lesions.find(grey[..., None] / np.float32(255))).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(found, kinds["lesion"])


def test_the_finder_is_a_network_of_the_package():
    name, options = segment._NETWORKS["single"]
    models.check(name, options, 64)
    assert models.output(name, **options) == "maps"


def test_parts_are_what_goes_beyond_one_slice():
    one = {"seconds": 10.0, "parts": {"files": [1.0, 1], "single network": [4.0, 1]}}
    many = {"seconds": 30.0, "parts": {"files": [3.0, 1], "single network": [12.0, 50], "multi network": [2.0, 20]}}
    assert segment.shares(one, many) == {"files": 2.0, "single network": 8.0, "multi network": 2.0, "all": 20.0}
