"""Finds numbers in a cohort table that are not quantities: codes for "missing", such as -9999, and codes of groups."""

import os
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from absl import logging

from ssinfnet_jax.data.clinical import clinical_table, vocabulary

NO_OTHERS = "none"  # of --missing_codes
_MISSING = re.compile(r"-?(?:9{2,6}|8{2,6}|7{2,6})(?:\.9|\.99|\.0+)?|-[1789](?:\.0+)?|-?1e\+?30|-?32768|-2147483648")
_SINGLE = (7.0, 8.0, 9.0)  # in a column of codes from 0 to 3
_FEW = 3
_OFTEN = 3  # repetitions of an extreme value
_MANY_LEVELS = 8
_GROUPS = re.compile(
    r"\b(?:hospitals?|hosp|inst(?:itut(?:e|ion))?|facility|location|operator|cent(?:er|re|rum)|site|scanner|device|machine|"
    r"ward|dep(?:artment|t)?|clinic|group|grp|arm|cluster|batch|cohort|study|manufacturer|vendor|protocol|kernel|country|"
    r"region|city|province|district|ethnicity|ethnic|race|nationality|room|reader|rater|observer|radiologist|category|"
    r"type|code|variant|strain|occupation|religion|marital status|klinik|station|gruppe|zentrum|gerat|hopital|centro|"
    r"ospedale|reparto|servicio)(?:s|id|no|nr|code|name)?\b|医院|中心|科室|病区|设备|机型|组别|分组|地区|民族|批次"
)
_ORDERED = re.compile(
    r"^(?:num|number|count|n)\b|\b(?:count|counts)$|\b(?:days?|weeks?|months?|years?|score|grade|stage|level|index|scale|"
    r"rank|class|points?|dose|severity|duration|age|underlying|comorbidit|diseases?)"
)


def remedy(name: str) -> str:
    """The remedy for a column of codes or names of groups, which the models do not take."""
    return (
        f"code two groups as 0 and 1; for more groups add a column of 0 and 1 for each but one, such as {name}_2 "
        f"and {name}_3, and name these columns"
    )


def without(path: str | os.PathLike, texts: pd.DataFrame, codes: Sequence[str], *, keep: str) -> pd.DataFrame:
    """Empties the cells that contain a declared code.

    Args:
      codes: `-9999` for any column except `keep`, `bmi=-9` for one; NO_OTHERS is ignored.
    Raises: ValueError for a column that the table lacks.
    """
    texts = texts.copy()
    for entry in codes:
        column, is_one, code = entry.rpartition("=")
        if entry.strip() == NO_OTHERS:
            continue
        names = clinical_table.find(column.strip(), texts.columns) if is_one else [n for n in texts if n != keep]
        if not names:
            raise ValueError(f"{path} has no column {column!r} of missing_codes {entry!r}; it has {list(texts)[:12]}.")
        found = {name: texts[name].map(lambda text, code=code: _equal(text, code)) for name in names}
        for name, cells in found.items():
            texts.loc[cells, name] = ""
        told = ", ".join(f"{name} ({cells.sum()}x)" for name, cells in found.items() if cells.any())
        logging.log(logging.INFO if told else logging.WARNING, "%s means missing in: %s.", entry, told or "no cell")
    return texts


def like_missing(texts: pd.Series) -> list[str]:
    """The cells that may be codes for "missing"."""
    return [text for text in texts.unique() if _MISSING.fullmatch(text.lower())]


def check_missing(path: str | os.PathLike, table: pd.DataFrame, declared: Sequence[str] = ()) -> None:
    """Raises ValueError for numbers that look like codes for "missing", with their columns, counts and the remedy.

    These are common codes (-9, -99, 999, -9999, 8888, ...) that are outliers: negative among values >= 0, farther from
    the other values than their range, or a repeated extreme; and 7, 8, 9 among codes from 0 to 3.
    """
    if NO_OTHERS in declared:
        return
    found = []
    for name in table:
        if clinical_table.kind_of(name) != "age" and pd.api.types.is_numeric_dtype(table[name]):
            found += [(name, value, count) for value, count in _suspects(table[name].astype(float))]
    if found:
        listed = "; ".join(f"{name!r} has {value:g} ({count}x)" for name, value, count in found[:10])
        more = f"; and {len(found) - 10} more" if len(found) > 10 else ""
        flag = ",".join([*declared, *(f"{name}={value:g}" for name, value, _ in found[:10])])
        raise ValueError(
            f"{path}: these numbers look like codes for missing values: {listed}{more}. If they are, pass "
            f"--missing_codes={flag}, or empty the cells; if all are measurements, pass "
            f"--missing_codes={','.join([*declared, NO_OTHERS])}."
        )


def check_groups(path: str | os.PathLike, table: pd.DataFrame) -> None:
    """Raises ValueError for codes of groups, such as hospitals 1, 2, 3; logs a warning for columns that may be codes.

    Args:
      table: exposures and covariates.
    """
    for name in table:
        if clinical_table.kind_of(name) == "patient":
            raise ValueError(
                f"{path}: {name!r} identifies patients and cannot be an exposure or covariate; leave it out."
            )
        values = np.unique(table[name].dropna().to_numpy(float))
        if len(values) < _FEW or (values % 1).any() or clinical_table.kind_of(name):
            continue
        shown = f"{', '.join(f'{value:g}' for value in values[:6])}{', ...' if len(values) > 6 else ''}"
        words = " ".join(re.sub(r"[\W_]+|(?<=[a-z])(?=[A-Z])", " ", name).split())
        words = vocabulary.fold(words)
        if _GROUPS.search(words) and not _ORDERED.search(words):
            raise ValueError(
                f"{path}: column {name!r} ({len(values)} values: {shown}) looks like codes of groups, which a model "
                f"would treat as a quantity ({values[-1]:g} is more than {values[0]:g}). Instead {remedy(name)}. If it "
                f"is a quantity, rename it, for example to num_{name}."
            )
        if len(values) <= _MANY_LEVELS and not _ORDERED.search(words):
            logging.warning(
                "%s: column %r (%d values: %s) is treated as a quantity with a linear effect. If these are codes of "
                "groups, %s.",
                path,
                name,
                len(values),
                shown,
                remedy(name),
            )


def _suspects(column: pd.Series) -> list[tuple[float, int]]:
    counts = column.value_counts()
    others = pd.Series([value for value in counts.index if not _MISSING.fullmatch(f"{value:g}")], dtype=float)
    if others.isin([*range(_FEW + 1), *_SINGLE]).all():
        others = others[~others.isin(_SINGLE)]
    if others.empty:
        return []
    codes = sorted(set(counts.index) - set(others))
    return [(value, int(counts[value])) for value in codes if _apart(value, counts[value], others.min(), others.max())]


def _apart(value: float, count: int, low: float, high: float) -> bool:
    span = max(high - low, abs(high), abs(low)) if high == low else high - low
    if value < 0 <= low:
        return True
    distance = max(value - high, low - value)
    return distance > span or (count >= _OFTEN and distance > 0.1 * span)


def _equal(text: str, code: str) -> bool:
    if text == code.strip():
        return True
    try:
        return float(text) == float(code)
    except ValueError:
        return False
