"""What differs between two releases, and what the gate makes of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aepipe import recipe
from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import QueryError
from aepipe.index.hits import Hits
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


class Small:
    """A release of a few rows by key, each with a code."""

    def __init__(self, keys: str, bits: Any, first: int, fingerprint: str = "f") -> None:
        self.keys, self.bits, self.ids = list(keys), np.asarray(bits), np.arange(first, first + 2 * len(keys), 2)
        self.n_bits, self.fingerprint = self.bits.shape[1], fingerprint
        own = dict(zip(self.ids.tolist(), self.keys, strict=True))
        self.items = SimpleNamespace(
            ids=self.ids,
            find=lambda key: self.ids[self.keys.index(key)] if key in self.keys else None,
            texts=lambda name, ids: [own[int(one)] for one in ids] if name == "key" else [],
        )

    def codes_of(self, ids: Any) -> BitCodes:
        return BitCodes.from_bits(self.bits[np.searchsorted(self.ids, ids)], self.fingerprint)

    def query(self, codes: BitCodes, k: int) -> Hits:
        assert codes.fingerprint == self.fingerprint
        far = codes.distances(self.codes_of(self.ids))
        order = np.argsort(far, axis=1, kind="stable")[:, :k]
        return Hits(self.ids[order], np.take_along_axis(far, order, 1), np.full(len(codes), order.shape[1]))

    def near(self, bits: Any, left_out: str, k: int) -> list[str]:
        far = (self.bits != bits).sum(axis=1)
        return [self.keys[one] for one in np.argsort(far, kind="stable") if self.keys[one] != left_out][:k]


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("asked", [5, 100])
def test_a_comparison_is_that_of_plain_lists(k: int, asked: int) -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (9, 16))
    before: Any = Small("abcdefghi", bits, 10)
    after: Any = Small("xbcdyefz", bits[[0, 1, 2, 3, 4, 4, 5, 6]] ^ (rng.random((8, 16)) < 0.2), 101, "g")
    found = difference.compare(before, after, k=k, asked=asked, seed=7)
    drawn = sorted(np.random.default_rng(7).choice(before.ids, min(asked, 9), replace=False).tolist())
    both = [key for key in (before.keys[(row - 10) // 2] for row in drawn) if key in after.keys]
    back = np.random.default_rng(7).choice(after.ids, min(asked, 8), replace=False).tolist()
    strange = [key for key in (after.keys[(row - 101) // 2] for row in back) if key not in before.keys]
    assert [one.key for one in found.asked] == both
    assert found.lost == pytest.approx(1 - len(both) / len(drawn))
    assert found.gained == pytest.approx(len(strange) / len(back))
    flips, mixed = [], []
    for one in found.asked:
        old, new = (release.bits[release.keys.index(one.key)] for release in (before, after))
        near, then = before.near(old, one.key, k), after.near(new, one.key, k)
        assert one.ids == (before.items.find(one.key), after.items.find(one.key))
        assert [before.keys[(row - 10) // 2] for row in one.before[0].tolist()] == near
        assert [after.keys[(row - 101) // 2] for row in one.after[0].tolist()] == then
        assert one.before[1].tolist() == [(before.bits[before.keys.index(key)] != old).sum() for key in near]
        assert one.after[1].tolist() == [(after.bits[after.keys.index(key)] != new).sum() for key in then]
        assert one.common == len(set(near) & set(then)) / k
        flips.append((old != new).mean())
        mixed.append(len(set(before.near(new, one.key, k)) & set(then)) / k)
    assert found.flips == pytest.approx(np.mean(flips))
    assert found.mixed == pytest.approx(np.mean(mixed))
    assert (found.before, found.after, found.k) == (before, after, k)


def test_what_cannot_be_compared_is_left_out() -> None:
    bits = np.random.default_rng(1).integers(0, 2, (4, 16))
    before: Any = Small("abcd", bits, 0)
    longer: Any = Small("abcd", np.concatenate([bits, bits], axis=1), 0)
    found = difference.compare(before, longer)
    assert (found.flips, found.mixed, found.lost, found.overlap, len(found.asked)) == (None, None, 0.0, 1.0, 4)
    strangers: Any = Small("wxyz", bits, 0)
    apart = difference.compare(before, strangers)
    assert (apart.flips, apart.mixed, apart.lost, apart.gained, apart.asked) == (None, None, 1.0, 1.0, ())
    for options in ({"k": 0}, {"asked": 0}):
        with pytest.raises(QueryError, match=r"^the (0|10) nearest of (0|1000) rows: at least one of each"):
            difference.compare(before, before, **options)
    assert len(difference.compare(before, before, k=1, asked=1).asked) == 1
