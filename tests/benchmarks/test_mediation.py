from benchmarks import mediation


def test_a_small_case_is_measured():
    case = {"patients": 60, "mediators": 4, "draws": 20}
    found = mediation.measure(case)
    assert {name: found[name] for name in case} == case
    assert found["seconds"] >= 0
    assert found["peak_mib"] >= found["imports_mib"] > 0
