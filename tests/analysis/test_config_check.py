"""Mistakes in the analysis' sections of a config are found before any work starts."""

import pytest

from configs import covid_semiseg, ct_phantom
from ssinfnet_jax.analysis import config_check, mediation
from ssinfnet_jax.config import read_config


@pytest.fixture
def config():
    return ct_phantom.get_config("tiny").to_dict()


MISTAKES = [
    ("adjust", "fdr", "Unknown config.mediation.adjust 'fdr'; choose one of fdr_bh, fdr_by, holm, bonferroni, none"),
    ("link", "cloglog", "Unknown config.mediation.link 'cloglog'; choose one of logit, probit"),
    ("alpha", 5, r"config.mediation.alpha must be in \(0, 1\), found 5; give a number, such as 0.05."),
    ("alpha", "0.05", r"config.mediation.alpha must be in \(0, 1\), found '0.05'; give a number"),
    ("max_correlation", 80, r"config.mediation.max_correlation must be in \(0, 1\], found 80; give a number"),
    ("max_correlation", 0, r"config.mediation.max_correlation must be in \(0, 1\], found 0; give a number"),
    ("bootstrap_draws", -5, "config.mediation.bootstrap_draws must be at least 0, found -5; give a whole number"),
    ("bootstrap_draws", 0.5, "config.mediation.bootstrap_draws must be at least 0, found 0.5; give a whole number"),
    ("bootstrap_draws", 100.0, "config.mediation.bootstrap_draws must be at least 0, found 100.0; give a whole number"),
    ("rule", "both", "Unknown config.mediation.rule 'both'; choose one of indirect, paper"),
    ("family", "pair", "Unknown config.mediation.family 'pair'; choose one of all, exposure"),
    ("paths", "none", "Unknown config.mediation.paths 'none'; choose one of selected, all"),
    ("seed", -1, r"config.mediation.seed must be in \[0, 2147483647\], found -1; give a whole number"),
    ("seed", True, r"config.mediation.seed must be in \[0, 2147483647\], found True; give a whole number"),
    ("residual_covariances", "yes", "config.mediation.residual_covariances must be True or False, found 'yes'"),
    ("prefer", "Entropy", r"config.mediation.prefer must be a list, found 'Entropy'; give a list of texts, such as"),
    ("exposures", [], "config.mediation.exposures is empty; choose from age, gender, underlying"),
    ("exposures", "age", r"config.mediation.exposures must be a list, found 'age'; give a list of texts, such as"),
    (
        "exposures",
        ["age", "sex"],
        r"Unknown columns \['sex'\] in config.mediation.exposures; choose from age, gender, un",
    ),
    ("exposures", ["severity"], r"Unknown columns \['severity'\] in config.mediation.exposures; choose from age"),
    (
        "exposures",
        ["age", "age"],
        r"config.mediation.exposures \['age', 'age'\] name \['age'\] twice; a column can have one role",
    ),
    (
        "covariates",
        ["age"],
        r"and config.mediation.covariates \['age'\] name \['age'\] twice; a column can have one role",
    ),
    ("covariates", ["smoking"], r"Unknown columns \['smoking'\] in config.mediation.covariates; choose from age"),
    (
        "mediators",
        "^gggo_",
        r"config.mediation.mediators '\^gggo_' matches none of the 186 columns of the phenotypes",
    ),
    ("mediators", "^age$", r"config.mediation.mediators '\^age\$' matches none of the"),
    ("mediators", "*ggo", r"config.mediation.mediators is not a regular expression: '\*ggo' \(nothing to repeat"),
    ("moderator", "sex", r"Unknown columns \['sex'\] in config.mediation.moderator; choose from age, gender, underly"),
    ("moderator", "age", r"and config.mediation.moderator \['age'\] name \['age'\] twice; a column can have one role"),
    ("moderated", "third", "Unknown config.mediation.moderated 'third'; choose one of first, second, both, all"),
    ("levels", ["Severe", "Mild|Regular"], r"config.mediation.levels: The levels .* are out of order; give the lowest"),
    (
        "levels",
        ["Mild", "Worse"],
        r"config.mediation.levels: Unknown severity: 'Worse' \(1x\); the nine levels are: Co",
    ),
    ("levels", ["Mild"], "config.mediation.levels: Give two or more levels of 'severity', each once, the lowest first"),
    ("levels", ["Mild", "mild"], "config.mediation.levels: Give two or more levels of 'severity', each once"),
    ("sets", ["texture"], "config.mediation.sets: Unknown set of mediators 'texture'; choose all, region, class, or"),
    ("sets", ["x=^foo_"], "config.mediation.sets: The set of mediators 'x' has none"),
    ("fdr", 1.0, r"config.mediation.fdr must be in \(0, 1\), found 1.0"),
    ("missing", "mean", "Unknown config.mediation.missing 'mean'; choose one of listwise, fiml"),
    ("imputations", 1, "config.mediation.imputations must be 0 or at least 2, found 1"),
    ("imputation_cycles", 1, "config.mediation.imputation_cycles must be at least 2, found 1"),
    ("mediators", ["ggo"], r"config.mediation.mediators must be text, found \['ggo'\]; give a text, such as '\^ggo_'"),
]


@pytest.mark.parametrize(("key", "value", "message"), MISTAKES)
def test_mistakes_of_the_mediation(config, key, value, message):
    config["mediation"][key] = value
    with pytest.raises(ValueError, match=message):
        config_check.check(read_config(config))


def test_robust_errors_and_fiml_exclude_each_other(config):
    config["mediation"] |= {"missing": "fiml", "robust": True}
    with pytest.raises(ValueError, match=r"^config.mediation.robust errors cannot be combined with missing='fiml'"):
        read_config(config)


def test_mediators_must_be_phenotypes_of_these_settings(config):
    config["mediation"]["mediators"] = "_glcm_"
    config_check.check(read_config(config))
    config["phenotypes"]["settings"] = {"classes": {"firstorder": ("Entropy",)}}
    with pytest.raises(
        ValueError, match=r"'_glcm_' matches none of the .* columns .*, such as ggo_shape2D_PixelSurface"
    ):
        config_check.check(read_config(config))


@pytest.mark.parametrize(
    "options",
    [
        {"exposures": ("age",), "covariates": ("gender", "ggo_shape2D_PixelSurface"), "bootstrap_draws": 0},
        {"exposures": ["age"], "moderator": "gender", "levels": ["Suspected", "Control", "Mild|Regular", "Severe"]},
        {"sets": ["all", "region", "class", "dense=_Mean$"], "missing": "fiml", "imputations": 5},
        {"exposures": ["age"], "mediators": "^underlying$", "max_correlation": 1, "link": "probit", "adjust": "none"},
    ],
)
def test_what_can_be_computed_passes(config, options):
    config["mediation"] |= options
    config_check.check(read_config(config))


def test_presets_of_the_path_model():
    """Residuals of mediators may correlate here, but not in the paper's model or code."""
    wanted = {"full": ("indirect", True), "full_paper": ("paper", False), "full_published_code": ("paper", False)}
    for variant, expected in wanted.items():
        options = covid_semiseg.get_config(variant).mediation
        assert (options.rule, options.residual_covariances) == expected
        assert mediation.Options.residual_covariances is True
