import numpy as np

from ssinfnet_jax.report.run import distribution_figures


def test_distributions_count_defined_values():
    figure = distribution_figures.distributions(
        {"GGO": [0.1, np.nan, 0.3], "None": [np.nan]}, xlabel="Dice", colours=["r", "b"]
    )
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["GGO\nn = 2", "None\nn = 0"]
