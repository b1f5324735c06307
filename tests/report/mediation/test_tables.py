import numpy as np
import pandas as pd

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation.univariate import EFFECTS
from ssinfnet_jax.report.mediation import tables as mediation_tables


def test_every_effect_of_a_pair_has_a_column():
    assert set(mediation_tables.EFFECTS) == set(EFFECTS)


def test_what_is_special_of_a_mediator_stands_beside_the_verdict():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(size=100), "ggo_A": rng.normal(size=100), "ggo_B": rng.random(100) < 0.2})
    table["severity"] = (table["ggo_A"] + rng.normal(size=100) > 0).astype(int)
    univariate = mediation.univariate(table, ["age"], ["ggo_A", "ggo_B"])
    shown = mediation_tables.pairs(univariate, "All pairs.", verdict=True)
    place = [column.title for column in shown.columns].index("Significant")
    assert {row[1].text: row[place].note for row in shown.rows} == {"ggo_A": "", "ggo_B": "mediator: two values"}
    natural = mediation_tables.natural(mediation.natural_effects(table, ["age"], ["ggo_A", "ggo_B"]), "Natural.")
    titles = [column.title for column in natural.columns]
    notes = {row[1].text: row[titles.index("Note on the mediator")].text for row in natural.rows}
    assert notes["ggo_B"] == "two values"
    assert all("[" in row[titles.index("Proportion mediated")].text for row in natural.rows)
