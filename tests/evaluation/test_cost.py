import json

import jax
import numpy as np
import pytest

from configs import recommended
from ssinfnet_jax import models
from ssinfnet_jax.evaluation import cost, timing, workload
from ssinfnet_jax.models import summary

SMALL = {"image_size": 32, "batch_size": 2}
ENTRY = {"model": "unet", "options": {"width": 0.125}, **SMALL, "seconds": 0.0, "training": True}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cost") / "runs" / "unet"
    cost.run(ENTRY, folder)
    return folder


@pytest.mark.long
def test_measured_costs(measured):
    found = json.loads((measured / "cost.json").read_text())
    assert {name: found[name] for name in ENTRY if name in found} == {k: ENTRY[k] for k in ENTRY if k in found}
    assert found["parameters"] == summary.num_parameters("unet", ENTRY["options"])["params"]
    flops = summary.flops("unet", ENTRY["options"], **SMALL)
    assert found["gflop_per_slice"] == pytest.approx(flops / 2 / 1e9)
    assert found["device"] == jax.devices()[0].device_kind
    for kind in ("inference", "training"):
        for name in ("s_per_slice", "compile_s", "temp_mib", "peak_gib"):
            assert found[f"{kind}_{name}"] > 0, (kind, name)
    assert found["training_temp_mib"] > found["inference_temp_mib"]
    assert found["training_peak_gib"] >= found["inference_peak_gib"]
    assert {path.name for path in measured.iterdir()} == {"cost.json"}


def test_parameters_of_the_inpainting_form_are_counted_separately():
    found = cost.measure("multi_infnet", {"width": 0.125}, **SMALL, seconds=0.0, training=False)
    model = models.create("multi_infnet", width=0.125)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), np.zeros((1, 32, 32, 6), "f4"))
    assert found["parameters_segmenting"] == sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert found["parameters"] > found["parameters_segmenting"]
    assert found["training_s_per_slice"] is None
    assert found["training_peak_gib"] is None


def test_networks_are_collected_in_one_table(measured, tmp_path):
    cost.run({**ENTRY, "options": {"width": 0.125, "num_classes": 3}, "training": False}, tmp_path)
    table = cost.collect({"lesion": measured, "classes": tmp_path})
    assert table["network"].tolist() == ["lesion", "classes"]
    assert table["options"].tolist() == ["width=0.125", "width=0.125, num_classes=3"]
    assert table["training_s_per_slice"].isna().tolist() == [False, True]


@pytest.mark.parametrize(("options", "shape"), [({}, (2, 32, 32)), ({"num_classes": 3}, (2, 32, 32, 3))])
def test_inference_gives_probabilities(options, shape):
    probs = np.asarray(workload.inference("unet", {"width": 0.125, **options}, **SMALL).call())
    assert probs.shape == shape
    assert probs.min() >= 0
    assert probs.max() <= 1


def test_a_step_continues_from_the_last():
    work = workload.training("segment", "unet", {"width": 0.125, "num_classes": 3}, **SMALL)
    first, second = (float(work.call()["loss"]) for _ in range(2))
    assert np.isfinite([first, second]).all()
    assert first != second


def test_losses_are_those_of_the_recommended_config():
    config = recommended.get_config()
    for name, which in (("lesion", "single"), ("classes", "multi")):
        assert workload.LOSSES[name] == config[which].train.losses.to_dict()
        for who in ("inpainter", "coach"):
            assert workload.LOSSES[who] == config[which].pretrain[f"{who}_losses"].to_dict()


@pytest.fixture
def cache_hits():
    """Records programs loaded from the cache, which here keeps even those that compile quickly."""
    hits, before = [], jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.monitoring.register_event_listener(lambda event, **_: hits.append(event) if "cache_hit" in event else None)
    yield hits
    jax.monitoring.clear_event_listeners()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before)


def test_programs_are_compiled_without_the_cache(cache_hits):
    for _ in range(2):
        workload.inference("unet", {"width": 0.125}, **SMALL)
    assert cache_hits
    cache_hits.clear()
    enabled = jax.config.jax_enable_compilation_cache
    with cost._without_cache():
        workload.inference("unet", {"width": 0.125}, **SMALL)
    assert not cache_hits
    assert jax.config.jax_enable_compilation_cache == enabled


def test_calls_are_timed_in_turns():
    made = []
    times = timing.in_turns({"a": lambda: made.append("a"), "b": lambda: made.append("b")}, seconds=0.0)
    assert "".join(made) == "ab" * 4  # the first round compiles
    assert set(times) == {"a", "b"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet"}, "Unknown model 'resnet'; choose one of infnet"),
        ({"model": "coach"}, "Model 'coach' does not segment"),
        ({"options": {"depth": 3}}, "Unknown option depth of model 'unet'"),
        ({"image_size": 100}, "image_size is 100; it must be a multiple of 32"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"seconds": -1.0}, "seconds is -1.0; it must not be negative"),
        (
            {"epochs": 3},
            "must have the keys model, options, image_size, batch_size, seconds, training; found batch_size",
        ),
    ],
)
def test_errors_leave_nothing_behind(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        cost.run({**ENTRY, **change}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_cost_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cost.json does not exist; measure 'unet' first"):
        cost.collect({"unet": tmp_path})
    (tmp_path / "cost.json").write_text('{"model": "unet"')
    with pytest.raises(ValueError, match=r"cost.json is not the cost of a network; delete it and measure 'unet' again"):
        cost.collect({"unet": tmp_path})
