import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.report.kit import curve_figures, figure_style


def rgb255(colour):
    return np.round(255 * np.asarray(matplotlib.colors.to_rgb(colour)))


def test_class_colours_differ_for_colour_blind_readers():
    # Machado et al. 2009, severity 1: protanopia and deuteranopia, on linear RGB.
    protan = np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    )
    deutan = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]])
    linear = {name: (rgb255(c) / 255) ** 2.2 for name, c in figure_style.NAMED.items()}
    for matrix in (np.eye(3), protan, deutan):
        seen = {name: np.clip(matrix @ colour, 0, 1) ** (1 / 2.2) for name, colour in linear.items()}
        assert np.linalg.norm(seen["ggo"] - seen["consolidation"]) > 0.4
        assert np.linalg.norm(seen["lesion"] - seen["ggo"]) > 0.15
        assert np.linalg.norm(seen["lesion"] - seen["consolidation"]) > 0.3


def test_save_writes_the_same_bytes_twice(tmp_path):
    curve = pd.DataFrame({"class": "lesion", "fpr": [0, 1], "tpr": [0, 1]})
    for name in ("one", "two"):
        figure_style.save(curve_figures.roc({"Single": curve}), tmp_path, name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "text"),
    [("val_dice_ggo", "Dice GGO"), ("kl", "KL divergence"), ("map_2", "Map 2"), ("loss", "Loss")],
)
def test_titles(name, text):
    assert figure_style.title(name) == text


def test_shorten_keeps_both_ends():
    assert figure_style.shorten("patient_000123_slice_0456", 11) == "patie…_0456"
    assert figure_style.shorten("a\nb", 5) == "a b"
