"""What differs between two releases, and what the gate makes of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aepipe import recipe
from aepipe.errors import QueryError
from aepipe.pipeline import update
from aepipe.pipeline.gate import run_gate
from aepipe.pipeline.ingest import ingest
from aepipe.release import diff as difference
from aepipe.release.diff import Difference, Neighbours
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.support.releases import BarePlan, bare_plan, make_release, publish_rows, put_encoder

N, SHAPE = 60, (8, 8, 1)


@pytest.fixture
def release(store: Store) -> Release:
    """A release of 60 pictures, in service."""
    return Release.open(store, ref=make_release(store, n=N, shape=SHAPE))


def retrained(store: Store, seed: int) -> Release:
    """The same pictures under another encoder."""
    plan = bare_plan(store, shape=SHAPE)
    model = put_encoder(store, plan, seed=seed)
    return Release.open(store, ref=publish_rows(store, plan, ingest(store, plan.source), model))


def gated(plan: BarePlan, tmp_path: Path, **gate: object) -> BarePlan:
    """A plan with another gate."""
    table = plan.recipe.model_dump(mode="json")
    table["gate"] |= gate
    return BarePlan(recipe.parse(table, tmp_path / "x.toml"), plan.source, plan.index)


def test_a_release_does_not_differ_from_itself(release: Release) -> None:
    found = difference.compare(release, release)
    assert (len(found.before), len(found.after), found.lost, found.gained, found.flips) == (N, N, 0.0, 0.0, 0.0)
    assert (found.overlap, found.unchanged, found.interval, len(found.asked)) == (1.0, 1.0, 0.0, N)
    assert all(len(one.before[0]) == 10 and one.ids[0] not in one.before[0] for one in found.asked)


def test_rows_that_are_gone_are_counted_and_leave_gaps_among_neighbours(store: Store, release: Release) -> None:
    gone = np.arange(0, N, 4)
    less = Release.open(store, ref=update.remove(store, release, gone))
    found = difference.compare(release, less)
    assert (found.gained, found.flips) == (0.0, 0.0)
    assert found.lost == pytest.approx(0.25)
    assert difference.compare(less, release).gained == pytest.approx(0.25)
    for one in found.asked:
        lost = np.isin(one.before[0], gone).sum()
        assert one.common == pytest.approx(1 - lost / 10), "what is left are the nearest still"


def test_another_encoder_has_other_bits_and_other_neighbours(store: Store, release: Release) -> None:
    found = difference.compare(release, retrained(store, 1), asked=20)
    assert found.flips is not None
    assert 0.1 < found.flips < 0.9
    assert found.overlap < 1
    assert found.mixed is not None
    assert found.mixed < found.overlap, "old codes say nothing to a new encoder"
    assert difference.compare(release, release, asked=20).mixed == 1
    assert len(found.asked) == 20
    with pytest.raises(QueryError):
        difference.compare(release, release, k=0)


def test_the_gate_says_how_many_neighbours_are_the_same_and_can_refuse(
    store: Store, release: Release, tmp_path: Path
) -> None:
    other, plan = retrained(store, 1), bare_plan(store, shape=SHAPE)
    overlap = difference.compare(release, other).overlap
    mild = run_gate(store, gated(plan, tmp_path, max_regression=1.0, warn_below_itq=False), other.ref)  # type: ignore[arg-type]
    assert mild.passed
    assert any(f"{overlap:.1%} of the 10 nearest of 60 rows are still the same" in one for one in mild.reasons)
    strict = gated(plan, tmp_path, max_regression=1.0, min_overlap=0.99, warn_below_itq=False)
    verdict = run_gate(store, strict, other.ref)  # type: ignore[arg-type]
    assert not verdict.passed
    assert "min_overlap asks for 99.0%" in verdict.reasons[0]


def test_where_rows_have_changed_both_are_asked_the_same_queries(
    store: Store, release: Release, tmp_path: Path
) -> None:
    less = Release.open(store, ref=update.remove(store, release, np.array([0, 13])))
    lenient = gated(bare_plan(store, shape=SHAPE), tmp_path, max_regression=1.0, metric="p_at_100")
    reasons = "; ".join(run_gate(store, lenient, less.ref).reasons)  # type: ignore[arg-type]
    assert "queries p_at_100 is" in reasons
    same = "; ".join(run_gate(store, lenient, release.ref).reasons)  # type: ignore[arg-type]
    assert "of the same" not in same, "the same rows were asked anyway"


def test_canaries_can_refuse(store: Store, release: Release, tmp_path: Path) -> None:
    key = release.describe([0])[0].key
    file = tmp_path / "canaries.toml"
    plan = gated(bare_plan(store, shape=SHAPE), tmp_path, max_regression=1.0, canaries=str(file))
    file.write_text(f'[[canary]]\nkey = "{key}"\nhits = ["nothing"]\n')
    verdict = run_gate(store, plan, release.ref)  # type: ignore[arg-type]
    assert not verdict.passed
    (reason,) = verdict.reasons
    assert reason.startswith(f"canary key {key}: 0 found, wanted 1 of nothing within the first 10; ")
    file.write_text(f'[[canary]]\nkey = "{key}"\nlabel = "class0"\n')
    verdict = run_gate(store, plan, release.ref)  # type: ignore[arg-type]
    assert "all 1 canaries found what they should" in verdict.reasons


def neighbours(key: str, common: float) -> Neighbours:
    nothing = np.zeros(0, np.int64), np.zeros(0, np.uint16)
    return Neighbours(key, (0, 0), nothing, nothing, common)


def with_shares(*common: float) -> Difference:
    asked = tuple(neighbours("dacb"[place % 4], one) for place, one in enumerate(common))
    sides: Any = [SimpleNamespace(fingerprint=one) for one in ("f", "g")]
    return Difference(sides[0], sides[1], asked, 0.0, 0.0, None, None, 10)


def test_shares_of_neighbours_that_both_have() -> None:
    found = with_shares(1.0, 0.4, 0.4, 1.0)
    assert found.overlap == pytest.approx(0.7)
    assert found.unchanged == 0.5
    assert found.interval == pytest.approx(1.96 * 0.3 / 2)
    assert [one.key for one in found.most_changed(3)] == ["a", "c", "b"]
    assert [one.common for one in found.most_changed(3)] == [0.4, 0.4, 1.0]
    assert not found.same_encoder
    nothing = with_shares()
    assert (nothing.overlap, nothing.unchanged, nothing.interval, nothing.most_changed(3)) == (1.0, 1.0, 0.0, [])


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [("abcd", "abxy", 0.5), ("ab", "abcd", 0.5), ("abcd", "ab", 0.5), ("", "", 0.0), ("a", "", 0.0), ("ab", "ba", 1.0)],
)
def test_a_share_is_of_the_longer_list(one: str, other: str, common: float) -> None:
    assert difference._common(set(one), set(other)) == common
