import pandas as pd
import pytest

from ssinfnet_jax.training import networks


@pytest.mark.parametrize(
    ("classes", "which", "reason"),
    [
        ([1, 1], "multi", None),
        ([0, 1], "multi", "no training slice has labels of GGO and consolidation"),
        ([0, 0], "single", None),
    ],
)
def test_data_without_classes_leave_out_the_multi_network(classes, which, reason, monkeypatch):
    table = pd.DataFrame({"split": ["train", "test"], "has_classes": classes})
    monkeypatch.setattr(networks.prepare, "load", lambda config, run_dir: (None, table))
    assert networks.reason_to_skip({}, None, which) == reason
