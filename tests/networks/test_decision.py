import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax.networks.decision import Decision

# Four pixels: lesion by the single network, and background, GGO, consolidation by the multi network.
LESION = np.array([0.9, 0.9, 0.2, 0.6], np.float32)
CLASSES = np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [0.5, 0.25, 0.25]], np.float32)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (None, [0, 2, 2, 0]),
        ({"rule": "joint"}, [1, 2, 0, 1]),
        ({"rule": "joint", "lesion_threshold": 0.7}, [1, 2, 0, 0]),
        ({"rule": "joint", "consolidation_share": 0.3}, [2, 2, 0, 2]),
        ({"rule": "joint", "consolidation_share": 0.7}, [1, 1, 0, 1]),
        ({"rule": "joint", "multi_weight": 1.0, "lesion_threshold": 0.4}, [0, 2, 2, 1]),
        ({"rule": "joint", "multi_weight": 0.5}, [1, 2, 2, 1]),  # 0.6, 0.85, 0.55, 0.55
    ],
)
@pytest.mark.parametrize("xp", [np, jnp])
def test_labels_by_hand(table, expected, xp):
    decision = Decision.of(table, "config.multi.decision")
    found = decision.labels(xp.asarray(LESION), xp.asarray(CLASSES))
    assert (found.tolist(), found.dtype) == (expected, np.uint8)
    assert isinstance(found, np.ndarray) == (xp is np)


@pytest.mark.parametrize("xp", [np, jnp])
def test_a_class_with_hardly_any_share_of_a_slice_is_the_other_one(xp):
    """By hand: slices of ten lesion pixels, of which 0, 2, 5, 8 and 10 are consolidation, and one without lesion."""
    num_dense = np.array([0, 2, 5, 8, 10, 3])
    dense = np.arange(10) < num_dense[:, None]
    lesion = np.full((6, 2, 5), 0.9, np.float32)
    lesion[-1] = 0.1
    classes = np.stack([np.zeros(dense.shape), ~dense, dense], axis=-1).reshape(6, 2, 5, 3).astype(np.float32)
    for least, expected in ((0.0, [0, 2, 5, 8, 10, 0]), (0.2, [0, 2, 5, 8, 10, 0]), (0.25, [0, 0, 5, 10, 10, 0])):
        decision = Decision("joint", least_share=least)
        found = decision.labels(xp.asarray(lesion), xp.asarray(classes))
        assert (found == 2).sum(axis=(1, 2)).tolist() == expected
        assert (found > 0).sum(axis=(1, 2)).tolist() == [10] * 5 + [0]
        pixels = [decision.labels(one.ravel(), of.reshape(-1, 3)) for one, of in zip(lesion, classes, strict=True)]
        np.testing.assert_array_equal(np.stack(pixels), np.asarray(found).reshape(6, 10))


def test_without_a_multi_network():
    assert Decision().labels(LESION).tolist() == [1, 1, 0, 1]
    assert Decision("joint", lesion_threshold=0.7).labels(LESION).tolist() == [1, 1, 0, 0]


def test_another_threshold():
    multi_alone = Decision().with_threshold(0.4)
    assert multi_alone.labels(LESION, CLASSES).tolist() == [0, 2, 2, 1]
    both = Decision("joint", consolidation_share=0.3).with_threshold(0.95)
    assert (both.lesion_threshold, both.consolidation_share) == (0.95, 0.3)


def test_words():
    assert Decision().words == "the likeliest class of the multi network"
    divided = "; consolidation where its share is above 0.5"
    assert Decision("joint").words == f"probability (single network) above 0.5{divided}"
    assert Decision().with_threshold(0.4).words == f"probability (multi network) above 0.4{divided}"
    mixed = Decision("joint", 0.6, multi_weight=0.25).words
    assert mixed == f"probability (0.75 single network + 0.25 multi network) above 0.6{divided}"
    few = "; a class with less than 5% of a slice's lesion counts as the other"
    assert Decision("joint", least_share=0.05).words == f"probability (single network) above 0.5{divided}{few}"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"rule": "best"}, "Unknown config.x.rule 'best'; choose one of likeliest, joint"),
        ({"threshold": 0.4}, "Unknown config.x.threshold; it has rule, lesion_threshold"),
        ({"lesion_threshold": 1.0}, r"lesion_threshold must be in \(0, 1\), found 1\.0"),
        ({"consolidation_share": -0.1}, r"consolidation_share must be in \(0, 1\), found -0\.1"),
        ({"multi_weight": 1.5}, r"multi_weight must be in \[0, 1\], found 1\.5"),
        ({"least_share": 0.5}, r"least_share must be in \[0, 0\.5\), found 0\.5"),
        ({"lesion_threshold": "high"}, r"config.x.lesion_threshold must be in \(0, 1\), found 'high'; give a number"),
    ],
)
def test_mistakes(table, message):
    with pytest.raises(ValueError, match=message):
        Decision.of(table, "config.x")
