"""The segmenter gives what the stored networks give."""

import jax
import numpy as np
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.networks import prediction, storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.decision import Decision
from ssinfnet_jax.networks.inputs import Normalisation
from tests.inference.tiny_networks import trained


def _records():
    rng = np.random.default_rng(0)
    return [
        {"image": rng.integers(0, 85 * (i + 1), (64, 64), np.uint8), "slice_id": f"s{i}", "patient_id": "p"}
        for i in range(3)
    ]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder of both networks, and {"single" | "multi": (prediction, variables)}."""
    folder, predicts = tmp_path_factory.mktemp("networks"), {}
    for which, name in (("single", "unet"), ("multi", "multi_ssinfnet")):
        model = models.create(name, width=0.125)
        variables = trained(models.init(model, 3, models.num_inputs(name)))
        description = {
            "model": name, "options": {"width": 0.125}, "image_size": 64, "normalisation": {"mean": 0.4, "std": 0.3},
        }  # fmt: skip
        storage.save(folder / which, variables, NetworkCard.from_json(description))
        predict = prediction.make_predict(
            model,
            num_inputs=models.num_inputs(name),
            output=models.output(name),
            normalisation=Normalisation(0.4, 0.3),
        )
        predicts[which] = jax.jit(predict), variables
    return folder, predicts


def test_the_segmenter_gives_what_the_stored_networks_give(stored):
    folder, predicts = stored
    records = _records()
    found = segmenter.Segmenter(folder / "single", folder / "multi").probabilities(records, range(3))
    image = np.stack([record["image"] for record in records])
    (predict, variables), (predict_multi, variables_multi) = predicts["single"], predicts["multi"]
    lesion = predict(variables, {"image": image})
    # Priors of the segmenter itself: at a rounding edge they are a step of 1/255 apart.
    for row, (_, probs) in enumerate(found):
        np.testing.assert_allclose(probs[0], lesion[row], atol=1e-4)
        batch = {"image": image[row : row + 1], "prior": np.round(probs[0][None] * 255).astype(np.uint8)}
        np.testing.assert_allclose(probs[1], predict_multi(variables_multi, batch)[0], atol=1e-4)


def test_the_multi_network_runs_only_where_the_decision_may_find_a_lesion(stored):
    """Batches in which no pixel reaches the threshold are left out, and no label changes."""
    folder, _ = stored
    network = segmenter.Segmenter(folder / "single", folder / "multi", batch_size=1)
    divide, seen = network._divide, []
    network._divide = lambda batch: seen.append(batch["slice_id"][0]) or divide(batch)
    whole = [probs for _, probs in network.probabilities(_records(), range(3))]
    highest = {f"s{start}": max(lesion.max() for lesion, _ in whole[start : start + network.batch_size])
               for start in range(0, 3, network.batch_size)}  # fmt: skip
    threshold = float(np.mean(list(highest.values())))
    for decision, at_least in (
        (Decision("joint", threshold, 0.5, 0.0), threshold),
        (Decision("joint", threshold, 0.5, 0.25), (threshold - 0.25) / 0.75),
        (Decision("joint", threshold, 0.5, 1.0), 0.0),
        (Decision("likeliest"), 0.0),
    ):
        seen.clear()
        found = [probs for _, probs in network.probabilities(_records(), range(3), decision)]
        assert seen == [name for name, value in highest.items() if value > at_least]
        for one, other in zip(found, whole, strict=True):
            np.testing.assert_array_equal(decision.labels(*one), decision.labels(*other))
        if decision.multi_weight == 0.0 and decision.rule == "joint":
            assert 0 < len(seen) < len(highest)
