import pandas as pd
import pytest

from ssinfnet_jax.report.kit import tables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.71234, "0.712"),
        (0.7, "0.700"),
        (12.345, "12.3"),
        (1234.5, "1\N{NARROW NO-BREAK SPACE}234"),
        (48, "48"),
        (12000, "12\N{NARROW NO-BREAK SPACE}000"),
        (-0.05, "\N{MINUS SIGN}0.0500"),
        (0.0000123, "1.23e\N{MINUS SIGN}5"),
        (float("nan"), "\N{EN DASH}"),
        (None, "\N{EN DASH}"),
        (True, "yes"),
        (float("inf"), "∞"),
    ],
)
def test_numbers(value, text):
    assert tables.number(value) == text


def test_p_values_errors_and_durations():
    assert [tables.p_value(p) for p in (0.0009, 0.04321, 1.0)] == ["< 0.001", "0.043", "1.000"]
    assert tables.mean_error(0.63451, 0.0512) == "0.635 ± 0.051"
    assert tables.mean_error(0.5, float("nan")) == "0.500"
    assert [tables.duration(s) for s in (0.5, 45.22, 200, 3725)] == [
        "0.500 s",
        "45.2 s",
        "3 min 20 s",
        "1 h 02 min",
    ]


def test_long_tables_are_cut_and_say_so():
    table = tables.from_frame(pd.DataFrame({"x": range(5)}), "Numbers.", max_rows=3)
    assert len(table.rows) == 3
    assert "first 3 of 5 rows" in table.foot
