"""The segmenter gives what the stored networks give."""

import jax
import numpy as np

from ssinfnet_jax import models
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.networks import prediction, storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.inputs import Normalisation
from tests.inference.tiny_networks import trained


def test_the_segmenter_gives_what_the_stored_networks_give(tmp_path):
    rng = np.random.default_rng(0)
    records = [
        {"image": rng.integers(0, 256, (64, 64), np.uint8), "slice_id": f"s{i}", "patient_id": "p"} for i in range(3)
    ]
    stored = {}
    for which, name in (("single", "unet"), ("multi", "multi_ssinfnet")):
        model = models.create(name, width=0.125)
        variables = trained(models.init(model, 3, models.num_inputs(name)))
        description = {
            "model": name, "options": {"width": 0.125}, "image_size": 64, "normalisation": {"mean": 0.4, "std": 0.3},
        }  # fmt: skip
        storage.save(tmp_path / which, variables, NetworkCard.from_json(description))
        predict = prediction.make_predict(
            model,
            num_inputs=models.num_inputs(name),
            output=models.output(name),
            normalisation=Normalisation(0.4, 0.3),
        )
        stored[which] = jax.jit(predict), variables
    found = segmenter.Segmenter(tmp_path / "single", tmp_path / "multi").probabilities(records, range(3))
    image = np.stack([record["image"] for record in records])
    (predict, variables), (predict_multi, variables_multi) = stored["single"], stored["multi"]
    lesion = predict(variables, {"image": image})
    # Priors of the segmenter itself: at a rounding edge they are a step of 1/255 apart.
    for row, (_, probs) in enumerate(found):
        np.testing.assert_allclose(probs[0], lesion[row], atol=1e-4)
        batch = {"image": image[row : row + 1], "prior": np.round(probs[0][None] * 255).astype(np.uint8)}
        np.testing.assert_allclose(probs[1], predict_multi(variables_multi, batch)[0], atol=1e-4)
