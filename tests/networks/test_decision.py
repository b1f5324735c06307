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


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"rule": "best"}, "Unknown config.x.rule 'best'; choose one of likeliest, joint"),
        ({"threshold": 0.4}, "Unknown config.x.threshold; it has rule, lesion_threshold"),
        ({"lesion_threshold": 1.0}, r"lesion_threshold must be in \(0, 1\), found 1\.0"),
        ({"consolidation_share": -0.1}, r"consolidation_share must be in \(0, 1\), found -0\.1"),
        ({"multi_weight": 1.5}, r"multi_weight must be in \[0, 1\], found 1\.5"),
        ({"lesion_threshold": "high"}, r"config.x.lesion_threshold must be in \(0, 1\), found 'high'; give a number"),
    ],
)
def test_mistakes(table, message):
    with pytest.raises(ValueError, match=message):
        Decision.of(table, "config.x")
