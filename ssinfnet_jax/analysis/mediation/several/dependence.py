"""Finds variables that are linear combinations of others, exactly or nearly."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from absl import logging

TOLERANCE = 1e-4  # share of a variable's variance that the others leave open: a standard error 100 times as large
EXACT = 1e-10
LOG_COLUMNS = ["removed", "kept_instead", "r", "why"]
_CONSTANT = 1e-10  # relative to the values: below it, what varies is rounding


class Relation(NamedTuple):
    """One variable in terms of others.

    name: the dependent one.  others: names in it, as few as do; none where `name` is constant.
    slopes: of the others, in the units of the table.  unexplained: share of the variance of `name` in [0, TOLERANCE].
    """

    name: str
    others: list[str]
    slopes: list[float]
    unexplained: float

    def __str__(self) -> str:
        """`ggo_Range = ggo_Maximum - ggo_Minimum`, up to a constant."""
        if not self.others:
            return f"{self.name} is constant"
        terms = [f"{_times(abs(slope))}{other}" for other, slope in zip(self.others, self.slopes, strict=True)]
        signs = ["-" if slope < 0 else "+" for slope in self.slopes]
        right = " ".join(f"{sign} {term}" for sign, term in zip(signs, terms, strict=True)).removeprefix("+ ")
        close = "" if self.unexplained < EXACT else f" but for {100 * self.unexplained:.2g} % of its variance"
        return f"{self.name} = {right}{close}"

    @property
    def multiple_r(self) -> float:
        """The multiple correlation of `name` with the others; NaN where it is constant."""
        return float(np.sqrt(1 - self.unexplained)) if self.others else float("nan")

    @property
    def why(self) -> str:
        """Why it is left out."""
        if not self.others:
            return "constant in the complete rows"
        return f"{'exact' if self.unexplained < EXACT else 'nearly exact'} linear combination, {self}"


def first_relation(data: pd.DataFrame, given: Sequence[str] = (), tolerance: float = TOLERANCE) -> Relation | None:
    """The first column that is constant, or a linear combination of those before it; None without one.

    The columns are taken in order, so that earlier columns are kept. With R^2 that of the regression
    (with intercept) of a column on the independent ones before it, it is dependent where 1 - R^2 <= tolerance. Of
    these others the fewest are named that keep to the tolerance, by leaving out one after another, the least needed
    first.

    Args:
      data: numbers, in order of preference; rows with a missing or infinite value do not count. With n rows, only the
        first n - 2 independent columns are looked at: with more, everything is a combination of them.
      given: columns that are not asked about, only taken as what others may depend on.
      tolerance: see above.
    """
    values = data.to_numpy(float)
    values = values[np.isfinite(values).all(1)]
    if len(values) < 3:
        return None
    sd, scale = values.std(0), np.abs(values.mean(0))
    varies = sd > _CONSTANT * scale
    z = np.where(varies, values - values.mean(0), 0.0) / np.where(varies, sd, 1.0)
    r = z.T @ z / len(z)
    rest = r.copy()  # covariances of what the independent columns leave open
    independent: list[int] = []
    for column, name in enumerate(data):
        if len(independent) >= len(values) - 2:
            return None
        if name not in given and not varies[column]:
            return Relation(name, [], [], 0.0)
        if rest[column, column] <= tolerance:
            if name in given:
                continue
            others = _fewest(r, independent, column, tolerance)
            slopes = _solve(r, others, column) * sd[column] / sd[others]
            share = max(_unexplained(r, others, column), 0.0)
            return Relation(name, [data.columns[i] for i in others], slopes.tolist(), share)
        independent.append(column)
        rest = rest - np.outer(rest[:, column], rest[column]) / rest[column, column]
    return None


def independent(data: pd.DataFrame) -> tuple[list[str], list[Relation]]:
    """The columns without those that depend on earlier ones in the rows that have all of them, and the relations."""
    kept, relations = list(data), []
    while relation := first_relation(data[kept]):
        kept.remove(relation.name)
        relations.append(relation)
    return kept, relations


def log(relations: Sequence[Relation]) -> pd.DataFrame:
    """Rows of the filter's log: what is left out for each relation. Says the same in the program's log."""
    for relation in relations:
        logging.warning("%s is left out: %s.", relation.name, relation.why)
    rows = [(relation.name, ", ".join(relation.others), relation.multiple_r, relation.why) for relation in relations]
    return pd.DataFrame(rows, columns=LOG_COLUMNS).astype({"r": float})


def _solve(r: np.ndarray, others: list[int], column: int) -> np.ndarray:
    return np.linalg.solve(r[np.ix_(others, others)], r[others, column])


def _unexplained(r: np.ndarray, others: list[int], column: int) -> float:
    return float(1 - r[others, column] @ _solve(r, others, column))


def _fewest(r: np.ndarray, others: list[int], column: int, tolerance: float) -> list[int]:
    """Leaves out, one after another, the variable whose absence leaves least open, as long as that is little."""
    while len(others) > 1:
        inverse = np.linalg.inv(r[np.ix_(others, others)])
        added = (inverse @ r[others, column]) ** 2 / np.diag(inverse)  # to the unexplained share, by leaving it out
        fewer = [other for i, other in enumerate(others) if i != added.argmin()]
        if _unexplained(r, fewer, column) > tolerance:
            break
        others = fewer
    return others


def _times(slope: float) -> str:
    return "" if abs(slope - 1) < 1e-6 else f"{slope:.4g} "
