"""One trial of a search: its training and its figures; see :mod:`aepipe.pipeline.search`.

The metric is that of labels where there are labels, else that of walks (:mod:`aepipe.evaluate.walks`). Rows to search
in are those that were trained on; queries are held out.

Legend: Q queries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import QueryError
from aepipe.evaluate.bit_health import bit_health
from aepipe.evaluate.exact_search import nearest
from aepipe.evaluate.relevance import Labels
from aepipe.evaluate.retrieval import LABEL_FREE, METRICS, NEIGHBOURS, neighbour_recall, retrieval
from aepipe.evaluate.walks import WALK_MAP, Walks
from aepipe.pipeline.resolve import ResolvedRecipe, resolve_for
from aepipe.pipeline.space import CLOSED, Dimension, as_dict, read_space, space_of
from aepipe.pipeline.sweep import apply_settings
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, digest_of
from aepipe.store.labels import any_several, label_sets
from aepipe.store.rows import Rows

VERSION = 1
AUTO = "auto"
MOST_EPOCHS = 40
"""Of a training on a sample: fewer rows are seen more often, until a search would learn about that alone."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a search does.

    Attributes:
        budget: seconds of training in all, over all runs of the same search.
        trials: most of them; None for as many as the budget allows.
        metric: that is to be large; ``auto`` as :func:`metric_of` says.
        rows: most rows to train on; 0 for all.
        seed: of what is tried.
        space: a file with keys and ranges; None for those that suit the recipe.
    """

    budget: float = 1800.0
    trials: int | None = None
    metric: str = "auto"
    rows: int = 4000
    seed: int = 0
    space: str | None = None

    def check(self, resolved: ResolvedRecipe) -> list[Dimension]:
        """Return the space, after everything has been checked that needs no rows.

        Raises:
            QueryError: there is no such metric.
            RecipeError: the file of the space cannot be used, or nothing in the recipe can be searched.
        """
        check_metric(self.metric)
        return read_space(Path(self.space), resolved) if self.space else space_of(resolved)


@dataclass(frozen=True, slots=True)
class Values:
    """The metric of one trained recipe.

    Attributes:
        of_queries: float64[Q].
        unhealthy: why its bits are no codes; empty where they are.
    """

    of_queries: NDArray[np.float64]
    unhealthy: str = ""

    @property
    def mean(self) -> float:
        """The mean over the queries."""
        return float(self.of_queries.mean())


class Bench:
    """Measures trained recipes on a sample; whatever all of them share is found once.

    Args:
        store: where artifacts are read.
        views: the sample.
        metric: a name of :data:`aepipe.evaluate.retrieval.METRICS`.
    """

    def __init__(self, store: Store, views: Ref, metric: str) -> None:
        self._metric = metric
        self._folder = store.verified(views)
        self._rows = Rows(store.verified(Ref.parse(store.manifest(views).inputs["rows"])))
        self._known: dict[str, Any] = {}

    def measure(self, database: BitCodes, queries: BitCodes, asked: str) -> Values:
        """Measure codes.

        Args:
            database: of the training rows.
            queries: of the queries.
            asked: which queries: a name of :class:`aepipe.store.layout.Sample`.

        Raises:
            CorruptError: an artifact is damaged.
        """
        return Values(self._figures(database, queries, asked), "; ".join(bit_health(database).reasons))

    def _figures(self, database: BitCodes, queries: BitCodes, asked: str) -> NDArray[np.float64]:
        if self._metric == WALK_MAP:
            walks: Walks = self._once(asked, lambda: Walks.of(self._cells("train"), self._cells(asked)))
            return walks.of_codes(database, queries)
        if self._metric in LABEL_FREE:
            near = self._once(asked, lambda: nearest(self._cells("train"), self._cells(asked), NEIGHBOURS))
            return neighbour_recall(database, queries, near)
        labels = self._once("labels", self._labels)
        known, wanted = (labels[np.load(self._folder / layout.Sample.ids(name))] for name in ("train", asked))
        return retrieval(database, queries, known, wanted).named()[self._metric]

    def _once(self, name: str, made: Any) -> Any:  # noqa: ANN401  whatever is kept
        if name not in self._known:
            self._known[name] = made()
        return self._known[name]

    def _array(self, name: str) -> NDArray[Any]:
        found: NDArray[Any] = np.load(self._folder / layout.array_file(name), mmap_mode="r", allow_pickle=False)
        return found

    def _cells(self, name: str) -> NDArray[Any]:
        """Return rows as lines of numbers; missing cells are zero, as in the scores of a release."""
        rows = self._array(name).reshape(len(self._array(name)), -1)
        return np.nan_to_num(rows, nan=0.0) if rows.dtype.kind == "f" else rows

    def _labels(self) -> _ById:
        return _ById(self._rows.ids(), _classes(self._rows))


@dataclass(frozen=True, slots=True, eq=False)
class _ById:
    """Labels that are looked up by the ids of rows."""

    ids: NDArray[np.int64]
    labels: Labels

    def __getitem__(self, wanted: NDArray[np.int64]) -> Labels:
        order = np.argsort(self.ids, kind="stable")
        found: Labels = self.labels[order[np.searchsorted(self.ids, wanted, sorter=order)]]
        return found


def check_metric(wanted: str) -> None:
    """Check the name of a metric.

    Raises:
        QueryError: there is none of that name.
    """
    if wanted not in (AUTO, *METRICS):
        raise QueryError(f"--metric {wanted}: no such metric; allowed: {AUTO}, {', '.join(METRICS)}")


def metric_of(store: Store, resolved: ResolvedRecipe, rows: Ref, wanted: str = AUTO) -> str:
    """Return the metric of a search.

    Args:
        store: where the rows are.
        resolved: the recipe; its gate names the metric where there are labels.
        rows: the collection.
        wanted: its name; ``auto`` is the gate's metric where there are labels, else that of walks.

    Raises:
        QueryError: there is no such metric, or it needs labels and there are none.
    """
    check_metric(wanted)
    labelled = Rows(store.verified(rows)).labels() is not None
    if wanted == AUTO:
        gate = resolved.recipe.gate.metric
        return gate if labelled and gate not in LABEL_FREE else WALK_MAP
    if wanted not in LABEL_FREE and not labelled:
        raise QueryError(f"--metric {wanted}: the rows have no labels; allowed: {AUTO}, {', '.join(LABEL_FREE)}")
    return wanted


def journal(store: Store, resolved: ResolvedRecipe, rows: Ref, about: Mapping[str, Any]) -> Path:
    """Return the file of a search: the same for the same recipe, rows, space and settings.

    Args:
        store: that it belongs to.
        resolved: the recipe with every choice resolved.
        rows: the collection.
        about: everything else that the search depends on, JSON-able.
    """
    recipe = resolved.recipe.model_dump(mode="json", exclude={"name", "gate", "index", "evaluate"})
    key = {"version": VERSION, "recipe": recipe, "rows": str(rows), "compute": resolved.compute.key(), **about}
    return store.root / layout.Root.SEARCHES / f"{resolved.recipe.name}-{digest_of(key)[:16]}.jsonl"


def space_key(dimensions: Sequence[Dimension]) -> list[dict[str, Any]]:
    """Return a space for :func:`journal`."""
    return [as_dict(one) for one in dimensions]


def varied(resolved: ResolvedRecipe, changes: Mapping[str, Any], *, repeat: int = 1, seed: int = 0) -> ResolvedRecipe:
    """Return a recipe with other values, for a sample; the source is not looked at again.

    Args:
        resolved: the recipe with every choice resolved.
        changes: other values by key.
        repeat: how many times as many epochs are trained, since a sample has fewer rows.
        seed: added to the recipe's own.

    Raises:
        RecipeError: the values do not go together.
    """
    recipe = apply_settings(resolved.recipe, changes)
    longer = {f"layers.{number}.fit.epochs": one.fit.epochs for number, one in _trained(recipe.layers)}
    if recipe.code.objective.kind not in CLOSED:
        longer["code.fit.epochs"] = recipe.code.fit.epochs
    longer["finetune.epochs"] = recipe.finetune.epochs
    epochs = {key: max(own, min(repeat * own, MOST_EPOCHS)) for key, own in longer.items()}
    return resolve_for(apply_settings(recipe, {**epochs, "seed": recipe.seed + seed}), resolved.source)


def repeats(size: int, count: int) -> int:
    """Return how many times as many epochs a sample of ``size`` of ``count`` rows is trained."""
    return max(1, math.floor(count / size))


def _trained(layers: Sequence[Any]) -> list[tuple[int, Any]]:
    return [(number, one) for number, one in enumerate(layers) if one.objective.kind not in CLOSED]


def _classes(table: Rows) -> Labels:
    """Return the label of each row; a row without one is relevant to no query: its class is its own."""
    labels = table.labels() or []
    if any_several(labels):
        return label_sets(labels)
    return np.array([label or f"\0{row}" for row, label in enumerate(labels)], np.str_)
