import numpy as np

from benchmarks import resolution_limit


def test_large_lesions_can_be_shown_and_specks_cannot():
    masks = np.zeros((2, 32, 32), bool)
    masks[0, 8:24, 8:24] = True
    masks[1, 5::8, 5::8] = True
    square, specks = resolution_limit.limit(masks, 8)
    assert square > 0.9
    assert specks < 0.3
    assert resolution_limit.limit(masks[1:], 2)[0] > 1.5 * specks
