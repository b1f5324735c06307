import pytest

from benchmarks import mediation


@pytest.mark.parametrize("change", [{"clusters": 12}, *({"what": what, "draws": 2} for what in mediation.RUNS)])
def test_a_small_case_is_measured(change):
    case = mediation.BASE | {"patients": 80, "mediators": 4, "draws": 20} | change
    found = mediation.measure(case)
    assert {name: found[name] for name in case} == case
    assert min(found["seconds"], found["processor_seconds"]) >= 0
    assert found["peak_mib"] >= found["imports_mib"] > 0
