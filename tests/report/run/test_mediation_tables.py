import numpy as np
import pandas as pd

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report.run import mediation_tables


def test_what_is_special_of_a_mediator_stands_beside_the_verdict(tmp_path):
    """Read again from the file, as the page does: an empty note is NaN there."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(size=100), "ggo_A": rng.normal(size=100), "ggo_B": rng.random(100) < 0.2})
    table["severity"] = (table["ggo_A"] + rng.normal(size=100) > 0).astype(int)
    mediation.univariate(table, ["age"], ["ggo_A", "ggo_B"]).to_csv(tmp_path / "univariate.csv", index=False)
    read = pd.read_csv(tmp_path / "univariate.csv").assign(found=False)
    read["flag"] = read["flag"].fillna("")
    shown = mediation_tables.pairs(read, "All pairs.", verdict=True)
    place = [column.title for column in shown.columns].index("Significant")
    assert {row[1].text: row[place].note for row in shown.rows} == {"ggo_A": "", "ggo_B": "mediator: two values"}
    natural = mediation_tables.natural(mediation.natural_effects(table, ["age"], ["ggo_A", "ggo_B"]), "Natural.")
    titles = [column.title for column in natural.columns]
    notes = {row[1].text: row[titles.index("Note on the mediator")].text for row in natural.rows}
    assert notes["ggo_B"] == "two values"
    assert all("[" in row[titles.index("Proportion mediated")].text for row in natural.rows)
