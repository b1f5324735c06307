"""Moderated mediation: does the indirect effect of one mediator depend on another variable?"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import stats

from ssinfnet_jax.analysis.mediation import categories, columns
from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation.estimation import elimination, intervals
from ssinfnet_jax.analysis.mediation.estimation import sampling as sampled
from ssinfnet_jax.analysis.mediation.estimation.adjust import adjust as adjusted
from ssinfnet_jax.analysis.mediation.estimation.resample import Resamples, cross_products, products, resample
from ssinfnet_jax.analysis.mediation.estimation.sampling import INDEPENDENT, Sampling

PATHS = {  # moderated paths: of x to m, of m to y, of x to y
    "first": (True, False, False),
    "second": (False, True, False),
    "both": (True, True, False),
    "all": (True, True, True),
}
_MAX_LEVELS = 5  # a moderator with more values is a quantity
_MAX_PAIRS = 128  # resampled at once


def moderated_effects(
    table: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    moderator: str,
    outcome: str = "severity",
    *,
    moderated: str = "first",
    covariates: Sequence[str] = (),
    sampling: Sampling = INDEPENDENT,
    adjust: str = "fdr_bh",
    draws: int = 5000,
    level: float = 0.95,
    seed: int = 0,
    min_n: int = 10,
) -> pd.DataFrame:
    """Estimates the indirect effect at values of a moderator w, and the index of moderated mediation.

    With covariates in both equations,
      m = a x + [w + a_w x w] + e,   y = c x + b m + [w + b_w m w] + [c_w x w] + e',
      indirect(w) = (a + a_w w) (b + b_w w),   direct(w) = c + c_w w,
      index = (indirect(high) - indirect(low)) / (high - low),
    where `moderated` chooses the brackets. If one path is moderated, the index is a_w b or a b_w, whatever the values.
    For categories there is an index for each but the reference: the difference of the two indirect effects. Standard
    errors are ML's or sandwiches, with the delta method.

    Args:
      table, exposures, mediators, outcome, covariates, sampling, min_n: see univariate().
      moderator: a column of numbers, or of categories, `C(scanner)`. Effects are estimated at up to five values; if
        there are more, at the mean and one standard deviation to both sides, within the observed range.
      moderated: "first", exposure to mediator (PROCESS model 7); "second", mediator to outcome (14); "both" (58);
        "all", these and the direct effect (59).
      adjust: see adjust(); over the indices of all pairs.
      draws, level, seed: see bootstrap(); 0 draws give no bootstrap intervals.
    Returns: for each pair, in the order of univariate(), rows of the effect "indirect" for each value, "direct" (if
      "all"), and "index": exposure, mediator, moderator, effect, at (value; category of an index), n, est, se, z, p,
      p_adj (of the indices), lower, upper (delta method), the columns of intervals(), flag. `attrs["family"]` states
      the family of tests in words.
    Raises: ValueError as univariate(); for unknown paths, a moderator with another role or fewer than two values.
    Source: Hayes 2015, doi:10.1080/00273171.2014.962683 (index); Preacher, Rucker and Hayes 2007,
      doi:10.1080/00273170701341316; Hayes 2022, Introduction to Mediation, Moderation (the models' numbers).
    """
    paths = _paths(moderated)
    check_moderator(table, moderator, exposures, mediators, outcome, covariates)
    table, of_moderator = categories.expand(table, [moderator])
    given = [*covariates, *of_moderator]
    data = columns.of_pairs(table, exposures, mediators, outcome, given)
    points = _points(table, moderator, data[of_moderator])
    sampling, data = sampling.keep(data[outcome].notna().to_numpy()), data.dropna(subset=[outcome])
    found = []
    for names, pairs in pairing.blocks(data, exposures, mediators, outcome, given, min_n, sampling.weights):
        model = _Model(pairs.z.shape[-1] - 3, 1 + len(covariates), len(of_moderator), paths)
        found.append(_of_block(names, pairs, model, points, sampling, (draws, level, seed)))
    result = pd.concat(found, ignore_index=True)
    result.insert(2, "moderator", moderator)
    indices = (result["effect"] == "index").to_numpy()
    result.insert(result.columns.get_loc("p") + 1, "p_adj", adjusted(result["p"].where(indices).to_numpy(), adjust))
    result.attrs["family"] = _family(result[indices], adjust)
    return result


def _paths(moderated: str) -> tuple[bool, bool, bool]:
    if moderated not in PATHS:
        raise ValueError(f"Unknown moderated {moderated!r}; choose one of {', '.join(PATHS)}.")
    return PATHS[moderated]


def check_moderator(
    table: pd.DataFrame,
    moderator: str,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str,
    covariates: Sequence[str],
) -> None:
    """Refuses a moderator with another role (`gender` beside `C(gender)`, too) or fewer than two values.

    Args: see moderated_effects(). Raises: ValueError.
    """
    roles = {"exposure": exposures, "mediator": mediators, "outcome": [outcome], "covariate": covariates}
    for role, names in roles.items():
        if categories.column(moderator) in map(categories.column, names):
            raise ValueError(f"The moderator {moderator!r} is also the {role}; leave it out there, or name another.")
    table, of_moderator = categories.expand(table, [moderator])
    values = columns.numeric(table, of_moderator).to_numpy()
    num = len(np.unique(values[np.isfinite(values)]))
    if num < 2:
        raise ValueError(f"The moderator {moderator!r} has {num} values; it takes two or more.")


def _family(indices: pd.DataFrame, adjust: str) -> str:
    flagged = int((indices["flag"] != "").sum())
    return f"{adjust} over {len(indices) - flagged} indices ({flagged} flagged and not tested)"


class _Points(NamedTuple):
    """Values of the moderator at which effects are estimated, and the indices.

    at: names of the V values.  values: float[V, W], of the moderator's columns.  index: float[I, V], weights of the
    indirect effects in each index.  index_at: names of the indices.
    """

    at: list[str]
    values: np.ndarray
    index: np.ndarray
    index_at: list[str]


def _points(table: pd.DataFrame, moderator: str, columns_of: pd.DataFrame) -> _Points:
    if categories.is_term(moderator):
        labels = categories.labels(table, moderator, list(columns_of))
        differences = np.eye(len(labels))[1:] - np.eye(len(labels))[0]
        return _Points(labels, np.eye(len(labels))[:, 1:], differences, labels[1:])
    column = columns_of.iloc[:, 0]
    column = column[np.isfinite(column)]
    values = np.unique(column)
    if len(values) > _MAX_LEVELS:
        steps = column.mean() + np.array([-1, 0, 1]) * column.std()
        values = np.unique(steps.clip(values[0], values[-1]))
    ends = np.zeros((1, len(values)))
    ends[0, [0, -1]] = np.array([-1, 1]) / (values[-1] - values[0])
    return _Points([f"{value:.4g}" for value in values], values[:, None], ends, [""])


@dataclasses.dataclass(frozen=True)
class _Model:
    """Two regressions on [1, given, x, x w, m, m w, y], where w are columns of `given`.

    Its coefficients are (a, a_w, b, b_w, c, c_w), 3 (1 + W) numbers; 0 for those that a model does not have.

    Attributes:
      first_w, num_w: where w stand in these columns.
      paths: see PATHS.
    """

    num_given: int
    first_w: int
    num_w: int
    paths: tuple[bool, bool, bool]

    @property
    def equations(self) -> list[tuple[list[int], int, list[int], list[int]]]:
        """Of m and y: columns on the right, that on the left, places of coefficients among the former, and in all."""
        size, w = 1 + self.num_w, list(range(self.first_w, self.first_w + self.num_w))
        x, m = self.num_given + 1, self.num_given + 1 + size
        others = [column for column in range(self.num_given + 1) if column not in w]
        to_m, to_y, direct = self.paths
        of_m = [*others, x, *(w if to_m else [])], [*range(x + 1, m)] if to_m else []
        of_y = [*others, x, m, *(w if to_y else [])], [*range(m + 1, m + size)] if to_y else []
        of_y[1].extend(range(x + 1, m) if direct else [])
        places = {column: column - x for column in range(x, m + size)}
        found = []
        for (plain, with_w), left, wanted in ((of_m, m, range(x, m)), (of_y, m + size, range(x, m + size))):
            right = plain + with_w
            inside = [column for column in right if column in wanted]
            to = [places[c] if left == m else (places[c] if c >= m else places[c] + 2 * size) for c in inside]
            found.append((right, left, [right.index(column) for column in inside], to))
        return found

    def columns(self, pairs: pairing.Pairs) -> np.ndarray:
        """float[N, K, P], standardised; 0 in rows that are not complete."""
        ones = pairs.complete[..., None].astype(float)
        w = pairs.z[..., self.first_w - 1 : self.first_w - 1 + self.num_w]
        x, m, y = (pairs.z[..., [place]] for place in (-3, -2, -1))
        return np.concatenate([ones, pairs.z[..., :-3], x, x * w, m, m * w, y], axis=-1)

    def effects(self, theta: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indirect and direct effects at values w of the moderator: [..., K, 3 (1 + W)], [K, V, W] -> [..., K, V]."""
        a, b, c = self._at(theta, w)
        return a * b, c

    def slopes(self, theta: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of both by theta: [K, V, 3 (1 + W)]."""
        a, b, _ = self._at(theta, w)
        one = np.concatenate([np.ones((*w.shape[:2], 1)), w], axis=-1)
        none = np.zeros_like(one)
        indirect = np.concatenate([one * b[..., None], one * a[..., None], none], axis=-1)
        return indirect, np.concatenate([none, none, one], axis=-1)

    def _at(self, theta: np.ndarray, w: np.ndarray) -> list[np.ndarray]:
        parts = np.split(theta, 3, axis=-1)
        return [part[..., :1] + (w @ part[..., 1:, None])[..., 0] for part in parts]


def _of_block(
    names: pd.DataFrame, pairs: pairing.Pairs, model: _Model, points: _Points, sampling: Sampling, how: tuple
) -> pd.DataFrame:
    with np.errstate(all="ignore"):
        theta, covariance, flag = _fit(pairs, model, sampling)
        places = slice(model.first_w - 1, model.first_w - 1 + model.num_w)
        w = (points.values - pairs.mean[:, None, places]) / pairs.sd[:, None, places]
        combine = _Rows(model, points, w, pairs.sd[:, -1] / pairs.sd[:, -3])
        est, slopes = combine(theta), combine.slopes(theta)
        se = np.sqrt(((slopes @ covariance) * slopes).sum(-1))
        df = sampled.df(sampling, pairs.complete)[:, None]
        reach = stats.t.ppf((1 + how[1]) / 2, df) * se
        numbers = {"est": est, "se": se, "z": est / se, "p": 2 * stats.t.sf(np.abs(est / se), df)}
        numbers |= {"lower": est - reach, "upper": est + reach}
    count = len(combine.names)
    table = names.loc[names.index.repeat(count)].reset_index(drop=True)
    table[["effect", "at"]] = combine.names * len(names)
    table = table.assign(n=np.repeat(pairs.n, count), **{name: value.ravel() for name, value in numbers.items()})
    table.loc[np.repeat(flag != "", count), list(numbers)] = np.nan
    draws, level, seed = how
    if draws:
        bounds = _bootstrap(pairs, model, combine, draws, level, seed, sampling)
        few = np.repeat(flag == "", count) & (bounds["draws"] < intervals.MIN_USABLE * draws).to_numpy()
        bounds.loc[np.repeat(flag != "", count), bounds.columns != "draws"] = np.nan
        table = table.join(bounds.rename(columns=lambda name: name if name == "draws" else f"bootstrap_{name}"))
        texts = [f"only {usable} of {draws} resamples can be fitted" for usable in bounds["draws"]]
        return table.assign(flag=np.where(few, texts, np.repeat(flag, count)))
    return table.assign(flag=np.repeat(flag, count))


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The effects that are reported, in the units of the table, from the coefficients of standardised columns."""

    model: _Model
    points: _Points
    w: np.ndarray
    scale: np.ndarray

    @property
    def names(self) -> list[tuple[str, str]]:
        """(effect, at) of each row."""
        effects = ["indirect", *(["direct"] if self.model.paths[2] else [])]
        rows = [(effect, at) for effect in effects for at in self.points.at]
        return rows + [("index", at) for at in self.points.index_at]

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        """[..., K, 3 (1 + W)] -> [..., K, R]."""
        indirect, direct = self.model.effects(theta, self.w)
        index = indirect @ self.points.index.T
        return np.concatenate([indirect, *([direct] if self.model.paths[2] else []), index], -1) * self.scale[:, None]

    def slopes(self, theta: np.ndarray) -> np.ndarray:
        """[K, 3 (1 + W)] -> [K, R, 3 (1 + W)]."""
        indirect, direct = self.model.slopes(theta, self.w)
        rows = [indirect, *([direct] if self.model.paths[2] else []), self.points.index @ indirect]
        return np.concatenate(rows, axis=1) * self.scale[:, None, None]


def _fit(pairs: pairing.Pairs, model: _Model, sampling: Sampling) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients [K, T], their covariance [K, T, T], flags [K]."""
    z, size = model.columns(pairs), 3 * (1 + model.num_w)
    theta, covariance = np.zeros((len(pairs.n), size)), np.zeros((len(pairs.n), size, size))
    influence = np.zeros((*z.shape[:2], size))
    flag = np.where(sampled.df(sampling, pairs.complete) < 1, sampled.ONE_CLUSTER, "").astype(object)
    weighted = z * pairs.weights[..., None]
    moments = np.moveaxis(weighted, 0, 2) @ np.moveaxis(z, 0, 1)
    for right, left, inside, places in model.equations:
        among = moments[:, right][:, :, right]
        root = np.sqrt(np.diagonal(among, axis1=1, axis2=2))
        r = np.nan_to_num(among / (root[:, :, None] * root[:, None, :]))
        collinear = ~(np.linalg.eigvalsh(r)[:, 0] > pairing.COLLINEAR)
        flag[(flag == "") & collinear] = "the product with the moderator is collinear with other columns"
        flag[(flag == "") & (pairs.n <= len(right) + 1)] = "too few complete rows for the products with the moderator"
        inverse = np.linalg.inv(np.where((collinear | (pairs.flag != ""))[:, None, None], np.eye(len(right)), among))
        slopes = (inverse @ moments[:, right, left, None])[..., 0]
        error = z[..., left] - (z[..., right] * slopes).sum(-1)
        theta[:, places] = slopes[:, inside]
        variance = (pairs.weights * error**2).sum(0) / pairs.n
        at = np.ix_(range(len(theta)), places, places)
        covariance[at] = variance[:, None, None] * inverse[:, inside][:, :, inside]
        moved = np.einsum("nkp,kpq->nkq", weighted[..., right] * error[..., None], inverse)
        influence[..., places] = moved[..., inside]
    if not sampling.is_plain:
        covariance = sampled.covariance(influence, sampling, pairs.complete)
    return theta, covariance, np.where(pairs.flag != "", pairs.flag, flag)


def _bootstrap(
    pairs: pairing.Pairs, model: _Model, combine: _Rows, draws: int, level: float, seed: int, sampling: Sampling
) -> pd.DataFrame:
    """intervals() of all rows of K pairs."""
    blocks = []
    for start in range(0, len(pairs.n), _MAX_PAIRS):
        chosen = slice(start, start + _MAX_PAIRS)
        some = pairs._replace(**{name: getattr(pairs, name)[:, chosen] for name in ("z", "complete", "weights")})
        columns_of = model.columns(some)
        features = products(columns_of) * some.weights[..., None]
        count = columns_of.shape[1]
        statistic = _Coefficients(model, count, columns_of.shape[2])
        found = resample(features.reshape(len(features), -1), statistic, draws, seed, sampling.clusters)
        rows = dataclasses.replace(combine, w=combine.w[chosen], scale=combine.scale[chosen])
        effects = [rows(part.reshape(*part.shape[:-1], count, -1)) for part in found]
        flat = [part.reshape(*part.shape[:-2], -1) for part in effects]
        blocks.append(intervals.intervals(Resamples(*flat), level))
    return pd.concat(blocks, ignore_index=True)


@dataclasses.dataclass(frozen=True)
class _Coefficients:
    """Sums of the cross-products of the columns of K pairs -> coefficients float64[B, K T] of a _Model."""

    model: _Model
    num_pairs: int
    num_columns: int

    def __call__(self, sums: jax.Array) -> jax.Array:
        moments = cross_products(sums.reshape(len(sums), self.num_pairs, -1), self.num_columns)
        theta = jnp.zeros((len(sums), self.num_pairs, 3 * (1 + self.model.num_w)))
        for right, left, inside, places in self.model.equations:
            among = moments[..., right, :][..., right]
            root = jnp.sqrt(jnp.diagonal(among, axis1=-2, axis2=-1))
            slopes, pivots = elimination.solve(
                among / (root[..., :, None] * root[..., None, :]), (moments[..., right, left] / root)[..., None]
            )
            independent = (pivots > pairing.COLLINEAR).all(-1)
            found = jnp.where(independent[..., None], slopes[..., 0] / root, jnp.nan)
            theta = theta.at[..., jnp.array(places)].set(found[..., jnp.array(inside)])
        return theta.reshape(len(sums), -1)
