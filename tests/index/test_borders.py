"""Indexes at their borders: how much is held and asked at a time, empty parts, types, and the numbers in errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError, CorruptError, FingerprintError, QueryError
from aepipe.index import asymmetric, external_sort, hamming, postings, scan, shards
from aepipe.index.hamming import DeltaIndex, IdFilter, RowIndex, search_filtered
from aepipe.index.hits import RaggedHits
from aepipe.index.postings import checked_ids, group, place_type, ranges
from aepipe.index.scan import Scan, swig
from aepipe.store import layout
from tests.index.test_hamming import brute, few_codes, found, scrambled_ids
from tests.index.test_kinds import near_codes

CODES = few_codes(np.random.default_rng(0), 300, 24, 60)
IDS = scrambled_ids(np.random.default_rng(1), 300)
BASE = hamming.build(CODES, IDS)


def asked_of(index: RowIndex, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note how many queries, and how many codes of each, are asked of an index from now on."""
    asked: list[tuple[int, int]] = []
    plain = index.engine.nearest

    def nearest(packed: np.ndarray, k: int, threads: int = 1) -> Any:
        asked.append((len(packed), k))
        return plain(packed, k, threads)

    monkeypatch.setattr(index.engine, "nearest", nearest)
    return asked


@pytest.mark.parametrize(("held", "together"), [(1, 1), (8 * 4 - 1, 1), (8 * 4, 2), (9 * 16, 9), (10_000, 10)])
def test_as_many_queries_are_searched_as_rows_are_held(
    held: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of k codes with at most k rows each, 16 of a query for k = 4."""
    index = hamming.build(CODES, IDS)
    assert index.postings.longest > 4
    expected = BASE.search(CODES[:10], 4).ids
    monkeypatch.setattr(hamming, "ROWS_AT_ONCE", held)
    asked = asked_of(index, monkeypatch)
    hits = index.search(CODES[:10], 4)
    assert [one for one, _ in asked] == [together] * (10 // together) + [10 % together] * (10 % together > 0)
    np.testing.assert_array_equal(hits.ids, expected)
    lonely = hamming.build(BASE.codes[:2], np.arange(2))
    asked = asked_of(lonely, monkeypatch)
    lonely.search(CODES[:10], 100)
    assert asked[0][0] == max(1, min(10, held // 2)), "two codes of one row each are held of each query"


def test_no_queries_have_no_answers() -> None:
    for index in (BASE, BASE.remove(IDS[:3]), shards.build(CODES, IDS, 3), BASE.add(CODES[:1], np.array([9999]))):
        hits, ball = index.search(CODES[:0], 3), index.within(CODES[:0], 3)
        assert hits.ids.shape == hits.distances.shape == (0, 3)
        assert (len(hits), len(ball), len(ball.ids)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        (290, [(10, 2 * 5 * 300 // 290 + 5)]),
        (150, [(10, 25)]),
        (100, [(10, 35)]),
    ],
)
def test_twice_the_rows_in_which_allowed_ones_lie_are_asked_for(
    allowed: int, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hamming, "GATHERED", 1000)
    index = hamming.build(CODES, IDS)
    seen = asked_of(index, monkeypatch)
    index.search(CODES[:10], 5, IDS[:allowed])
    assert seen[0] == asked[0]
    seen.clear()
    index.remove(IDS[allowed:]).search(CODES[:10], 5)
    assert seen[0] == asked[0]


def test_four_times_as_many_rows_are_asked_for_where_too_few_were_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the queries that are still open only; and never for more rows than there are."""
    codes = BitCodes(np.arange(256, dtype=np.uint8)[:, None], 8)
    index, far = hamming.build(codes, np.arange(256)), np.flatnonzero(np.bitwise_count(np.arange(256)) > 4)
    seen = asked_of(index, monkeypatch)
    gone = np.setdiff1d(np.arange(256), far)
    hits = index.remove(gone).search(BitCodes(np.array([[255], [0]], np.uint8), 8), 3)
    first = 2 * 3 * 256 // len(far) + 3
    assert seen == [(2, first), (1, 4 * first), (1, 256)]
    for query, code in enumerate((255, 0)):
        ranked = sorted((int(np.bitwise_count(row ^ code)), int(row)) for row in far)
        assert found(hits, query) == ranked[:3]


@pytest.mark.parametrize(
    ("allowed", "cost", "gathered"), [(128, 2, True), (128, 2.01, False), (22, 1000, True), (23, 1000, False)]
)
def test_few_allowed_rows_are_compared_alone(
    allowed: int, cost: float, gathered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where fetching them costs no more than scanning all codes, or more rows are wanted than are allowed."""
    codes = BitCodes(np.arange(256, dtype=np.uint8)[:, None], 8)
    index = hamming.build(codes, np.arange(256))
    monkeypatch.setattr(hamming, "GATHERED", cost)
    seen = asked_of(index, monkeypatch)
    hits = index.search(codes[:2], 1, np.arange(allowed))
    assert (seen == []) == gathered
    assert hits.ids[:, 0].tolist() == [0, 1]


def test_where_all_rows_are_asked_for_the_allowed_ones_are_compared_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    index = hamming.build(CODES, IDS)
    seen = asked_of(index, monkeypatch)
    allowed = IDS[:20]
    monkeypatch.setattr(hamming, "GATHERED", 1000)
    hits = index.search(CODES[:3], 15, allowed)
    assert seen == []
    for q in range(3):
        ranked = [hit for hit in brute(CODES, IDS, CODES[q : q + 1]) if hit[1] in set(allowed.tolist())]
        assert found(hits, q) == ranked[:15]


def test_a_filter_allows_some_ids_or_all_others() -> None:
    ids = np.array([5, 1, 9, 5])
    some, others = IdFilter.of(ids), IdFilter(np.array([1, 5, 9]), inverse=True)
    asked = np.array([0, 1, 2, 5, 9, 10])
    assert some.ids.tolist() == [1, 5, 9]
    assert some.allows(asked).tolist() == [False, True, False, True, True, False]
    assert others.allows(asked).tolist() == [True, False, True, False, False, True]
    assert IdFilter.of(np.array([], np.int64)).allows(asked).tolist() == [False] * 6
    assert IdFilter(np.zeros(0, np.int64), inverse=True).allows(asked).tolist() == [True] * 6
    assert IdFilter.of(ids.astype(np.uint8)).ids.dtype == np.int64
    none = search_filtered(hamming.build(CODES[:0], IDS[:0]), CODES.packed[:2], 3, some)
    assert (none.ids.tolist(), none.count.tolist()) == ([[-1] * 3] * 2, [0, 0])


@pytest.mark.parametrize("part", [4, 7, 1 << 19])
def test_ids_are_checked_in_parts(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_sort, "PART", part)
    given: list[Any] = [np.arange(12), np.arange(12)[::-1], np.array([]), np.arange(9, dtype=np.uint8)]
    for ids in given:
        assert checked_ids(ids).tolist() == ids.tolist()
        assert checked_ids(ids).dtype == np.int64
    for at in range(1, 12):  # also at the borders of parts
        twice = np.arange(12)
        twice[at] = at - 1
        with pytest.raises(QueryError, match=f"id {at - 1} is given twice"):
            checked_ids(twice)
        down = np.arange(12)
        down[at], down[at - 1] = down[at - 1], down[at]
        assert checked_ids(down).tolist() == down.tolist()
    for wrong in (np.array([1, -1]), np.array([1.0]), np.arange(4).reshape(2, 2), np.array(["1"])):
        with pytest.raises(CodeError, match=r"ids are int64\[N\], not negative"):
            checked_ids(wrong)


def test_the_place_of_a_row_has_32_bits_as_long_as_that_is_enough() -> None:
    assert place_type((1 << 32) - 1) is np.uint32
    assert place_type(1 << 32) is np.int64
    assert BASE.postings.by_id.dtype == np.uint32


def test_ranges_are_joined() -> None:
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert ranges(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


def test_rows_are_found_by_their_ids() -> None:
    asked = np.array([IDS[4], 10_000, IDS[0], -5])
    places, there = BASE.postings.places(asked)
    assert (places.dtype.name, there.tolist()) == ("int64", [True, False, True, False])
    assert BASE.postings.ids[places[there]].tolist() == [IDS[4], IDS[0]]
    codes = BASE.codes[BASE.postings.codes_at(places[there])]
    assert codes.hex() == CODES[np.array([4, 0])].hex()
    none = hamming.build(CODES[:0], IDS[:0]).postings
    places, there = none.places(asked)
    assert (places.tolist(), there.tolist(), places.dtype.name) == ([0] * 4, [False] * 4, "int64")


@pytest.mark.parametrize("few", [0, 1000])
def test_rows_that_cannot_be_among_the_first_are_left_out(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "FEW", few)
    opened: list[int] = []
    plain = RaggedHits.sort

    def sort(query: np.ndarray, distances: np.ndarray, ids: np.ndarray, queries: int) -> RaggedHits:
        opened.append(len(ids))
        return plain(query, distances, ids, queries)

    monkeypatch.setattr(RaggedHits, "sort", sort)
    engine = BASE.engine
    packed = CODES.packed[:4]
    for k in (1, 5, 40):
        opened.clear()
        hits = BASE.postings.nearest(engine.nearest(packed, k), k, 4).first(k)
        for q in range(4):
            assert found(hits, q) == brute(CODES, IDS, CODES[q : q + 1])[:k]
        codes = engine.nearest(packed, k)
        sizes = np.diff(BASE.postings.offsets)[codes.positions]
        rows = 0
        for q in range(4):
            own = codes.query == q
            far, size = codes.distances[own], np.minimum(sizes[own], k)
            rows += sum(int(n) for at, n in zip(far, size, strict=True) if few or size[far < at].sum() < k)
        assert opened == [rows]


def test_rows_out_of_their_bounds_are_damage() -> None:
    offsets, ids = BASE.postings.offsets, BASE.postings.ids
    for at, number in ((1, -1), (1, int(offsets[2]) + 1), (-1, len(ids) + 1)):
        wrong = offsets.copy()
        wrong[at] = number
        one = RowIndex(BASE.engine, postings.Postings(wrong, ids, BASE.postings.longest), "")
        with pytest.raises(CorruptError, match="rows of a code begin after they end, or after the last row"):
            one.within(BitCodes(CODES.packed[:1], 24), 24)
    last = offsets.copy()
    last[-1] = len(ids)
    RowIndex(BASE.engine, postings.Postings(last, ids, BASE.postings.longest), "").within(CODES[:1], 24)


def test_codes_and_their_rows_come_back() -> None:
    codes, ids = BASE.rows()
    assert sorted(zip(ids.tolist(), codes.hex(), strict=True)) == sorted(zip(IDS.tolist(), CODES.hex(), strict=True))
    assert (codes.fingerprint, codes.n_bits) == (CODES.fingerprint, 24)
    assert (BASE.n_codes, len(BASE.codes), BASE.codes.fingerprint) == (len(set(CODES.hex())),) * 2 + (
        CODES.fingerprint,
    )
    assert BASE.holds(np.array([IDS[0], 5000])).tolist() == [True, False]


def test_what_an_index_says_of_itself(tmp_path: Path) -> None:
    BASE.save(tmp_path)
    card = json.loads((tmp_path / layout.Index.CARD).read_text())
    sizes = card.pop("sizes")
    assert card == {
        "schema": 3,
        "kind": "flat",
        "fingerprint": CODES.fingerprint,
        "n_bits": 24,
        "options": {},
        "rows": 300,
        "codes": BASE.n_codes,
        "longest": BASE.postings.longest,
    }
    assert sizes == {path.name: path.stat().st_size for path in tmp_path.iterdir() if path.name != layout.Index.CARD}
    BASE.save(tmp_path)
    assert json.loads((tmp_path / layout.Index.CARD).read_text())["sizes"] == sizes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 301}, "do not belong together"),
        ({"codes": 3}, "do not belong together"),
        ({"n_bits": 32}, "has codes of 3 bytes"),
        ({"longest": "x"}, "invalid literal"),
        ({"fingerprint": None, "kind": "tree"}, "unknown kind 'tree'; this version has auto, flat, hnsw"),
        ({"kind": "auto"}, r"not a auto index \(no index is saved as auto\)"),
    ],
)
def test_a_card_that_does_not_fit_is_damage(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    BASE.save(tmp_path)
    file = tmp_path / layout.Index.CARD
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CorruptError, match=said):
        hamming.open(tmp_path)


def test_sizes_of_files_are_said_with_both_numbers(tmp_path: Path) -> None:
    BASE.save(tmp_path)
    file = tmp_path / layout.Index.IDS
    size = file.stat().st_size
    with file.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(CorruptError, match=f"{file.name} has {size + 1:,} bytes, not {size:,}"):
        hamming.open(tmp_path)


def test_changes_are_counted() -> None:
    changed = BASE.add(CODES[:2], np.array([5000, 5001])).remove(IDS[:3])
    assert changed.changes == {"added": 2, "removed": 3}
    assert (len(changed), changed.n_codes) == (299, BASE.n_codes + len(set(CODES[:2].hex())))
    assert DeltaIndex(BASE).changes == {"added": 0, "removed": 0}
    assert (len(DeltaIndex(BASE)), DeltaIndex(BASE).n_codes) == (300, BASE.n_codes)
    assert changed.removed.tolist() == sorted(IDS[:3].tolist())
    again = changed.remove(np.array([5000, 5001]))
    assert again.delta is None
    assert again.changes == {"added": 0, "removed": 3}
    one_left = changed.remove(np.array([5001, IDS[7]]))
    assert one_left.changes == {"added": 1, "removed": 4}
    assert one_left.holds(np.array([5000, 5001, IDS[7], IDS[8], IDS[0]])).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("present", [1, 3])
def test_errors_of_changes_name_the_smallest_id_and_count_them(present: int) -> None:
    changed = BASE.add(CODES[:3], np.array([5002, 5001, 5000])).remove(IDS[:3])
    twice = np.array([5002, 5001, 5000])[3 - present :][::-1]
    with pytest.raises(QueryError, match=rf"^id 5000 is in the index already \(of {present} such ids\); remove it"):
        changed.add(CODES[:present], twice)
    unknown = np.array([7000, 6000, 8000])[: present + 1]
    with pytest.raises(QueryError, match=rf"^id 6000 is not in the index \(of {len(unknown)} such ids\)"):
        changed.remove(np.concatenate([unknown, IDS[9:10]]))


def test_an_index_without_an_encoder_takes_that_of_the_added_codes() -> None:
    unmarked = hamming.build(BitCodes(CODES.packed[:0], 24), IDS[:0])
    grown = unmarked.add(CODES[:2], np.arange(2))
    assert grown.fingerprint == CODES.fingerprint
    assert grown.add(BitCodes(CODES.packed[:1], 24), np.array([7])).fingerprint == CODES.fingerprint
    assert grown.compact().fingerprint == CODES.fingerprint
    with pytest.raises(FingerprintError):
        grown.add(BitCodes(CODES.packed[:1], 24, "0" * 64), np.array([7]))


def test_a_condition_holds_for_added_rows_too() -> None:
    changed = BASE.add(CODES[:3], np.array([5000, 5001, 5002]))
    asked, some = BitCodes(CODES.packed[:2], 24), np.array([5001, *IDS[:9].tolist()])
    rows = BitCodes(np.concatenate([CODES.packed, CODES.packed[:3]]), 24)
    ids = np.concatenate([IDS, np.arange(5000, 5003)])
    near, ball = changed.search(asked, 4, some), changed.within(asked, 24, some)
    for q in range(2):
        allowed = [hit for hit in brute(rows, ids, asked[q : q + 1]) if hit[1] in set(some.tolist())]
        assert found(near, q) == allowed[:4]
        assert found(ball, q) == allowed


def test_compacting_keeps_the_kind_and_its_options() -> None:
    built = hamming.build(CODES[:20], IDS[:20], kind="multihash", options={"substrings": 3})
    compact = built.add(CODES[:1], np.array([5000])).compact()
    assert (compact.engine.kind, compact.engine.options) == ("multihash", {"substrings": 3})


def test_changes_are_described(tmp_path: Path) -> None:
    changed = BASE.add(CODES[:2], np.array([5000, 5001])).remove(IDS[:3])
    changed.save_changes(tmp_path)
    file = tmp_path / layout.Index.CARD
    card = json.loads(file.read_text())
    assert card == {
        "schema": 1,
        "kind": "delta",
        "fingerprint": CODES.fingerprint,
        "n_bits": 24,
        "added": 2,
        "removed": 3,
        "base_rows": 300,
    }
    for wrong in ({"kind": "flat"}, {"removed": 2}, {"base_rows": 299}):
        file.write_text(json.dumps(card | wrong))
        with pytest.raises(CorruptError, match="corrupt, not the changes of this index"):
            DeltaIndex.open(BASE, tmp_path)
    file.write_text(json.dumps(card | {"added": "x"}))
    with pytest.raises(CorruptError, match="corrupt, not the changes of an index"):
        DeltaIndex.open(BASE, tmp_path)


@pytest.fixture(scope="module")
def looked_up() -> tuple[BitCodes, RowIndex]:
    """Codes, and an index of them in which looking up is always cheaper than a scan."""
    near = near_codes(np.random.default_rng(3), 100, 24)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aepipe.index.kinds.multihash.scan_cost", lambda *_: 1e9)
        return near, hamming.build(near, IDS[:100], kind="multihash", options={"substrings": 3})


@pytest.mark.parametrize("k", [1, 4, 30])
@pytest.mark.parametrize("radius", [0, 2, 24])
def test_near_rows_are_exact_within_their_radius(looked_up: tuple[BitCodes, RowIndex], k: int, radius: int) -> None:
    """Also where nearer ones were removed; rows beyond the radius may be missing."""
    near, built = looked_up
    own = IDS[:100]
    gone = np.sort(own)[::2]
    changed = built.add(near[:5], np.arange(5000, 5005)).remove(gone)
    left = ~np.isin(own, gone)
    codes, ids = (
        BitCodes(np.concatenate([near.packed[left], near.packed[:5]]), 24),
        np.concatenate([own[left], np.arange(5000, 5005)]),
    )
    hits = changed.close(near[:9], k, radius)
    assert hits.ids.shape == (9, k)
    for q in range(9):
        within = [hit for hit in brute(codes, ids, near[q : q + 1]) if hit[0] <= radius][:k]
        assert found(hits, q)[: len(within)] == within
    with pytest.raises(QueryError, match="the 0 nearest rows: ask for at least 1"):
        changed.close(near[:1], 0, radius)


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_scores_at_the_border_of_k_have_all_that_tie(count: int) -> None:
    """Of rows with one score, those with the smallest ids are the first."""
    values = np.array([1, -2, 0.5, 0, 0, 0, 0, 0], np.float32)
    packed = np.array([[0xE0], [0xC0], [0x20], [0xE1], [0x00], [0xA0], [0xA1], [0x40]], np.uint8)
    codes, ids = BitCodes(packed, 8), np.array([9, 8, 7, 6, 5, 4, 3, 2])
    by_hand = sorted(zip((-(2 * codes.unpack().astype(float) - 1) @ values).tolist(), ids.tolist(), strict=True))
    index = hamming.build(codes, ids)
    for one in (index, shards.build(codes, ids, 3), hamming.build(codes[:3], ids[:3]).add(codes[3:], ids[3:])):
        best, scores = asymmetric.scored(one, values, count)
        assert best.tolist() == [row for _, row in by_hand[:count]]
        assert scores.tolist() == [-score for score, _ in by_hand[:count]]
        assert (best.dtype.name, scores.dtype.name) == ("int64", "float32")
        some, _ = asymmetric.scored(one, values, count, np.array([2, 3, 9]))
        assert some.tolist() == [row for _, row in by_hand if row in (2, 3, 9)][:count]
    assert asymmetric.tables(values).shape == (1, 256)
    assert asymmetric.tables(values[:3])[0, 0xE0] == pytest.approx(-0.5)


def test_files_of_a_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, _ = group(CODES, IDS)
    codes.save(tmp_path)
    mapped = Scan.map(tmp_path, 24)
    assert mapped.folder == tmp_path
    assert not mapped.packed.flags.writeable
    with pytest.raises(ValueError, match="has codes of 3 bytes"):
        Scan.map(tmp_path, 25)
    written: list[str] = []
    monkeypatch.setattr(swig, "write_index_binary", lambda _, name: written.append(name))
    mapped.save(tmp_path)
    assert written == []
    codes.save(tmp_path)
    assert written == [str(tmp_path / scan.CODES)]
    with pytest.raises(FileNotFoundError) as caught:
        Scan.map(tmp_path / "none", 24)
    assert caught.value.filename == str(tmp_path / "none" / scan.CODES)


@pytest.mark.parametrize("radius", [0, 5, 24, 25, 1000])
def test_a_ball_has_every_code_up_to_its_radius(radius: int) -> None:
    codes, _ = group(CODES, IDS)
    found_ = codes.ball(CODES.packed[:3], radius)
    far = np.bitwise_count(codes.packed[None] ^ CODES.packed[:3, None]).sum(axis=2)
    for q in range(3):
        own = found_.query == q
        expected = sorted((int(far[q, at]), int(at)) for at in np.flatnonzero(far[q] <= radius))
        assert list(zip(found_.distances[own].tolist(), found_.positions[own].tolist(), strict=True)) == expected


def test_a_sample_is_taken_from_the_whole_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "SAMPLE_PIECES", 4)
    monkeypatch.setattr(scan, "SAMPLE_SHARE", 3)
    packed = np.arange(50, dtype=np.uint8)[:, None]
    for most, size in ((1 << 19, 4), (8, 2)):
        monkeypatch.setattr(scan, "SAMPLE_MOST", most)
        sample: Any = Scan.of(BitCodes(packed, 8))._sample
        held = swig.vector_to_array(sample.xb).tolist()
        assert held == [12 * piece + one for piece in range(4) for one in range(size)]
