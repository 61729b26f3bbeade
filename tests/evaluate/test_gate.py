"""Rule of the gate: passes, failures and warnings."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.evaluate.bit_health import BitHealth, bit_health
from aepipe.evaluate.gate import KEPT, ItqRule, Pair, Verdict, between, judge
from aepipe.evaluate.scores import Estimate, Protocol, Row, Scores

HEALTHY = bit_health(BitCodes.from_bits(np.random.default_rng(0).integers(0, 2, (500, 8))))
SICK = bit_health(BitCodes.from_bits(np.zeros((500, 8))))
LABELLED = {"map_at_1000": 0.7, "recall_at_10": 0.2}


def scores(
    ours: dict[str, float],
    itq: dict[str, float] | None = None,
    health: BitHealth = HEALTHY,
    n_bits: int = 8,
    n_database: int = 500,
) -> Scores:
    """Return scores with the given metrics."""
    systems = {"ours": ours} | ({"itq": itq} if itq is not None else {})
    rows = [
        Row(name, {key: Estimate(value, value, value) for key, value in row.items()}) for name, row in systems.items()
    ]
    notes = () if itq is not None else ("ITQ takes one bit per principal axis",)
    return Scores(Protocol(n_bits, n_database, 100, "map_at_1000" in ours, 0), tuple(rows), health, notes)


def verdict(new: Scores, old: Scores | None, metric: str = "map_at_1000", itq: ItqRule = "ignore") -> Verdict:
    """Judge with an allowed loss of 0.01."""
    return judge(new, old, metric=metric, max_regression=0.01, itq=itq)


@pytest.mark.parametrize(("health", "passed"), [(HEALTHY, True), (SICK, False)])
def test_first_release(health: BitHealth, passed: bool) -> None:
    """Healthy bits are required, and enough."""
    found = verdict(scores(LABELLED, health=health), None)
    assert found.passed is passed
    assert "bits are healthy: 8 of 8" in found.reasons[0] if passed else "8 of 8 bits are dead" in found.reasons[0]
    first = "it is the first release: there is none in service to compare with"
    assert (found.reasons[1:] == (first,)) is passed


@pytest.mark.parametrize(
    ("value", "passed"), [(0.75, True), (0.70, True), (0.69, True), (0.6899, False), (float("nan"), False)]
)
def test_regression(value: float, passed: bool) -> None:
    """The allowed loss itself passes; a slightly larger one fails, and so does NaN."""
    found = verdict(scores({"map_at_1000": value, "recall_at_10": 0.2}), scores(LABELLED))
    assert found.passed is passed
    assert "the release in service has 0.7000" in found.reasons[-1]
    assert ("beyond" not in found.reasons[-1]) is passed
    assert ("is no loss" in found.reasons[-1]) is (value >= 0.7)


def test_unhealthy_bits_fail_a_better_release() -> None:
    """A collapse may raise the metric, but fails. Only the failing reasons are given."""
    found = verdict(scores({"map_at_1000": 0.9, "recall_at_10": 0.2}, health=SICK), scores(LABELLED))
    assert not found.passed
    assert all("not healthy" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("rule", "passed", "warned"),
    [("refuse", False, False), ("warn", True, True), ("forbid", False, False), ("ignore", True, False)],
)
def test_a_loss_against_itq(rule: ItqRule, passed: bool, warned: bool) -> None:
    """It is a warning, a failure, or nothing, also for the first release."""
    better = {"map_at_1000": 0.75, "recall_at_10": 0.1}
    for old in (None, scores(LABELLED)):
        found = verdict(scores(LABELLED, better), old, itq=rule)
        assert found.passed is passed
        assert any("0.0500 below ITQ's 0.7500" in said for said in found.warnings) is warned
        assert any("below ITQ" in reason for reason in found.reasons) is (rule in {"refuse", "forbid"})


def around(value: float, half: float, itq: float | None = None) -> Scores:
    """Return scores of one metric with an interval."""
    made = scores({"map_at_1000": value}, {"map_at_1000": itq} if itq is not None else None)
    wide = tuple(
        replace(row, metrics={key: Estimate(e.value, e.value - half, e.value + half) for key, e in row.metrics.items()})
        for row in made.rows
    )
    return replace(made, rows=wide)


@pytest.mark.parametrize(("half", "passed"), [(0.0, False), (0.02, False), (0.03, True), (0.2, True)])
def test_a_loss_that_may_be_chance_is_said_and_does_not_refuse(half: float, passed: bool) -> None:
    """The interval of the difference is that of both: 0.05 + 0.01 allowed against 1.41 times the half."""
    found = verdict(around(0.65, half), around(0.70, half))
    assert found.passed is passed
    said = "may be chance: 100 queries are too few to tell"
    assert any(said in one for one in found.warnings) is passed
    assert any("-0.0500 (" in one for one in found.reasons)


def test_the_interval_of_a_difference_is_that_of_both() -> None:
    """Each side is the root of the squares: what is below the new and above the old, and the other way round."""
    found = between(Estimate(0.7, 0.67, 0.78), Estimate(0.6, 0.55, 0.64))
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1 - math.hypot(0.03, 0.04))
    assert found.high == pytest.approx(0.1 + math.hypot(0.08, 0.05))


@pytest.mark.parametrize(
    ("low", "high", "passed"), [(-0.061, 0.031, True), (-0.03, -0.011, False), (-0.03, -0.01, True)]
)
def test_a_pair_refuses_only_where_its_interval_lies_below(low: float, high: float, passed: bool) -> None:
    pair = Pair("map_at_1000", 0.6855, 0.70, Estimate(-0.0145, low, high), 60)
    found = judge(
        scores(LABELLED), scores(LABELLED), metric="map_at_1000", max_regression=0.01, itq="ignore", pair=pair
    )
    assert found.passed is passed
    assert any("60 queries are too few to tell" in one for one in found.warnings) is passed
    assert found.reasons[-1].startswith("on the same 60 queries map_at_1000 is 0.6855, 0.7000 in service: -0.0145 (")


@pytest.mark.parametrize(("half", "passed"), [(0.01, False), (0.05, True)])
def test_below_itq_by_more_than_the_interval(half: float, passed: bool) -> None:
    found = verdict(around(0.70, half, itq=0.75), None, itq="refuse")
    assert found.passed is passed
    assert any('`[code] fallback = "itq"`' in one for one in found.reasons) is not passed
    assert any("0.0500 below ITQ's 0.7500 at 8 bits" in one for one in found.warnings) is passed


@pytest.mark.parametrize(("half", "warned"), [(0.05, False), (0.15, True)])
def test_a_win_within_the_interval_is_said(half: float, warned: bool) -> None:
    found = verdict(around(0.7, half, itq=0.6), None, itq="forbid")
    gain = "map_at_1000 is 0.7000, ITQ at 8 bits has 0.6000"
    assert (found.passed, found.reasons[-1]) == (True, gain)
    assert found.warnings == ((f"{gain}: within the interval of 0.5500 to 0.8500",) if warned else ())


def test_as_good_as_itq_is_no_loss() -> None:
    """Equal figures pass under forbid; where ours are all alike, the interval says that it may be chance."""
    found = verdict(scores(LABELLED, LABELLED), None, itq="forbid")
    assert found.passed
    assert "within the interval of 0.7000 to 0.7000" in found.warnings[0]


@pytest.mark.parametrize(("half", "passed"), [(0.01, False), (0.012, True)])
def test_the_kept_share_has_the_interval_of_itq(half: float, passed: bool) -> None:
    """0.012 below the kept share of 0.2: the same share of ITQ's interval joins ours."""
    found = scores({"recall_at_10": KEPT * 0.2 - 0.012}, {"recall_at_10": 0.2})
    wide = tuple(
        replace(row, metrics={"recall_at_10": Estimate(e.value, e.value - half, e.value + half)})
        for row in found.rows
        for e in row.metrics.values()
    )
    judged = verdict(replace(found, rows=wide), None, metric="recall_at_10", itq="refuse")
    assert (math.hypot(half, KEPT * half) > 0.012) is passed
    assert judged.passed is passed


@pytest.mark.parametrize(("ours", "passed"), [(0.11, True), (0.09, False)])
def test_without_labels_some_recall_may_be_lost_to_itq(ours: float, passed: bool) -> None:
    """As in the choice of a run: trained bits keep classes together rather than single neighbours."""
    found = verdict(scores({"recall_at_10": ours}, {"recall_at_10": 0.2}), None, metric="recall_at_10", itq="refuse")
    assert found.passed is passed


@pytest.mark.parametrize(("ours", "passed"), [(0.11, True), (0.09, False)])
def test_better_walks_do_not_make_up_for_lost_neighbours(ours: float, passed: bool) -> None:
    new = scores({"recall_at_10": ours, "walk_map": 0.5}, {"recall_at_10": 0.2, "walk_map": 0.4})
    assert verdict(new, None, metric="recall_at_10", itq="refuse").passed is passed


def test_a_win_over_itq_and_no_itq() -> None:
    """A win passes under forbid; without an ITQ row the warning gives the reason."""
    won = verdict(scores(LABELLED, {"map_at_1000": 0.6}), None, itq="forbid")
    assert (won.passed, won.warnings) == (True, ())
    lacking = verdict(scores(LABELLED), None, itq="forbid")
    assert lacking.passed
    assert "one bit per principal axis" in lacking.warnings[0]


def test_fallback_to_the_label_free_metric() -> None:
    """Where a release has no labels, float neighbours decide, with a warning."""
    found = verdict(scores({"recall_at_10": 0.15}), scores(LABELLED))
    assert not found.passed
    assert found.reasons[0].startswith("recall_at_10 is 0.1500")
    assert "map_at_1000 was not measured for the new release: recall_at_10 is compared" in found.warnings[0]
    assert any("only the old release was measured with labels" in said for said in found.warnings)


def test_an_unknown_metric_falls_back_to_the_labelled_one() -> None:
    """Both have labels: the labelled metric decides."""
    found = verdict(scores(LABELLED), scores(LABELLED), metric="map_at_7")
    assert found.passed
    assert "the new and the old release: map_at_1000 is compared" in found.warnings[0]


def test_no_common_metric_fails() -> None:
    """Scores that cannot be compared do not replace a release."""
    for new, old in (({"map": 0.9}, {"ball2": 0.9}), ({"map": 0.9}, {"map": 0.9}), ({}, {"map": 0.9})):
        found = verdict(scores(new), scores(old))
        assert not found.passed
        assert "cannot be compared" in found.reasons[0]


def test_different_protocols_are_warnings() -> None:
    """Another code length or database size is a warning; a few new rows are not."""
    found = verdict(scores(LABELLED, n_bits=16, n_database=900), scores(LABELLED))
    assert found.passed
    assert any("16 bits, the old 8" in said for said in found.warnings)
    assert any("900 rows, the old 500" in said for said in found.warnings)
    for few in (520, 550, 450):
        assert verdict(scores(LABELLED, n_database=few), scores(LABELLED)).warnings == ()
    fewer = scores(LABELLED)
    fewer = replace(fewer, protocol=replace(fewer.protocol, n_queries=60))
    said = "60 queries were asked of the new release, 100 of the old"
    assert verdict(fewer, scores(LABELLED)).warnings == (said,)
