"""The gate: a new release goes into service only if its bits are healthy and it is measurably no worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from aepipe.evaluate.scores import OURS, Estimate, Scores

LABELLED, LABEL_FREE = "map_at_1000", "recall_at_10"
SIZE_CHANGE = 0.10
"""A database that grew or shrank by more than this share is said beside the comparison."""

ItqRule: TypeAlias = Literal["warn", "forbid", "ignore"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer.

    Attributes:
        passed: whether the new release may go into service.
        reasons: why or why not, readable sentences with numbers, never empty.
        warnings: what does not decide, but should be read.
    """

    passed: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: whether it lets the release pass, and the sentences about it."""

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
        n_queries: how many.
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

    A first release passes if its bits are healthy. A later one also needs new >= old - max_regression on the metric;
    where the metric was not measured for both, ``map_at_1000`` decides, else ``recall_at_10``, and a warning says so.

    Args:
        new: scores of the new release.
        old: scores of the release in service; None for the first.
        metric: a name of :data:`aepipe.evaluate.retrieval.METRICS`.
        max_regression: how much less is still accepted, in units of the metric (0..1).
        itq: what a loss against ITQ at the same bits is: a warning, a failure (``forbid``), or nothing.
        pair: where the scores were measured with other queries, both measured again with the same.
        further: what else was looked at.
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
    """Return the metric that decides, None where the two have none in common, and a warning if it is another one."""
    lacking = [who for who, scores in (("new", new), ("old", old)) if scores and scores.metric(metric) is None]
    if not lacking:
        return metric, []
    for other in (LABELLED, LABEL_FREE):
        if all(scores.metric(other) for scores in (new, old) if scores):
            return other, [
                f"{metric} was not measured for the {' and the '.join(lacking)} release: {other} is compared"
            ]
    return None, []


def _health(new: Scores) -> Finding:
    """Look at the bits."""
    health = new.health
    if not health.healthy:
        return Finding(False, tuple(f"the bits are not healthy: {reason}" for reason in health.reasons))
    live = f"{health.n_bits - len(health.dead_bits)} of {health.n_bits} bits are live"
    entropy, unique = (f"mean entropy {health.entropy:.3f}", f"{health.unique_share:.1%} of the codes are distinct")
    return Finding(True, (f"the bits are healthy: {live}, {entropy}, {unique}",))


def _against_old(new: Scores, old: Scores | None, metric: str | None, max_regression: float) -> Finding:
    """Compare with the release in service."""
    if old is None:
        return Finding(True, ("it is the first release: there is none in service to compare with",))
    ours, theirs = (scores.metric(metric) if metric else None for scores in (new, old))
    if ours is None or theirs is None:
        return Finding(False, ("it cannot be compared with the release in service: no metric was measured for both",))
    # The margin forgives rounding only; a NaN compares false and so never passes.
    passed = ours.value >= theirs.value - max_regression - 1e-12
    change = f"{metric} is {ours.value:.4f}, the release in service has {theirs.value:.4f}"
    allowed = f"{ours.value - theirs.value:+.4f} is {'within' if passed else 'beyond'} the {max_regression:.4f} allowed"
    return Finding(passed, (f"{change}: {allowed}",), tuple(_differences(new, old)))


def _paired(pair: Pair, max_regression: float) -> Finding:
    """Compare with the release in service, asked the same."""
    loss, low, high = pair.difference.value, pair.difference.low, pair.difference.high
    passed = loss >= -max_regression - 1e-12
    asked = f"of the same {pair.n_queries:,} queries {pair.metric} is {pair.new:.4f}, {pair.old:.4f} in service"
    allowed = f"{'within' if passed else 'beyond'} the {max_regression:.4f} allowed"
    return Finding(passed, (f"{asked}: {loss:+.4f} ({low:+.4f} to {high:+.4f}) is {allowed}",))


def _differences(new: Scores, old: Scores) -> list[str]:
    """Say where the two protocols differ."""
    ours, theirs = new.protocol, old.protocol
    said = []
    if ours.n_bits != theirs.n_bits:
        said.append(f"the new codes have {ours.n_bits} bits, the old {theirs.n_bits}: longer codes score higher")
    if ours.labelled != theirs.labelled:
        said.append(f"only the {'new' if ours.labelled else 'old'} release was measured with labels")
    if abs(ours.n_database - theirs.n_database) > SIZE_CHANGE * theirs.n_database:
        said.append(f"the new database has {ours.n_database:,} rows, the old {theirs.n_database:,}")
    if ours.n_queries != theirs.n_queries:
        said.append(f"{ours.n_queries:,} queries were asked of the new release, {theirs.n_queries:,} of the old")
    return said


def _against_itq(new: Scores, metric: str | None, rule: ItqRule) -> Finding:
    """Compare with ITQ at the same bits."""
    if rule == "ignore" or metric is None:
        return Finding(True)
    ours, theirs = new.metric(metric, OURS), new.metric(metric, "itq")
    if ours is None or theirs is None:
        why = "; ".join(new.notes) or f"{metric} was not measured for both"
        return Finding(True, (), (f"not compared with ITQ: {why}",))
    if ours.value < theirs.value:
        loss = f"{metric} is {ours.value:.4f}, {theirs.value - ours.value:.4f} below ITQ's {theirs.value:.4f}"
        said = (f"{loss} at {new.protocol.n_bits} bits",)
        return Finding(False, said) if rule == "forbid" else Finding(True, (), said)
    gain = f"{metric} is {ours.value:.4f}, ITQ at {new.protocol.n_bits} bits has {theirs.value:.4f}"
    if ours.low > theirs.value:
        return Finding(True, (gain,))
    return Finding(True, (gain,), (f"{gain}: within the interval of {ours.low:.4f} to {ours.high:.4f}",))
