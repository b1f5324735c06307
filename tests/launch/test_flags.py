import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from launch import flags

ONE = {"data": {"datasets": [("covid_semiseg", "default")]}}
TWO = {"data": {"datasets": [("medseg", "default"), ("ictcf", "default")]}}


@pytest.mark.parametrize(
    ("config", "given", "expected"),
    [
        (ONE, [], {}),
        (ONE, ["/data/x"], {"covid_semiseg": "/data/x"}),
        (ONE, ["/data/run=3"], {"covid_semiseg": "/data/run=3"}),
        (ONE, ["covid_semiseg"], {"covid_semiseg": "covid_semiseg"}),
        (TWO, ["medseg=/m", "ictcf=/i=2"], {"medseg": "/m", "ictcf": "/i=2"}),
    ],
)
def test_source_folders(config, given, expected):
    absl_flags.FLAGS.mark_as_parsed()
    with flagsaver.as_parsed((flags._DATA_DIR, given)):
        assert flags.source_dirs(config) == expected


def test_a_folder_without_a_name():
    absl_flags.FLAGS.mark_as_parsed()
    with (
        flagsaver.as_parsed((flags._DATA_DIR, ["/m"])),
        pytest.raises(
            ValueError, match=r"--data_dir=/m: say whose folder it is, NAME=FOLDER with a name of \['medseg'"
        ),
    ):
        flags.source_dirs(TWO)
