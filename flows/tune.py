"""Search for a better recipe: train and measure many; nothing goes into service.

A trial has stages: the same recipe on more and more of the rows. At the end the best ones are trained with seeds that
the search did not use, and asked queries that it did not ask, before one is called better than the recipe as it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE

import aepipe.pipeline.finetune
import aepipe.pipeline.pretrain
from aepipe.errors import RecipeError, TrainingError
from aepipe.log import chapter
from aepipe.pipeline import space, views
from aepipe.pipeline.resolve import ResolvedRecipe
from aepipe.pipeline.search import GIVEN, Found, Search
from aepipe.pipeline.space import Dimension
from aepipe.pipeline.sweep import label
from aepipe.pipeline.tune import Bench, Values, check_metric, journal, metric_of, repeats, space_key, varied
from aepipe.store import layout, registry
from aepipe.store.artifacts import Ref
from flows import tasks
from flows.build import show_progress
from flows.job import Job
from flows.making import rows_in_service
from flows.notify import HOOKS

logger = logging.getLogger("aepipe.flows")

CANDIDATES, SEEDS = 3, 3
"""Recipes that are measured at the end next to the given one, and seeds of each."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a search does.

    Attributes:
        budget: seconds of training in all, over all runs of the same search.
        trials: most of them; None for as many as the budget allows.
        metric: that is to be large; ``auto`` as :func:`aepipe.pipeline.tune.metric_of` says.
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
        return space.read_space(Path(self.space), resolved) if self.space else space.space_of(resolved)


def run_name() -> str:
    """Return the name of a run in Prefect."""
    return f"tune-{Path(str(runtime.flow_run.parameters['order']['recipe'])).stem}"


@flow(name="aepipe-tune", flow_run_name=run_name, persist_result=False, **HOOKS)
def tune(order: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Search for a better recipe, until the budget is spent.

    Args:
        order: parameters of :func:`flows.job.open_job`.
        settings: those of :class:`Settings`.

    Returns:
        What :func:`about` says of the search.

    Raises:
        AepipeError: a mistake that the user can mend.
        BusyError: another run writes under the same name.
    """
    show_progress()
    job, wanted = tasks.resolve(order), Settings(**settings)
    with registry.lock(job.store, job.name):
        rows = Ref.parse(tasks.ingest(job, rows_in_service(job.store, job.name)))
        return Tuning(job, rows, wanted).run()


class Tuning:
    """One search: its journal, its rows, and the clock.

    Attributes:
        sizes: training rows of each stage.
        count: training rows of the whole collection.
    """

    def __init__(self, job: Job, rows: Ref, wanted: Settings) -> None:
        self.job, self.rows, self.wanted, self.store = job, rows, wanted, job.store
        self.sizes, self.count = views.sizes(job.store, rows, wanted.rows, job.resolved.recipe.views.sample)
        self.metric = metric_of(job.store, job.resolved, rows, wanted.metric)
        self.dimensions = wanted.check(job.resolved)
        key = {"metric": self.metric, "sizes": self.sizes, "seed": wanted.seed, "space": space_key(self.dimensions)}
        self.file = journal(job.store, job.resolved, rows, key)
        self.search = Search(self.file, self.dimensions, seed=wanted.seed)
        self._benches: dict[Ref, Bench] = {}

    def run(self) -> dict[str, Any]:
        """Search, measure the best once more, and say what the search was; Ctrl-C ends it early."""
        try:
            while self._goes_on():
                self._trial()
            self._finals()
        except KeyboardInterrupt:
            return self.about() | {"interrupted": True}
        return self.about()

    def about(self) -> dict[str, Any]:
        """Return name, journal, metric, space and numbers of rows, for a report."""
        return {
            "name": self.job.name,
            "journal": str(self.file),
            "metric": self.metric,
            "sizes": self.sizes,
            "rows": self.count,
            "space": space_key(self.dimensions),
            "settings": asdict(self.wanted),
            "interrupted": False,
        }

    def _goes_on(self) -> bool:
        """Whether there is time for one more trial, and for measuring the best once more."""
        done = self.search.trials()
        if self.wanted.trials is not None and len(done) >= self.wanted.trials:
            return False
        left = self.wanted.budget - self.search.spent()
        final = (1 + CANDIDATES) * SEEDS * _seconds(done)
        return not done or left > min(final, self.wanted.budget / 2)

    def _trial(self) -> None:
        running = self.search.ask()
        best = max((one.value for one in self.search.trials() if one.value is not None), default=None)
        so_far = "" if best is None else f"  best {best:.3f}"
        chapter(f"trial {running.number}{so_far}  {label(running.changes)}".rstrip())
        began, value, why, state = time.monotonic(), None, "", "complete"
        try:
            for size in self.sizes:
                found = self._value(running.number, running.changes, size, layout.Sample.ASKED)
                value, why = found.mean, found.unhealthy
                if why or (running.report(value) and size != self.sizes[-1]):
                    state = "failed" if why else "stopped"
                    break
        except (TrainingError, RecipeError) as error:
            state, why = "failed", str(error)
        seconds = time.monotonic() - began
        self.search.tell(running, value, state=state, seconds=seconds, why=why)  # type: ignore[arg-type]
        said = "failed: " + why if state == "failed" else f"{self.metric} {value:.4f}"
        logger.info("%s: trial %d %s%s", self.job.name, running.number, said, ", stopped" if state == "stopped" else "")

    def _finals(self) -> None:
        """Measure the given recipe and the best ones with other seeds, on queries that were kept back."""
        best = self.search.best(CANDIDATES)
        left = self.wanted.budget - self.search.spent()
        each = SEEDS * _seconds(self.search.trials())
        room = max(1, int(left / each) - 1) if each else CANDIDATES
        for one in [GIVEN, *(found.number for found in best[:room])] if best else []:
            changes = next(found.changes for found in self.search.trials() if found.number == one)
            for seed in range(1, SEEDS + 1):
                self._final(one, changes, seed)

    def _final(self, number: int, changes: Mapping[str, Any], seed: int) -> None:
        if self.search.measured(number, seed) is not None:
            return
        chapter(f"once more: trial {number}, seed {seed} of {SEEDS}")
        began = time.monotonic()
        found = self._value(number, changes, self.sizes[-1], layout.Sample.KEPT_BACK, seed=seed)
        self.search.note(number, seed, found.of_queries, seconds=time.monotonic() - began)

    def _value(self, number: int, changes: Mapping[str, Any], size: int, asked: str, *, seed: int = 0) -> Values:
        repeat = repeats(self.sizes[-1], self.count)
        resolved = varied(self.job.resolved, changes, repeat=repeat, seed=seed)
        sampled = views.sample(self.store, resolved, self.rows, size)
        if sampled not in self._benches:
            self._benches[sampled] = Bench(self.store, sampled, self.metric)
        return Values(*measured(Job(self.store, resolved), self._benches[sampled], str(sampled), asked, number))


@task(name="trial", task_run_name="trial-{number}", cache_policy=NO_CACHE, persist_result=False)
def measured(job: Job, bench: Bench, sampled: str, asked: str, number: int) -> tuple[NDArray[np.float64], str]:
    """Train a recipe on a sample and ask some queries; ``number`` of the trial names the run."""
    store, resolved, cut = job.store, job.resolved, Ref.parse(sampled)
    layers: list[Ref] = []
    for _ in resolved.specs if resolved.recipe.pretrain else ():
        layers.append(aepipe.pipeline.pretrain.pretrain(store, resolved, cut, layers))
    codes = aepipe.pipeline.finetune.codes(store, resolved, cut, layers, [asked])
    found = bench.measure(codes["train"], codes[asked], asked)
    return found.of_queries, found.unhealthy


def _seconds(done: Sequence[Found]) -> float:
    """Return the mean time of a trial that went through all stages."""
    whole = [one.seconds for one in done if one.state == "complete"]
    return sum(whole) / len(whole) if whole else 0.0
