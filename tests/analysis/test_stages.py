"""What is wrong in the analysis' sections of a config is found before anything is computed."""

import pytest

from configs import ct_phantom
from ssinfnet_jax.analysis import stages


@pytest.fixture
def config():
    return ct_phantom.get_config("tiny").to_dict()


MISTAKES = [
    ("adjust", "fdr", "Unknown config.mediation.adjust 'fdr'; choose one of fdr_bh, fdr_by, holm, bonferroni, none"),
    ("link", "cloglog", "Unknown config.mediation.link 'cloglog'; choose one of logit, probit"),
    ("alpha", 5, r"config.mediation.alpha must be a number in \(0, 1\), such as 0.05; found 5"),
    ("alpha", "0.05", r"config.mediation.alpha must be a number in \(0, 1\), such as 0.05; found '0.05'"),
    ("max_correlation", 80, r"config.mediation.max_correlation must be a number in \(0, 1\], such as 0.8; found 80"),
    ("max_correlation", 0, r"config.mediation.max_correlation must be a number in \(0, 1\], such as 0.8; found 0"),
    ("bootstrap_draws", -5, "config.mediation.bootstrap_draws must be a whole number >= 0; .*; found -5"),
    ("bootstrap_draws", 0.5, "config.mediation.bootstrap_draws must be a whole number >= 0; .*; found 0.5"),
    ("bootstrap_draws", 100.0, "config.mediation.bootstrap_draws must be a whole number >= 0; .*; found 100.0"),
    ("exposures", [], "config.mediation.exposures is empty; choose from age, gender, underlying"),
    ("exposures", "age", r"config.mediation.exposures must be a list of columns, such as \['age'\]; found 'age'"),
    (
        "exposures",
        ["age", "sex"],
        r"Unknown columns \['sex'\] in config.mediation.exposures; choose from age, gender, un",
    ),
    ("exposures", ["severity"], r"Unknown columns \['severity'\] in config.mediation.exposures; choose from age"),
    (
        "exposures",
        ["age", "age"],
        r"exposures \['age', 'age'\] and config.mediation.covariates \[\] name \['age'\] twice",
    ),
    ("covariates", ["age"], r"and config.mediation.covariates \['age'\] name \['age'\] twice; leave one out"),
    ("covariates", ["smoking"], r"Unknown columns \['smoking'\] in config.mediation.covariates; choose from age"),
    (
        "mediators",
        "^gggo_",
        r"config.mediation.mediators '\^gggo_' matches none of the 186 columns that config.phenotypes",
    ),
    ("mediators", "^age$", r"config.mediation.mediators '\^age\$' matches none of the"),
    ("mediators", "*ggo", r"config.mediation.mediators is not a regular expression: '\*ggo' \(nothing to repeat"),
    ("mediators", ["ggo"], r"config.mediation.mediators is not a regular expression: \['ggo'\]"),
]


@pytest.mark.parametrize(("key", "value", "message"), MISTAKES)
def test_mistakes_of_the_mediation(config, key, value, message):
    config["mediation"][key] = value
    with pytest.raises(ValueError, match=message):
        stages.check(config)


def test_mediators_must_be_phenotypes_of_these_settings(config):
    config["mediation"]["mediators"] = "_glcm_"
    stages.check(config)
    config["phenotypes"]["settings"] = {"classes": {"firstorder": ("Entropy",)}}
    with pytest.raises(
        ValueError, match=r"'_glcm_' matches none of the .* columns .*, such as ggo_shape2D_PixelSurface"
    ):
        stages.check(config)


@pytest.mark.parametrize(
    "options",
    [
        {"exposures": ("age",), "covariates": ("gender", "ggo_shape2D_PixelSurface"), "bootstrap_draws": 0},
        {"exposures": ["age"], "mediators": "^underlying$", "max_correlation": 1, "link": "probit", "adjust": "none"},
    ],
)
def test_what_can_be_computed_passes(config, options):
    config["mediation"] |= options
    stages.check(config)
