import pytest

from benchmarks import phenotypes

pytestmark = pytest.mark.long


def test_a_few_slices_are_measured(tmp_path):
    phenotypes.write_slices(tmp_path, 3)
    assert len(list((tmp_path / "images").iterdir())) == len(list((tmp_path / "masks").iterdir())) == 3
    seconds, of_processors = phenotypes.measure(tmp_path, 0)
    assert seconds > 0
    assert 0 < of_processors < 2 * seconds
    assert phenotypes.measure_extractor(tmp_path, 2) > 0
    assert 0.2 < phenotypes.measure_ceiling(tmp_path, 2) < 5
