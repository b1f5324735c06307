"""Every variant parses and its names resolve; nothing is computed."""

import pytest

from configs import covid_semiseg, ct_phantom, medseg_ictcf, recommended
from ssinfnet_jax import models
from ssinfnet_jax.data import augment, datasets
from ssinfnet_jax.losses import compose
from ssinfnet_jax.training import adversarial_step, optim, pretrain
from ssinfnet_jax.training.inputs import Normalisation

FILES = {"covid_semiseg": covid_semiseg, "ct_phantom": ct_phantom, "medseg_ictcf": medseg_ictcf}
VARIANTS = [(name, variant) for name, module in FILES.items() for variant in module.VARIANTS]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_names_resolve(name, variant):
    config = FILES[name].get_config(variant).to_dict()
    assert config["name"] == f"{name}:{variant}"
    for dataset, kind in config["data"]["datasets"]:
        assert kind in datasets.config_names(dataset)
    Normalisation(**config["data"]["normalisation"])
    for which in ("single", "multi"):
        section = config[which]
        models.create(section["model"]["name"], **section["model"]["options"])
        tables = [section["train"]["optimizer"]]
        augment.make_options(section["train"]["augmentation"])
        compose.make_loss(section["train"]["losses"])
        if section["pretrain"]:
            models.create("coach", **section["pretrain"]["coach"])
            augment.make_options(section["pretrain"]["augmentation"])
            adversarial_step.Options(**section["pretrain"]["options"])
            assert pretrain.phase_steps(section["pretrain"]["phases"], 10)
            tables += [section["pretrain"]["inpainter_optimizer"], section["pretrain"]["coach_optimizer"]]
        for table in tables:
            optim.make_optimizer(table, optim.make_schedule(table, steps_per_epoch=10, num_steps=100))
        assert config["data"]["image_size"] % 32 == 0


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


def test_the_two_networks_share_no_table():
    config = recommended.get_config()
    config.single.pretrain.phases = []
    config.single.train.augmentation.gamma = 9.0
    assert config.multi.pretrain.phases
    assert config.multi.train.augmentation.gamma != 9.0


def test_the_schedule_for_two_cores_is_short():
    single = covid_semiseg.get_config("cpu").single.pretrain.phases
    assert sum(epochs for _, epochs in single) == 2.5
