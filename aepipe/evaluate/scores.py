"""Scores: our codes, baselines and exact float search on the same queries.

Each score is a mean over the queries with an interval, by the percentile bootstrap (Efron & Tibshirani, "An
Introduction to the Bootstrap", 1993, chapter 13). Queries that nearly equal a database row make scores look better than
they are, so they are counted and noted.

Legend: N database rows, Q queries, K bits, D features, H width of the embedding, k neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError
from aepipe.evaluate.baselines import BASELINES, Baseline, FitSample, codes_of
from aepipe.evaluate.bit_health import BitHealth, bit_health
from aepipe.evaluate.calibration import Calibration, calibrate
from aepipe.evaluate.exact_search import Distances, Features, distance_rows, nearest, smallest
from aepipe.evaluate.relevance import Labels, relevance_of
from aepipe.evaluate.reranking import Reranking, choose
from aepipe.evaluate.retrieval import (
    METRICS,
    NEIGHBOURS,
    Counts,
    distance_counts,
    neighbour_recall,
    retrieval,
    retrieval_by,
)
from aepipe.evaluate.strangers import Strangers
from aepipe.evaluate.ties import Floats, Ints
from aepipe.evaluate.walks import WALK_MAP, Walks
from aepipe.log import step

OURS, FLOAT = "ours", "float"
TOGETHER = 1 << 20
"""Values of resamples that are averaged at a time; memory holds no more of them."""
STAGE = "evaluate"
NEAR = 0.06
"""Two rows are near-duplicates up to this share of the usual distance of two rows: the same picture saved again, or a
recording with a little noise."""
NAMED = 3
"""Near-duplicates that a note names."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its interval, from ``low`` to ``high``."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows of one collection with everything that the evaluation needs.

    Attributes:
        codes: N codes.
        features: uint8 or float [N, D], from which the codes were learned; may be memory-mapped.
        labels: integers or strings [N]; frozensets, where rows have several; or None.
        keys: strings [N], the names of the rows for users, or None.
        embeddings: int8[N, H], for re-ranking, may be memory-mapped; or None.
        errors: float32[N], reconstruction errors, or None.

    Raises:
        CodeError: an array has another number of rows than there are codes.
    """

    codes: BitCodes
    features: Features
    labels: Labels | None = None
    keys: NDArray[np.str_] | None = None
    embeddings: NDArray[np.int8] | None = None
    errors: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for what in ("features", "labels", "keys", "embeddings", "errors"):
            values = getattr(self, what)
            if values is not None and len(values) != len(self.codes):
                raise CodeError(f"{len(self.codes)} codes need {len(self.codes)} {what}, not {len(values)}")

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: NDArray[np.int64]) -> Sample:
        """Return the sample of some rows."""
        chosen: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[rows] for name in self.__slots__
        }
        return Sample(**chosen)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        system: ``ours``, ``itq``, ``lsh``, ``pca-sign``, ``spectral`` or ``float``.
        metrics: estimates under the names of :data:`aepipe.evaluate.retrieval.METRICS`.
        precision: K + 1 means over the queries, within each radius from 0 to K; empty without labels and for floats.
        recall: the same of recall.
    """

    system: str
    metrics: Mapping[str, Estimate]
    precision: tuple[float, ...] = ()
    recall: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Protocol:
    """The conditions of a measurement; two scores are comparable where these are equal.

    Attributes:
        n_bits: K.
        n_database: rows ranked.
        n_queries: number of queries.
        labelled: whether relevance is by label; without labels only the recall of float neighbours and the average
            precision of walks are measured.
        seed: of the baselines and of the bootstrap.
    """

    n_bits: int
    n_database: int
    n_queries: int
    labelled: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one release.

    Attributes:
        protocol: what was measured.
        rows: one per system, ours first.
        health: of our codes of the database.
        notes: sentences on missing rows of the table, with the reasons, and on near-duplicates.
        calibration: probability of relevance by distance; None in scores of older versions.
        reranking: the gain by embeddings; None where they are not kept.
        duplicates: number of queries that nearly equal a database row.
        strangers: the limits above which questions are unlike the collection, by kind of question.
    """

    protocol: Protocol
    rows: tuple[Row, ...]
    health: BitHealth
    notes: tuple[str, ...] = ()
    calibration: Calibration | None = None
    reranking: Reranking | None = None
    duplicates: int = 0
    strangers: Mapping[str, Strangers] = field(default_factory=dict)

    def metric(self, name: str, system: str = OURS) -> Estimate | None:
        """Return one estimate, None where it was not measured."""
        found = [row.metrics[name] for row in self.rows if row.system == system and name in row.metrics]
        return found[0] if found else None

    def to_dict(self) -> dict[str, Any]:
        """Return a form for JSON."""
        return asdict(self)

    @classmethod
    def read(cls, file: Path) -> Scores:
        """Read the output of :meth:`to_dict` from a JSON file."""
        return cls.from_dict(json.loads(file.read_bytes()))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scores:
        """Read the output of :meth:`to_dict`, also through JSON."""
        rows = tuple(
            Row(
                row["system"],
                {name: Estimate(**value) for name, value in row["metrics"].items()},
                *(tuple(row.get(curve, ())) for curve in ("precision", "recall")),
            )
            for row in data["rows"]
        )
        health = BitHealth.from_dict(data["health"])
        calibration, reranking = (data.get(name) for name in ("calibration", "reranking"))
        return cls(
            Protocol(**data["protocol"]),
            rows,
            health,
            tuple(data["notes"]),
            Calibration.from_dict(calibration) if calibration else None,
            Reranking.from_dict(reranking) if reranking else None,
            data.get("duplicates", 0),
            {kind: Strangers.from_dict(limit) for kind, limit in data.get("strangers", {}).items()},
        )


def score(
    database: Sample,
    queries: Sample,
    *,
    seed: int,
    n_queries: int = 1000,
    rerank_recall: float = 0.9,
    fitted: MutableMapping[str, Baseline] | None = None,
    others: Others | None = None,
) -> Scores:
    """Measure our codes and every baseline on the same queries.

    The baselines are fitted on the database's features; one that cannot be fitted (more bits than features) is left
    out with a note. Without labels, only ``recall_at_10`` of exact float neighbours and ``walk_map`` are measured.

    Args:
        database: N rows to search in.
        queries: Q rows, none of them in the database.
        seed: of the baselines and of the bootstrap.
        n_queries: most queries to measure; of more, a fixed sample is taken, the same in every run.
        rerank_recall: see ``target`` of :class:`Reranking`.
        fitted: fitted baselines by name, which are used as they are; those that are missing are fitted and added.
        others: what was measured of other systems on the same rows and queries with the same seed, which is used as it
            is; what is missing is measured and added.

    Raises:
        CodeError: codes, features or labels that do not match, or nothing to rank.
        FingerprintError: two encoders made the codes.
    """
    if not len(database) or not len(queries):
        raise CodeError(f"nothing to score: {len(database)} rows in the database, {len(queries)} queries")
    queries = first_queries(queries, n_queries)
    labelled = database.labels is not None and queries.labels is not None
    protocol = Protocol(database.codes.n_bits, len(database), len(queries), labelled, seed)
    known = Others() if others is None else others
    known.exact = known.exact or _exact(database, queries)
    yard, exact = known.exact
    counts = _counts(database, queries)
    ours = OURS, _measure(database, queries, yard, counts)
    others_of_codes = _baselines(database, queries, yard, seed, {} if fitted is None else fitted, known.rows)
    rows, notes = _rows(chain([ours], others_of_codes, [(FLOAT, known.rows.get(FLOAT, exact))]), seed, known)
    both = None if database.labels is None or queries.labels is None else (database.labels, queries.labels)
    twins = near_duplicates(database.features, queries.features, yard.neighbours)
    notes += describe_leaks(twins, database.keys, queries.keys)
    reranking = None
    if database.embeddings is not None and queries.embeddings is not None:
        codes, embeddings = (database.codes, queries.codes), (database.embeddings, queries.embeddings)
        reranking = choose(codes, embeddings, both, target=rerank_recall)
    return Scores(
        protocol,
        tuple(rows),
        bit_health(database.codes),
        tuple(notes),
        calibrate(database.codes, queries.codes, yard.neighbours, both, queries.errors, counts=counts),
        reranking,
        int((twins >= 0).sum()),
    )


def first_queries(queries: Sample, n_queries: int) -> Sample:
    """Return at most ``n_queries`` queries: a fixed sample, the same in every run."""
    if len(queries) <= n_queries:
        return queries
    return queries[places_of_first(len(queries), n_queries)]


def places_of_first(count: int, most: int) -> Ints:
    """Return the places that :func:`first_queries` takes, int64[min(count, most)]."""
    if count <= most:
        return np.arange(count)
    return np.random.default_rng(0).choice(count, most, replace=False)


def interval(
    values: NDArray[np.floating], rng_seed: int, level: float = 0.95, resamples: int = 1000
) -> tuple[float, float]:
    """Return the percentile interval of the mean of per-query values.

    Args:
        values: float[Q], at least one.
        rng_seed: of the resampling; the same seed, values and settings give the same interval.
        level: nominal coverage of the interval, in (0, 1).
        resamples: number of samples of Q queries with replacement.
    """
    assert values.ndim == 1, "per-query values are one-dimensional"
    low, high = intervals(values[None], rng_seed, level, resamples)
    return float(low[0]), float(high[0])


def intervals(
    values: NDArray[np.floating], rng_seed: int, level: float = 0.95, resamples: int = 1000
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the percentile intervals of several means over the same queries, float[M] each.

    They are resampled together, so each is as if it were alone; see :func:`interval`.

    Args:
        values: float[M, Q], with a column at least.
        rng_seed: of the resampling.
        level: nominal coverage of an interval, in (0, 1).
        resamples: number of samples of Q queries with replacement.
    """
    count = values.shape[1]
    assert count, "a mean needs a value"
    assert 0 < level < 1, "a level lies between 0 and 1"
    rng = np.random.default_rng(rng_seed)
    at_once, means = max(1, TOGETHER // values.size), list[NDArray[np.floating]]()
    for start in range(0, resamples, at_once):
        drawn = rng.integers(0, count, (min(at_once, resamples - start), count))
        means.append(np.take(values, drawn, axis=1).mean(axis=2))
    low, high = np.quantile(np.concatenate(means, axis=1), [(1 - level) / 2, (1 + level) / 2], axis=1)
    return low, high


def estimate(values: NDArray[np.floating], rng_seed: int, level: float = 0.95) -> Estimate:
    """Return the mean of per-query values, float[Q], with its interval."""
    return estimates({"": values}, rng_seed, level)[""]


def estimates(values: Mapping[str, NDArray[np.floating]], rng_seed: int, level: float = 0.95) -> dict[str, Estimate]:
    """Return the mean of per-query values with its interval for each name, in their order.

    Args:
        values: float[Q] each; Q may differ.
        rng_seed: see :func:`interval`.
        level: likewise.
    """
    kinds: dict[tuple[int, np.dtype[Any]], list[str]] = {}
    for name, one in values.items():
        kinds.setdefault((len(one), one.dtype), []).append(name)
    found: dict[str, tuple[float, float]] = {}
    for names in kinds.values():
        low, high = intervals(np.stack([values[name] for name in names]), rng_seed, level)
        found |= {name: (float(low[at]), float(high[at])) for at, name in enumerate(names)}
    return {name: Estimate(float(one.mean()), *found[name]) for name, one in values.items()}


def paired_difference(
    ours: NDArray[np.floating], theirs: NDArray[np.floating], rng_seed: int, level: float = 0.95
) -> Estimate:
    """Return the mean of ours - theirs over the same queries, float[Q] each, with its interval.

    Differences per query are resampled, so the variance that both share (hard and easy queries) cancels.
    """
    assert ours.shape == theirs.shape, "a paired difference needs the same queries"
    return estimate(ours - theirs, rng_seed, level)


def near_duplicates(database: Features, queries: Features, neighbours: Ints) -> Ints:
    """Return the database row that each query nearly equals, int64[Q]; -1 where there is none.

    Args:
        database: uint8 or float [N, D].
        queries: uint8 or float [Q, D].
        neighbours: int64[Q, k], each query's nearest rows, in any order.
    """
    # The mean squared difference of two independent rows is twice the variance.
    usual = float(np.sqrt(2 * queries.astype(np.float64).var(axis=0).mean()))
    found = np.full(len(queries), -1, np.int64)
    for place, near in enumerate(neighbours):
        differ = database[near].astype(np.float64) - queries[place].astype(np.float64)
        error = np.sqrt(np.square(differ).mean(axis=1))
        if error.min() <= NEAR * usual:
            found[place] = near[error.argmin()]
    return found


def describe_leaks(twins: Ints, rows: NDArray[np.str_] | None, queries: NDArray[np.str_] | None) -> list[str]:
    """Describe the queries that nearly equal database rows, in one note or none.

    Args:
        twins: the output of :func:`near_duplicates`.
        rows: keys of the database; None where there are none.
        queries: keys of the queries; None where there are none.
    """
    found = np.flatnonzero(twins >= 0)
    if not len(found):
        return []
    examples = ""
    if rows is not None and queries is not None:
        first = [f"{queries[query]} ~ {rows[twins[query]]}" for query in found[:NAMED]]
        examples = f": {', '.join(first)}{', ...' if len(found) > NAMED else ''}"
    return [
        f"{len(found):,} of {len(twins):,} queries nearly equal a database row (they differ by less than {NEAR:.0%} "
        f"of the usual difference of two rows), which makes the scores look better than they are{examples}"
    ]


class _Measured(NamedTuple):
    """Metrics of one system per query, and its precision and recall by radius."""

    metrics: dict[str, Floats]
    within: tuple[Floats, ...] = ()


class _Yardsticks(NamedTuple):
    """The truth by which codes are measured without labels: nearest rows, int64[Q, k], and walks."""

    neighbours: Ints
    walks: Walks


@dataclass(slots=True)
class Others:
    """What was measured of everything but our codes; the same for all encoders of the same rows.

    Attributes:
        exact: each query's nearest rows and walks, and the metrics of exact search.
        rows: of baselines and of exact search, or the reason why there is none, by system.
    """

    exact: tuple[_Yardsticks, _Measured] | None = None
    rows: dict[str, Row | str] = field(default_factory=dict)


def _rows(
    systems: Iterable[tuple[str, _Measured | Row | str]], seed: int, known: Others
) -> tuple[list[Row], list[str]]:
    """Return a row for each system, or a note in its place; those of others than our codes are kept."""
    rows, notes = list[Row](), list[str]()
    for done, (system, found) in enumerate(systems, 1):
        row = _row(system, found, seed) if isinstance(found, _Measured) else found
        if isinstance(row, str):
            notes.append(row)
        else:
            rows.append(row)
        if system != OURS:
            known.rows[system] = row
        step(STAGE, done, 2 + len(BASELINES), system)
    return rows, notes


def _row(system: str, found: _Measured, seed: int) -> Row:
    metrics = estimates({name: found.metrics[name] for name in METRICS if name in found.metrics}, seed)
    return Row(system, metrics, *(tuple(curve.round(6).tolist()) for curve in found.within))


def _baselines(
    database: Sample,
    queries: Sample,
    yard: _Yardsticks,
    seed: int,
    fitted: MutableMapping[str, Baseline],
    known: Mapping[str, Row | str],
) -> Iterator[tuple[str, _Measured | Row | str]]:
    """Yield each baseline with its metrics, or with the reason why it has none; of known ones, what is known."""
    n_bits = database.codes.n_bits
    sample, refused = FitSample(database.features, n_bits, seed), dict[str, str]()
    wanted = [name for name in BASELINES if name not in known]
    for name in wanted:
        try:
            if name not in fitted:
                fitted[name] = BASELINES[name](database.features, n_bits, seed, sample)
        except CodeError as error:
            refused[name] = str(error)
    able = [name for name in wanted if name not in refused]
    both = [codes_of([fitted[name] for name in able], side.features) for side in (database, queries)]
    coded = dict(zip(able, zip(*both, strict=True), strict=True))
    for name in BASELINES:
        if name not in coded:
            yield name, known[name] if name in known else refused[name]
            continue
        sides = zip(coded[name], (database, queries), strict=True)
        theirs, asked = (Sample(codes, side.features, side.labels) for codes, side in sides)
        yield name, _measure(theirs, asked, yard, _counts(theirs, asked))


def _counts(database: Sample, queries: Sample) -> Counts:
    """Count the rows and the relevant rows at each distance."""
    if database.labels is None or queries.labels is None:
        return distance_counts(database.codes, queries.codes)
    return distance_counts(database.codes, queries.codes, relevance_of(database.labels, queries.labels))


def _measure(database: Sample, queries: Sample, yard: _Yardsticks, counts: Counts) -> _Measured:
    """Measure the codes of one system."""
    codes = database.codes, queries.codes
    metrics = {"recall_at_10": neighbour_recall(*codes, yard.neighbours, counts)}
    metrics[WALK_MAP] = yard.walks.of_codes(*codes)
    if database.labels is None or queries.labels is None:
        return _Measured(metrics)
    found = retrieval(*codes, database.labels, queries.labels, counts=counts)
    return _Measured(metrics | found.named(), found.within or ())


def _exact(database: Sample, queries: Sample) -> tuple[_Yardsticks, _Measured]:
    """Return each query's nearest rows and walks, and the metrics of exact search.

    Its recall of these neighbours is 1 by definition.
    """
    walks = Walks.of(database.features, queries.features)
    walked = walks.of_floats(database.features, queries.features)
    metrics = {"recall_at_10": np.ones(len(queries)), WALK_MAP: walked}
    if database.labels is None or queries.labels is None:
        return _Yardsticks(nearest(database.features, queries.features, NEIGHBOURS), walks), _Measured(metrics)
    found: list[Ints] = []

    # One pass over the distances gives both the metrics and the neighbours.
    def passing() -> Iterator[tuple[int, Distances]]:
        for first, distances in distance_rows(database.features, queries.features):
            found.append(smallest(distances, NEIGHBOURS))
            yield first, distances

    metrics |= retrieval_by(passing(), database.labels, queries.labels).named()
    return _Yardsticks(np.concatenate(found), walks), _Measured(metrics)
