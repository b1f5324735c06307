import pytest

from configs.experiments import (
    ablation,
    common,
    comparison_multi,
    comparison_single,
    cost,
    cross_validation,
    independent,
    loss_variants,
    null,
    pretraining,
    pretraining_multi,
)
from configs.losses import LOSSES
from launch import stages
from ssinfnet_jax.evaluation import grid

FILES = {
    file.__name__.rpartition(".")[2]: file
    for file in (
        ablation,
        comparison_multi,
        comparison_single,
        cost,
        cross_validation,
        independent,
        loss_variants,
        null,
        pretraining,
        pretraining_multi,
    )
}


def _experiment(**changes):
    base = {"seed": 0, "name": "", "data": {"splits": {"num_folds": 3}}, "single": {"rate": 1.0, "loss": {"a": 1}}}
    return {
        "name": "toy", "task": "train", "base": base, "order": ("plain", "fast"),
        "methods": {"fast": {"changes": [("single.rate", 2.0)]}, "plain": {"changes": []}},
        "data": {"here": {"changes": []}}, "folds": (0, 2), "seeds": (7,), **changes,
    }  # fmt: skip


def test_runs_are_the_product_of_the_axes_in_order():
    runs = grid.runs(_experiment())
    assert [run.name for run in runs] == [
        "plain-fold0-seed7",
        "fast-fold0-seed7",
        "plain-fold2-seed7",
        "fast-fold2-seed7",
    ]
    last = runs[-1].config
    assert (last["single"]["rate"], last["data"]["splits"]["test_fold"], last["seed"]) == (2.0, (2,), 7)
    assert last["name"] == "toy/fast-fold2-seed7"
    assert runs[0].config["single"]["rate"] == 1.0


def test_a_method_is_run_with_each_of_its_settings():
    settings = {"slow": [("single.rate", 0.5)], "fast": [("single.rate", 4.0)]}
    methods = {"plain": {"changes": [("single.rate", 1.5)], "settings": settings}, "fast": {"changes": []}}
    runs = grid.runs(_experiment(methods=methods))
    assert [(run.name, run.setting, run.config["single"]["rate"]) for run in runs[:3]] == [
        ("plain@slow-fold0-seed7", "slow", 0.5), ("plain@fast-fold0-seed7", "fast", 4.0), ("fast-fold0-seed7", "", 1.0),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="chooses settings on the other folds, but has one fold; list at least two"):
        grid.runs(_experiment(methods=methods, folds=(0,)))


def test_a_method_may_shift_the_seeds():
    methods = {"plain": {"changes": []}, "fast": {"changes": [("seed", 100)]}}
    runs = grid.runs(_experiment(methods=methods, seeds=(0, 1), folds=(0,)))
    assert [(run.method, run.seed, run.config["seed"]) for run in runs] == [
        ("plain", 0, 0), ("fast", 0, 100), ("plain", 1, 1), ("fast", 1, 101),
    ]  # fmt: skip


@pytest.mark.parametrize("file", [comparison_single, comparison_multi, null])
def test_comparisons_take_their_single_networks_from_the_grid_of_pretraining(file):
    """`--share` finds a training of the same fold by its seed, data, model and section `train`."""

    def trainings(experiment):
        return [
            (run, {key: run.config[key] for key in ("data", "seed")}, run.config["single"])
            for run in grid.runs({**experiment.to_dict(), "folds": (0, 1)})
        ]

    kept = [training[1:] for training in trainings(pretraining.get_config("folds"))]
    shared = {run.method for run, *training in trainings(file.get_config("folds")) if tuple(training) in kept}
    assert {"name_1"} <= shared if file is null else {"sinfnet", "ssinfnet"} <= shared


def test_several_folds_split_an_official_test_part_like_the_rest():
    assert all(run.config["data"]["splits"]["official_test"] is False for run in grid.runs(_experiment()))
    (first, _) = grid.runs(_experiment(folds=(0,)))
    assert "official_test" not in first.config["data"]["splits"]


def test_runs_do_not_share_their_changes():
    loss = {"b": 2}
    methods = {"plain": {"changes": [("single.loss", loss)]}, "fast": {"changes": [("single.loss", loss)]}}
    runs = grid.runs(_experiment(methods=methods))
    runs[0].config["single"]["loss"]["b"] = 9
    assert loss == runs[1].config["single"]["loss"] == {"b": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "trian"}, "Unknown task 'trian' of an experiment; choose one of train, cost"),
        ({"folds": ()}, "The experiment's folds are empty"),
        ({"order": ("plain", "fats")}, "The experiment has no method 'fats'; choose from fast, plain"),
        ({"task": "cost", "order": ("fats",)}, "The experiment has no method 'fats'; choose from fast, plain"),
        (
            {"methods": {"plain": {"changes": []}, "fast": {"changes": [("single.raet", 2)]}}},
            "has no 'single.raet' to change; 'single' has rate, loss",
        ),
        (
            {"data": {"here": {"changes": [("data.splits", {"fractions": {}})]}}},
            r"has folds \[0, 2\], but the splits of 'here' have none",
        ),
    ],
)
def test_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        grid.runs(_experiment(**changes))


@pytest.mark.parametrize("name", FILES)
def test_every_experiment_has_runs_with_unique_names(name):
    for size in getattr(FILES[name], "SIZES", common.SIZES):
        experiment = FILES[name].get_config(size).to_dict()
        assert experiment["name"] == f"{name}:{size}"
        runs = grid.runs(experiment)
        assert len({run.name for run in runs}) == len(runs)
        assert set(experiment["order"]) == set(experiment["methods"])
        if experiment["task"] == "train":
            assert experiment["reference"] in experiment["methods"]


@pytest.mark.parametrize("name", [name for name in FILES if name != "cost"])
def test_every_method_has_a_valid_config(name):
    for run in grid.runs(FILES[name].get_config("tiny").to_dict()):
        stages.check(run.config)


def test_an_unknown_size_is_an_error():
    with pytest.raises(
        ValueError, match=r"Unknown variant 'huge' of configs/experiments/ablation.py; choose one of tiny"
    ):
        ablation.get_config("huge")


def test_ablation_has_all_eight_combinations_and_each_factor_changes_one_thing():
    experiment = ablation.get_config("tiny").to_dict()
    runs = {run.method: run.config["multi"] for run in grid.runs(experiment)}
    assert len(runs) == 8
    for method, multi in runs.items():
        factors = experiment["methods"][method]["factors"]
        assert (multi["pretrain"] is not None) == factors["inpainting"]
        assert ("focal" in multi["train"]["losses"]) == factors["focal"]
        assert (multi["train"]["optimizer"]["lookahead"] is not None) == factors["lookahead"]
        multi["pretrain"] = multi["train"]["losses"] = multi["train"]["optimizer"]["lookahead"] = None
    assert all(multi == runs["none"] for multi in runs.values())


def test_every_loss_of_the_table_is_a_method():
    assert set(loss_variants.get_config("tiny").methods) == set(LOSSES)


def test_test_data_is_not_trained_on():
    for run in grid.runs(independent.get_config("tiny").to_dict()):
        assert run.config["data"]["splits"]["test_datasets"] == ("ct_phantom/tiny_other_scanner",)
        assert run.config["data"]["datasets"] == (("ct_phantom", "tiny"), ("ct_phantom", "tiny_other_scanner"))
