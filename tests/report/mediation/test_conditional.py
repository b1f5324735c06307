"""Effects at levels and at values of a moderator: what is drawn, and what stands in the tables."""

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.report.mediation import conditional
from ssinfnet_jax.report.mediation import tables as mediation_tables
from tests.report.mediation import drawings

LEVELS = ["Suspected", "Mild|Regular", "Severe", "Critically ill"]


def ordinal(count=3):
    """Effects of `count` mediators, the last of which could not be fitted."""
    rows = []
    for k in range(count):
        for event, levels in (("or higher", LEVELS[1:]), ("alone", LEVELS)):
            for j, level in enumerate(levels):
                row = {
                    "exposure": "age",
                    "mediator": f"ggo_glcm_M{k}",
                    "level": level,
                    "event": event,
                    "n": 100,
                    "flag": "",
                }
                numbers = {"est": 0.01 * j - 0.02, "lower": 0.01 * j - 0.03, "upper": 0.01 * j}
                for effect in ("indirect", "direct", "total"):
                    row |= {f"{effect}_{name}": value for name, value in numbers.items()}
                rows.append(row | {"indirect_p_adj": 0.5 - 0.1 * k if j else 0.01 * (3 - k), "parallel_p": 0.3})
    table = pd.DataFrame(rows)
    last = table["mediator"] == f"ggo_glcm_M{count - 1}"
    table.loc[last, "flag"] = "too few complete rows"
    table.loc[last, table.select_dtypes(float).columns] = np.nan
    return table


def moderated():
    rows = []
    for k, p in enumerate((0.2, 0.0004)):
        pair = {"exposure": "age", "mediator": f"ggo_glcm_M{k}", "moderator": "C(gender)", "n": 100, "flag": ""}
        for effect, at in (("indirect", "female"), ("indirect", "male"), ("index", "male")):
            numbers = {"est": 0.1, "se": 0.05, "p": p, "lower": 0.0, "upper": 0.2}
            p_adj = p if effect == "index" else np.nan
            rows.append(pair | {"effect": effect, "at": at, "p_adj": p_adj} | numbers)
    return pd.DataFrame(rows)


def test_levels_are_drawn_for_the_pairs_with_the_smallest_p():
    figure = conditional.by_level(ordinal())
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["age: M1 (GLCM)", "age: M0 (GLCM)"]
    assert [label.get_text() for label in panels[0].get_xticklabels()][1] == "Mild|\nRegular"
    drawn = np.concatenate([line.get_xydata() for line in panels[0].lines if line.get_marker() == "o"])
    np.testing.assert_allclose(drawn[np.argsort(drawn[:, 0])], [(j, j - 2.0) for j in range(4)], atol=1e-9)
    drawings.assert_apart(drawings.drawn_texts(figure))


def test_no_more_than_twelve_pairs_are_drawn():
    figure = conditional.by_level(ordinal(16))
    assert len([axes for axes in figure.axes if axes.get_visible()]) == conditional.MAX_PANELS
    drawings.assert_apart(drawings.drawn_texts(figure))


def test_values_of_a_moderator_are_drawn_with_the_p_of_the_index():
    table = moderated()
    figure = conditional.by_moderator(table)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["age: M1 (GLCM)\nindex: adjusted p < 0.001", "age: M0 (GLCM)\nindex: adjusted p = 0.200"]
    assert figure.axes[0].get_xlabel() == "gender"
    drawings.assert_apart(drawings.drawn_texts(figure))
    drawn = table.assign(bootstrap_percentile_lower=-1.0, bootstrap_percentile_upper=1.0)
    assert conditional.by_moderator(drawn).axes[0].get_ylim()[1] > 0.9


def test_nothing_to_draw_is_an_error():
    table = ordinal(1)
    with pytest.raises(ValueError, match="No pair in the table has estimates"):
        conditional.by_level(table)
    with pytest.raises(ValueError, match="No pair in the table has estimates"):
        conditional.by_moderator(moderated().assign(flag="constant mediator"))


def test_tables_show_every_level_and_value():
    shown = mediation_tables.ordinal(ordinal(), "Levels.")
    titles = [column.title for column in shown.columns]
    assert shown.rows[0][titles.index("Mediator")].text == "ggo_glcm_M1"
    levels = [row[titles.index("Level")].text for row in shown.rows[:7]]
    assert levels == [f"{level} or higher" for level in LEVELS[1:]] + [f"{level} alone" for level in LEVELS]
    assert shown.rows[0][titles.index("Indirect, points")].text.startswith("\N{MINUS SIGN}2")
    assert shown.rows[-1][titles.index("Note")].text == "too few complete rows"
    shown = mediation_tables.moderated(moderated(), "Moderator.")
    titles = [column.title for column in shown.columns]
    assert [row[titles.index("Effect")].text for row in shown.rows[:3]] == [
        "indirect at C(gender) = female",
        "indirect at C(gender) = male",
        "index at C(gender) = male",
    ]
    assert "Note" not in titles
