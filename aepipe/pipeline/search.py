"""A search for a better recipe: which one is tried next, and what was found; by Optuna.

The search is a journal, a file of JSON lines in the store, so one that was interrupted goes on where it stopped. What
is tried next depends on the seed and on the finished trials alone: the same search gives the same trials, interrupted
or not. The first trial is the recipe as it was given.

Source: the tree-structured Parzen estimator, Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 2011;
a trial is stopped early by the median rule of Golovin et al., "Google Vizier", KDD 2017.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from aepipe.evaluate.scores import Estimate, paired_difference
from aepipe.pipeline.space import Dimension, rounded

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

AT_RANDOM = 8
"""Trials before the search learns from what it found."""
JUDGED_FROM = 5
"""Complete trials from which others are stopped early."""
GIVEN = 0
"""Number of the trial of the recipe as it was given."""
LEVEL = 0.95
NAME = "tune"

State = Literal["complete", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Found:
    """One finished trial.

    Attributes:
        number: counted from 0, the recipe as it was given.
        changes: to the recipe, by key.
        value: of the metric, after all stages; of one that was stopped, after the last; None where training failed.
        state: ``complete``; ``stopped`` early, because it was below the median; or ``failed``.
        stages: the metric after each stage, that is each number of rows.
        seconds: that it took.
        why: it failed.
    """

    number: int
    changes: Mapping[str, Any]
    value: float | None
    state: State
    stages: tuple[float, ...] = ()
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Final:
    """A recipe measured once more, with seeds and queries that the search did not use.

    Attributes:
        number: of the trial.
        means: of the metric, for each seed.
        gain: over the recipe as it was given, on the same queries; None for that recipe itself.
        better: the gain is beyond chance: its interval lies above zero, and no seed lost.
    """

    number: int
    means: tuple[float, ...]
    gain: Estimate | None = None
    better: bool = False


@dataclass(slots=True)
class Running:
    """A trial that is being trained.

    Attributes:
        number: of the trial, as in :class:`Found`.
        changes: to the recipe, by key.
    """

    trial: Trial
    number: int
    changes: dict[str, Any]
    stages: list[float] = field(default_factory=list)

    def report(self, value: float) -> bool:
        """Note the metric after a stage; say whether the trial is to be stopped."""
        self.trial.report(value, len(self.stages))
        self.stages.append(value)
        return self.trial.should_prune()


class Search:
    """The journal of one search.

    Args:
        file: of the journal; made where it is missing.
        dimensions: the space.
        seed: of what is tried.
    """

    def __init__(self, file: Path, dimensions: Sequence[Dimension], *, seed: int) -> None:
        self._study = _open(file)
        self._dimensions, self._seed = tuple(dimensions), seed

    def ask(self) -> Running:
        """Return the next trial; one that an earlier process did not finish is begun again."""
        import optuna

        done = self._finished()
        for left in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            self._study.tell(left.number, state=optuna.trial.TrialState.FAIL)
        if not done and not self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)):
            self._study.enqueue_trial({one.key: one.own for one in self._dimensions}, skip_if_exists=False)
        # A seed for each trial: what is tried depends on what was found, not on when a process began.
        self._study.sampler = _sampler(self._seed + len(done))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self._study.ask()
            values = {one.key: _suggested(trial, one) for one in self._dimensions}
        changes = {one.key: values[one.key] for one in self._dimensions if values[one.key] != one.own}
        trial.set_user_attr("number", len(done))
        trial.set_user_attr("changes", changes)
        return Running(trial, len(done), changes)

    def tell(self, running: Running, value: float | None, *, state: State, seconds: float, why: str = "") -> None:
        """Note the end of a trial.

        Args:
            running: the trial.
            value: of the metric after all stages; None where there is none.
            state: how it ended.
            seconds: that it took.
            why: it failed.
        """
        from optuna.trial import TrialState

        for name, one in (("state", state), ("seconds", round(seconds, 3)), ("why", why)):
            running.trial.set_user_attr(name, one)
        if state == "complete":
            self._study.tell(running.trial, value)
        else:
            self._study.tell(running.trial, state=TrialState.PRUNED)

    def trials(self) -> list[Found]:
        """Return the finished trials in their order."""
        return [_read(one) for one in self._finished()]

    def best(self, count: int) -> list[Found]:
        """Return the complete trials that are above the recipe as it was given, the best first."""
        found = [one for one in self.trials() if one.state == "complete" and one.value is not None]
        floor = next((one.value for one in found if one.number == GIVEN), None)
        above = [one for one in found if one.changes and (floor is None or (one.value or 0.0) > floor)]
        return sorted(above, key=lambda one: (-(one.value or 0.0), one.number))[:count]

    def spent(self) -> float:
        """Return the seconds that all finished work took."""
        measured = sum(one["seconds"] for name, one in self._study.user_attrs.items() if name.startswith("final/"))
        return float(measured + sum(one.seconds for one in self.trials()))

    def measured(self, number: int, seed: int) -> NDArray[np.float64] | None:
        """Return the noted metric of each query kept back, float64[Q]; None where there is none."""
        found = self._study.user_attrs.get(f"final/{number}/{seed}")
        return np.array(found["values"], np.float64) if found else None

    def note(self, number: int, seed: int, values: NDArray[np.float64], *, seconds: float) -> None:
        """Note the metric of each query kept back, float64[Q], of a trial trained with a seed."""
        told = {"values": values.round(6).tolist(), "seconds": round(seconds, 3)}
        self._study.set_user_attr(f"final/{number}/{seed}", told)

    def finals(self) -> list[Final]:
        """Return the recipes measured with the same seeds as the given one, which comes first."""
        found: dict[int, dict[int, NDArray[np.float64]]] = {}
        for name in self._study.user_attrs:
            if name.startswith("final/"):
                number, seed = map(int, name.split("/")[1:])
                found.setdefault(number, {})[seed] = np.array(self._study.user_attrs[name]["values"])
        given = found.pop(GIVEN, {})
        known = {number: one for number, one in found.items() if given and one.keys() == given.keys()}
        finals = [_final(number, one, given, len(known)) for number, one in known.items()]
        finals.sort(key=lambda one: -(one.gain.value if one.gain else 0.0))
        return [Final(GIVEN, _means(given)), *finals] if given else []

    def _finished(self) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        return self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _open(file: Path) -> Study:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    # Its own lines would stand between ours.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=JUDGED_FROM, n_warmup_steps=0)
    return optuna.create_study(
        storage=storage, study_name=NAME, direction="maximize", load_if_exists=True, pruner=pruner
    )


def _sampler(seed: int) -> Any:  # noqa: ANN401  a type of Optuna
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=AT_RANDOM, multivariate=True)


def _suggested(trial: Trial, one: Dimension) -> Any:  # noqa: ANN401  a value of a recipe may be anything
    if one.values:
        return trial.suggest_categorical(one.key, one.values)
    if one.whole:
        return trial.suggest_int(one.key, int(one.low), int(one.high), log=one.log)
    value = trial.suggest_float(one.key, one.low, one.high, log=one.log)
    return value if value == one.own else rounded(value)


def _read(trial: FrozenTrial) -> Found:
    about = trial.user_attrs
    stages = tuple(value for _, value in sorted(trial.intermediate_values.items()))
    value = None if about["state"] == "failed" else trial.value
    return Found(
        about["number"], about["changes"], value, about["state"], stages, about["seconds"], about.get("why", "")
    )


def _final(
    number: int, own: Mapping[int, NDArray[np.float64]], given: Mapping[int, NDArray[np.float64]], compared: int
) -> Final:
    """Compare a recipe with the given one; of several, each has to be better by more than chance gives the best."""
    ours, theirs = (np.mean([one[seed] for seed in sorted(one)], axis=0) for one in (own, given))
    gain = paired_difference(ours, theirs, 0, 1 - (1 - LEVEL) / max(1, compared))
    won = all(own[seed].mean() > given[seed].mean() for seed in given)
    return Final(number, _means(own), gain, gain.low > 0 and won)


def _means(values: Mapping[int, NDArray[np.float64]]) -> tuple[float, ...]:
    return tuple(float(values[seed].mean()) for seed in sorted(values))
