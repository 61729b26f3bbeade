"""Rule of the gate: healthy bits, and scores no worse than in service beyond chance.

:mod:`aepipe.pipeline.gate` runs it on a release, with further findings: canaries, and neighbours that must stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from aepipe.evaluate.scores import OURS, Estimate, Scores
from aepipe.evaluate.walks import WALK_MAP

LABELLED, LABEL_FREE = "map_at_1000", "recall_at_10"
KEPT = 0.5
"""Share of ITQ's recall of float neighbours below which trained bits are worse, where there are no labels to tell.

Trained bits keep classes together rather than single neighbours, so ``walk_map`` decides without labels; but bits that
lost most of the neighbours are not released. Where trained bits have a higher mAP, they have two thirds or more of
ITQ's recall (``python -m benchmarks.quality.criterion``); on the table adult, where it is lower, a third.
"""
SIZE_CHANGE = 0.10
"""A change of the database's size by more than this share is a warning."""

ItqRule: TypeAlias = Literal["refuse", "warn", "forbid", "ignore"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision of the gate.

    Attributes:
        passed: whether the new release may go into service.
        reasons: sentences with numbers on why or why not; never empty.
        warnings: sentences that do not decide, but should be read.
    """

    passed: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: whether the release passes it, and sentences about it."""

    passed: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A metric of the new and the old release over the same queries.

    Attributes:
        metric: its name.
        new, old: means over the queries.
        difference: new - old, with its interval.
        n_queries: number of queries.
    """

    metric: str
    new: float
    old: float
    difference: Estimate
    n_queries: int


def judge(
    new: Scores,
    old: Scores | None,
    *,
    metric: str,
    max_regression: float,
    itq: ItqRule,
    pair: Pair | None = None,
    further: Sequence[Finding] = (),
) -> Verdict:
    """Judge a new release against the one in service.

    A first release passes if its bits are healthy. A later one fails where it is worse by more than the allowance
    beyond chance: where all of the interval of new - old lies below -max_regression. A loss that may be chance passes,
    with a warning that there are too few queries to tell. Where the metric was not measured for both, ``map_at_1000``
    decides, else ``walk_map``, else ``recall_at_10``, with a warning.

    Args:
        new: scores of the new release.
        old: scores of the release in service; None for the first.
        metric: a name of :data:`aepipe.evaluate.retrieval.METRICS`.
        max_regression: the largest accepted loss, in units of the metric (0..1).
        itq: the consequence of a loss against ITQ at the same bits: ``refuse`` fails where it is larger than its
            interval (of recall of float neighbours: where it is below the share :data:`KEPT` of ITQ's), ``forbid``
            fails for every loss, ``warn`` for none, ``ignore`` does not look. Without labels, ``walk_map`` is compared.
        pair: both releases measured with the same queries; None where the scores are from the same queries anyway.
        further: results of other checks.
    """
    chosen, fallback = _choose(metric, new, old)
    against = _paired(pair, max_regression) if pair else _against_old(new, old, chosen, max_regression)
    findings = [_health(new), against, _against_itq(new, chosen, itq), *further]
    failed = [finding for finding in findings if not finding.passed]
    reasons = [reason for finding in failed or findings for reason in finding.reasons]
    warnings = [*fallback, *new.health.remarks]
    warnings += [warning for finding in findings for warning in finding.warnings]
    return Verdict(not failed, tuple(reasons), tuple(warnings))


def _choose(metric: str, new: Scores, old: Scores | None) -> tuple[str | None, list[str]]:
    """Return the metric that decides, or None, and a warning if it is a substitute."""
    lacking = [who for who, scores in (("new", new), ("old", old)) if scores and scores.metric(metric) is None]
    if not lacking:
        return metric, []
    for other in (LABELLED, WALK_MAP, LABEL_FREE):
        if all(scores.metric(other) for scores in (new, old) if scores):
            return other, [
                f"{metric} was not measured for the {' and the '.join(lacking)} release: {other} is compared instead"
            ]
    return None, []


def _health(new: Scores) -> Finding:
    health = new.health
    if not health.healthy:
        return Finding(False, tuple(f"the bits are not healthy: {reason}" for reason in health.reasons))
    live = f"{health.n_bits - len(health.dead_bits)} of {health.n_bits} bits are live"
    entropy, unique = (f"mean entropy {health.entropy:.3f}", f"{health.unique_share:.1%} of the codes are distinct")
    return Finding(True, (f"the bits are healthy: {live}, {entropy}, {unique}",))


def _against_old(new: Scores, old: Scores | None, metric: str | None, max_regression: float) -> Finding:
    """Compare the scores with those of the release in service."""
    if old is None:
        return Finding(True, ("it is the first release: there is none in service to compare with",))
    ours, theirs = (scores.metric(metric) if metric else None for scores in (new, old))
    if ours is None or theirs is None:
        return Finding(False, ("it cannot be compared with the release in service: no metric was measured for both",))
    change = f"{metric} is {ours.value:.4f}, the release in service has {theirs.value:.4f}"
    found = _within(change, between(ours, theirs), max_regression, min(new.protocol.n_queries, old.protocol.n_queries))
    return replace(found, warnings=(*found.warnings, *_differences(new, old)))


def _paired(pair: Pair, max_regression: float) -> Finding:
    """Compare with the release in service on the same queries."""
    asked = f"on the same {pair.n_queries:,} queries {pair.metric} is {pair.new:.4f}, {pair.old:.4f} in service"
    return _within(asked, pair.difference, max_regression, pair.n_queries)


def between(new: Estimate, old: Estimate) -> Estimate:
    """Return new - old with an interval, from the intervals of both.

    Queries that both answered differ less than that, so a release is rather let pass than refused.
    """
    change = new.value - old.value
    down = math.hypot(new.value - new.low, old.high - old.value)
    up = math.hypot(new.high - new.value, old.value - old.low)
    return Estimate(change, change - down, change + up)


def _within(said: str, change: Estimate, max_regression: float, n_queries: int) -> Finding:
    """Say whether a change is within the allowance, beyond it, or whether there are too few queries to tell."""
    # The margin forgives rounding only. A NaN compares as false, so it never passes.
    least = -max_regression - 1e-12
    shown = f"{said}: {change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})"
    if change.value >= 0:
        return Finding(True, (f"{shown} is no loss",))
    if change.value >= least:
        return Finding(True, (f"{shown} is within the {max_regression:.4f} allowed",))
    if change.high >= least:
        unsure = (
            f"{shown} may be chance: {n_queries:,} queries are too few to tell it from the {max_regression:.4f} allowed"
        )
        return Finding(True, (unsure,), (unsure,))
    return Finding(False, (f"{shown} is beyond the {max_regression:.4f} allowed",))


def _differences(new: Scores, old: Scores) -> list[str]:
    """List the differences of the two protocols, as warnings."""
    ours, theirs = new.protocol, old.protocol
    found = []
    if ours.n_bits != theirs.n_bits:
        found.append(f"the new codes have {ours.n_bits} bits, the old {theirs.n_bits}: longer codes score higher")
    if ours.labelled != theirs.labelled:
        found.append(f"only the {'new' if ours.labelled else 'old'} release was measured with labels")
    if abs(ours.n_database - theirs.n_database) > SIZE_CHANGE * theirs.n_database:
        found.append(f"the new database has {ours.n_database:,} rows, the old {theirs.n_database:,}")
    if ours.n_queries != theirs.n_queries:
        found.append(f"{ours.n_queries:,} queries were asked of the new release, {theirs.n_queries:,} of the old")
    return found


def _against_itq(new: Scores, metric: str | None, rule: ItqRule) -> Finding:
    """Compare the scores with those of ITQ at the same bits."""
    if rule == "ignore" or metric is None:
        return Finding(True)
    if decides_without_labels(new):
        lost = _lost_neighbours(new, rule)
        if lost is not None:
            return lost
        metric = WALK_MAP
    ours, theirs = new.metric(metric, OURS), new.metric(metric, "itq")
    if ours is None or theirs is None:
        why = "; ".join(new.notes) or f"{metric} was not measured for both"
        return Finding(True, (), (f"not compared with ITQ: {why}",))
    if ours.value < theirs.value:
        return _below_itq(metric, ours, theirs, new.protocol.n_bits, rule)
    gain = f"{metric} is {ours.value:.4f}, ITQ at {new.protocol.n_bits} bits has {theirs.value:.4f}"
    if ours.low > theirs.value:
        return Finding(True, (gain,))
    return Finding(True, (gain,), (f"{gain}: within the interval of {ours.low:.4f} to {ours.high:.4f}",))


def decides_without_labels(scores: Scores) -> bool:
    """Say whether walks decide between trained bits and those of ITQ, as labels are missing."""
    measured = all(scores.metric(WALK_MAP, system) is not None for system in (OURS, "itq"))
    return measured and not scores.protocol.labelled


def _lost_neighbours(new: Scores, rule: ItqRule) -> Finding | None:
    """Refuse bits that keep less than the share :data:`KEPT` of the neighbours that those of ITQ keep."""
    ours, theirs = new.metric(LABEL_FREE, OURS), new.metric(LABEL_FREE, "itq")
    if rule != "refuse" or ours is None or theirs is None:
        return None
    found = _below_itq(LABEL_FREE, ours, theirs, new.protocol.n_bits, rule)
    return None if found.passed else found


def _below_itq(metric: str, ours: Estimate, theirs: Estimate, n_bits: int, rule: ItqRule) -> Finding:
    """Refuse or warn of codes that are worse than those of ITQ."""
    change = between(ours, theirs)
    said = f"{metric} is {ours.value:.4f}, {-change.value:.4f} below ITQ's {theirs.value:.4f} at {n_bits} bits"
    said += f" ({change.low:+.4f} to {change.high:+.4f})"
    share = KEPT if metric == LABEL_FREE else 1.0
    wanted = Estimate(share * theirs.value, share * theirs.low, share * theirs.high)
    if rule == "forbid" or (rule == "refuse" and between(ours, wanted).high < 0):
        return Finding(False, (f'{said}; `[code] fallback = "itq"` in the recipe releases the codes of ITQ instead',))
    return Finding(True, (), (said,))
