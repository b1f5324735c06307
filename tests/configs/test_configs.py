"""Every variant parses and its names resolve; nothing is computed."""

import pytest

from configs import covid_semiseg, ct_phantom, folder, medseg_ictcf, presets, recommended
from launch import stages
from ssinfnet_jax import pretrained
from ssinfnet_jax.networks.card import NetworkCard

FILES = {"covid_semiseg": covid_semiseg, "ct_phantom": ct_phantom, "folder": folder, "medseg_ictcf": medseg_ictcf}
VARIANTS = [(name, variant) for name, module in FILES.items() for variant in module.VARIANTS]


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Cards of networks of the recipe `covid_semiseg:best`, as in the package and in a run folder."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    best = covid_semiseg.get_config("best").to_dict()
    for which in ("single", "multi"):
        input_of = {"image_size": best["data"]["image_size"], "normalisation": best["data"]["normalisation"]}
        model = best[which]["model"]
        card = {"model": model["name"], "options": model["options"], "task": "segmentation", **input_of}
        for place in (tmp_path / which, tmp_path / "runs" / "best" / f"train_{which}" / "model"):
            place.mkdir(parents=True)
            NetworkCard.from_json(card).write(place)
    return tmp_path


def _lists(tree, path="config"):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _lists(value, f"{path}.{name}")
        elif isinstance(value, list):
            yield f"{path}.{name}"


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_everything_resolves(name, variant, shipped):
    config = FILES[name].get_config(variant).to_dict()
    assert config["name"] == f"{name}:{variant}"
    assert not [*_lists(config)], "a flag can replace a tuple, not a list"
    stages.check(config)


@pytest.mark.parametrize("name", FILES)
def test_unknown_variant(name):
    with pytest.raises(ValueError, match=f"Unknown variant 'huge' of configs/{name}.py; choose one of"):
        FILES[name].get_config("huge")


def test_the_schedule_of_the_paper_has_2000_epochs():
    phases = recommended.get_config().single.pretrain.phases
    assert sum(epochs for _, epochs in phases) == 2000
    assert [tuple(phase) for phase in phases[:4]] == [
        ("inpaint_random", 200), ("coach", 200), ("inpaint_coach", 100), ("coach", 100)
    ]  # fmt: skip


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_the_numbers_of_the_paper_s_losses(preset):
    config = recommended.get_config()
    presets.PRESETS[preset](config)
    for section in (config.single, config.multi):
        game = section.pretrain
        weights = {name: line["weight"] for name, line in game.inpainter_losses.items()}
        assert weights == {"reconstruction_loss": 0.99, "context_loss": 0.01}
        assert game.coach_losses.to_dict() == {"coach_loss": {"fn": "inpainting:coach", "kl_weight": 1e-6}}
    (name,) = set(config.single.train.losses) - {"edge"}
    assert name == ("weighted_iou_bce_published" if preset == "published_code" else "weighted_iou_bce")
    assert config.single.train.losses.edge.maps.to_dict() == {"edge": 1.0}
    assert set(config.multi.train.losses) == {"focal"}


def test_the_two_networks_share_no_table():
    config = recommended.get_config()
    config.single.pretrain.phases = []
    config.single.train.augmentation.gamma = 9.0
    assert config.multi.pretrain.phases
    assert config.multi.train.augmentation.gamma != 9.0


def test_the_schedule_for_two_cores_is_short():
    single = covid_semiseg.get_config("cpu").single.pretrain.phases
    assert sum(epochs for _, epochs in single) == 2.5


MISTAKES = {
    "data.datasets": ((("covid", "default"),), "Unknown dataset 'covid'"),
    "data.splits.fractions": (
        {"train": 0.8, "tset": 0.2},
        "Unknown config.data.splits.fractions.tset; it has train",
    ),
    "data.pretrain_holdout": (1.5, r"pretrain_holdout must be in \[0, 1\), found 1.5"),
    "data.normalisation": ({"mean": 0.5, "sd": 0.2}, "Unknown config.data.normalisation.sd; it has mean, std"),
    "data.image_size": (40, "multiples of 32, found 40x40"),
    "data.normalisation.std": (0.0, r"config\.data\.normalisation\.std must be in \[0\.001, 1000\], found 0\.0"),
    "data.image_sze": (64, "Unknown config.data.image_sze; it has datasets, image_size"),
    "data.splits": ({"num_folds": 3, "test_fold": 0}, "config.data.splits lacks seed"),
    "data.splits.test_fold": (3, r"config.data.splits.test_fold must be in 0\.\.2, since num_folds is 3; found 3"),
    "single.model.options.backbone": ("resnet51", "Unknown backbone 'resnet51'"),
    "single.train.losses": ({"focal": {"fn": "segmentation:focal", "gama": 1}}, "Unknown hyper-parameter gama of loss"),
    "multi.train.losses": (
        {"focal": {"fn": "segmentation:focal", "alpha": (1, 4)}},
        "cannot be computed for 3 classes",
    ),
    "single.train.epochs": (-1, "config.single.train.epochs must be at least 0, found -1"),
    "single.train.epoch": (2, "Unknown config.single.train.epoch; it has initial"),
    "single.train.optimizer.learning_rate": (-1.0, r"learning_rate must be positive, found -1\.0"),
    "multi.train.optimizer.lookahead": ({"k": 5}, "config.multi.train.optimizer.lookahead lacks alpha"),
    "multi.train.optimizer.schedule": (
        "steps",
        "config.multi.train.optimizer.epochs must be given with",
    ),
    "multi.train.patience_epochs": (0, "config.multi.train.patience_epochs must be positive, found 0"),
    "single.train.head_biases": ({"head": 1.0}, "Unknown bias 'head'; the last layers have"),
    "single.train.optimizer": ({"name": "adam", "learning_rate": 1.0, "momentum": 0.9}, "Unknown key momentum of opt"),
    "single.train.augmentation": (
        {"flip": True},
        "Unknown config.single.train.augmentation.flip; it has",
    ),
    "single.train.batch_size": (3, r"config.single.train.batch_size is 3.* --config.single.train.batch_size=4"),
    "single.train.keep": ("first", r"Unknown config.single.train.keep 'first'; choose one of last, best"),
    "single.train.scales": ((), "config.single.train.scales must have at least one factor"),
    "single.train.transfer": (("encodr",), "Unknown modules encodr in config.single.train.transfer; 'infnet' has "),
    "multi.train.averaging": (1.0, r"config.multi.train.averaging must be in \[0, 1\), found 1.0"),
    "single.pretrain.phases": (
        [["inpaint", 1]],
        "Unknown config.single.pretrain.phases.0.0 'inpaint'; choose one of",
    ),
    "multi.pretrain.phases": (
        [["inpaint_random", 1, {"momentum": 0.5}]],
        r"Unknown config.multi.pretrain.phases.0.2.mom",
    ),
    "single.pretrain.log_every": (0, "config.single.pretrain.log_every must be positive, found 0"),
    "single.pretrain.options.keep_ratio": (1.5, r"keep_ratio must be in \(0, 1\), found 1\.5"),
    "multi.prior_source": ("oracle", "Unknown config.multi.prior_source 'oracle'"),
    "multi.pretrain.options": ({"keep": 0.5}, "Unknown config.multi.pretrain.options.keep; it has keep_ratio"),
    "phenotypes.by_patient": ("median", "Unknown config.phenotypes.by_patient 'median'; choose one of slice_mean"),
    "mediation.mediators": ("^(ggo", "config.mediation.mediators is not a regular expression"),
}


@pytest.mark.parametrize("path", MISTAKES)
def test_a_mistake_is_found_before_any_stage(path):
    config = ct_phantom.get_config("tiny").to_dict()
    *folders, last = path.split(".")
    section = config
    for name in folders:
        section = section[name]
    section[last], message = MISTAKES[path]
    with pytest.raises(ValueError, match=message):
        stages.check(config)


def test_the_best_weights_need_a_validation_split():
    config = ct_phantom.get_config("tiny").to_dict()
    config["multi"]["train"]["keep"] = "best"
    stages.check(config)
    config["data"]["splits"] = {"seed": 0, "num_folds": 3, "test_fold": 0, "val_fold": ()}
    with pytest.raises(ValueError, match=r"config.multi.train.keep is 'best', which needs a validation split"):
        stages.check(config)
    config["multi"]["train"] |= {"keep": "last", "patience_epochs": 2}
    with pytest.raises(ValueError, match=r"config.multi.train.patience_epochs is 2, which needs a validation split"):
        stages.check(config)


def test_a_fold_of_priors_is_predicted_by_a_network_trained_on_others():
    config = ct_phantom.get_config("tiny").to_dict()
    config["multi"] |= {"prior_source": "cross_fitted", "prior_folds": 1}
    with pytest.raises(ValueError, match=r"config\.multi\.prior_folds must be at least 2, found 1"):
        stages.check(config)
