"""Approximate kinds: how cells and graphs are made of the options, what recall means, and what auto chooses."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import cost_model
from aepipe.index.kinds import auto, flat, hnsw, ivf, multihash
from aepipe.index.postings import group
from aepipe.index.scan import Scan, swig
from tests.index.test_kinds import near_codes

OFFSETS = np.arange(2000)


def random_codes(count: int, n_bits: int = 64) -> Scan:
    packed = np.random.default_rng(0).integers(0, 256, (count, n_bits // 8), np.uint8)
    return Scan.of(BitCodes(packed, n_bits))


@pytest.mark.parametrize(("codes", "cells"), [(0, 0), (1, 4), (100, 40), (101, 40), (10_000, 400)])
def test_there_are_four_cells_for_each_root_of_codes(codes: int, cells: int) -> None:
    assert ivf.usual_cells(codes) == cells


@pytest.mark.parametrize(("codes", "asked", "cells"), [(1, 0, 1), (2, 0, 2), (60, 0, 31), (60, 7, 7), (30, 31, 30)])
def test_codes_are_split_into_cells(codes: int, asked: int, cells: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Few codes for each cell are no reason for a warning."""
    engine = ivf.build(random_codes(codes), OFFSETS, cells=asked, probes=5)
    assert isinstance(engine, ivf.Ivf)
    assert (engine.cells.nlist, engine.cells.ntotal, engine.cells.own_fields) == (cells, codes, True)
    assert (engine.probes, engine.options, engine.kind) == (5, {"cells": asked, "probes": 5}, "ivf")
    assert "".join(capfd.readouterr()) == ""
    usual = ivf.build(random_codes(codes), OFFSETS)
    assert usual.options == {"cells": 0, "probes": 32}


def test_no_more_cells_than_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ivf, "MOST_CELLS", 9)
    engine = ivf.build(random_codes(300), OFFSETS)
    assert isinstance(engine, ivf.Ivf)
    assert engine.cells.nlist == 9


def test_cells_are_fitted_to_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many codes for each cell, each once, in the order of the codes."""
    codes, seen = random_codes(38), []
    assert ivf.FIT_CODES_PER_CELL == 64
    monkeypatch.setattr(ivf, "FIT_CODES_PER_CELL", 8)

    class Watched(swig.IndexBinaryIVF):  # type: ignore[misc]
        def train(self, packed: np.ndarray) -> None:
            seen.append(packed.copy())
            super().train(packed)

    monkeypatch.setattr(swig, "IndexBinaryIVF", Watched)
    for cells, count in ((2, 16), (4, 32), (5, 38)):
        ivf.build(codes, OFFSETS, cells=cells)
        places = [int(np.flatnonzero((codes.packed == one).all(axis=1))[0]) for one in seen[-1]]
        assert len(places) == count
        assert places == sorted(set(places))
    ivf.build(codes, OFFSETS, cells=2)
    np.testing.assert_array_equal(seen[-1], seen[0], "the same sample each time")


def test_the_cost_of_cells_is_that_of_their_centres_and_their_codes() -> None:
    each = 1.0 + 0.0125 * 8
    assert ivf.cost(64, 10_000, cells=400, share=0.1) == pytest.approx(400 * each + 1.5 * 0.1 * 10_000 * each)


def test_recall_counts_hits_that_are_no_farther_than_the_true_ones() -> None:
    engine = ivf.build(random_codes(300), OFFSETS, cells=20)
    assert isinstance(engine, ivf.Ivf)
    places = np.arange(0, 300, 7)
    found = dict(ivf.recalls(engine, places, (1, 4, 19, 20, 21)))
    assert list(found) == [1, 4, 19], "all cells are no approximation"
    asked = engine.packed[places] ^ np.array([0x80] + [0] * 7, np.uint8)
    far = np.sort(np.bitwise_count(engine.packed[None] ^ asked[:, None]).sum(axis=2), axis=1)
    for probes, recall in found.items():
        hits = ivf.Ivf(engine, engine.cells, {"probes": probes}).nearest(asked, 10)
        by_hand = np.mean([hits.distances[hits.query == q] <= far[q, 9] for q in range(len(asked))])
        assert recall == pytest.approx(by_hand)
    assert found[1] < found[4] < found[19] <= 1
    (few,) = ivf.recalls(ivf.build(random_codes(4), OFFSETS, cells=3), np.arange(4), [2])  # type: ignore[arg-type]
    assert few == (2, 1.0)


@pytest.mark.parametrize(("links", "effort"), [(16, 100), (5, 33)])
def test_a_graph_is_built_as_the_options_say(links: int, effort: int) -> None:
    engine = hnsw.build(random_codes(300), OFFSETS, links=links, effort=effort, breadth=7)
    assert isinstance(engine, hnsw.Hnsw)
    graph = engine.graph
    assert (graph.hnsw.nb_neighbors(0), graph.hnsw.nb_neighbors(1)) == (2 * links, links)
    assert (graph.hnsw.efConstruction, graph.ntotal, engine.breadth) == (effort, 300, 7)
    assert engine.options == {"links": links, "effort": effort, "breadth": 7}
    assert hnsw.build(random_codes(3), OFFSETS).options == {"links": 16, "effort": 100, "breadth": 128}


@pytest.mark.parametrize(("k", "breadth"), [(3, 50), (50, 50), (51, 51), (400, 300)])
def test_a_graph_is_searched_at_least_as_broadly_as_hits_are_wanted(
    k: int, breadth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, seen = hnsw.build(random_codes(300), OFFSETS, breadth=50), []
    plain = swig.SearchParametersHNSW

    def watched(**given: int) -> Any:
        seen.append(given)
        return plain(**given)

    monkeypatch.setattr(swig, "SearchParametersHNSW", watched)
    found = engine.nearest(engine.packed[:3], k)
    assert seen == [{"efSearch": breadth}]
    assert np.bincount(found.query).tolist() == [min(k, 300)] * 3


@pytest.mark.parametrize("module", [hnsw, ivf])
def test_no_queries_have_no_answers_and_no_codes_are_scanned(module: Any) -> None:
    assert len(module.build(random_codes(30), OFFSETS).nearest(np.zeros((0, 8), np.uint8), 3)) == 0
    empty = random_codes(0)
    assert module.build(empty, OFFSETS) is empty
    assert flat.build(empty, OFFSETS) is empty


@pytest.mark.parametrize("module", [hnsw, ivf])
@pytest.mark.parametrize("other", [random_codes(31), random_codes(30, 32)], ids=["count", "length"])
def test_files_of_other_codes_are_refused(module: Any, other: Scan, tmp_path: Path) -> None:
    codes = random_codes(30)
    module.build(codes, OFFSETS).save(tmp_path)
    options = {"probes": 3, "breadth": 4}
    opened = module.open(tmp_path, codes, OFFSETS, options)
    assert opened.options == options
    with pytest.raises(ValueError, match=f"{module.FILE} does not belong to these codes"):
        module.open(tmp_path, other, OFFSETS, options)
    (tmp_path / module.FILE).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        module.open(tmp_path, codes, OFFSETS, options)
    assert caught.value.filename == str(tmp_path / module.FILE)


def test_no_index_is_saved_as_auto(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no index is saved as auto"):
        auto.open(tmp_path, random_codes(3), OFFSETS, {})


@pytest.mark.parametrize(("worth", "kind"), [(0.999, "multihash"), (1.0, "flat"), (1.001, "flat")])
def test_auto_takes_look_ups_where_they_cost_less_than_a_share_of_a_scan(
    worth: float, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, postings = group(near_codes(np.random.default_rng(1), 90, 64), np.arange(90))
    reach = multihash.looked_at(codes, postings.offsets)
    assert reach is not None
    monkeypatch.setattr(auto, "scan_cost", lambda n_bits, n_codes: 1000.0 * (n_bits == 64) * (n_codes == len(codes)))
    monkeypatch.setattr(cost_model.Reach, "cost", lambda _, k, *of: 700 * worth * (k == 10) * (of == (64, len(codes))))
    built = auto.build(codes, postings.offsets)
    assert built.kind == kind
    assert built.options == ({} if kind == "flat" else {"substrings": 0})
    if isinstance(built, multihash.MultiHash):
        assert built.tables.n_parts == reach.n_parts


@pytest.mark.parametrize("recall", [0.3, 0.8, 0.97])
def test_auto_takes_the_fewest_probes_that_reach_the_recall(recall: float, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = random_codes(150)
    monkeypatch.setattr(auto, "scan_cost", lambda *_: 1e9)
    monkeypatch.setattr(multihash, "looked_at", lambda *_: None)
    built = auto.build(codes, OFFSETS, recall=recall)
    assert isinstance(built, ivf.Ivf)
    places = np.sort(np.random.default_rng(0).choice(150, 150, replace=False))
    tried = dict(ivf.recalls(built, places, (1 << power for power in itertools.count())))
    assert built.probes == min(probes for probes, found in tried.items() if found >= recall)
    assert built.options == {"cells": 0, "probes": built.probes}
    monkeypatch.setattr(auto, "scan_cost", lambda *_: 1.0)
    assert auto.build(codes, OFFSETS, recall=recall).kind == "flat", "a scan is cheaper"


@pytest.mark.parametrize(
    ("count", "n_bits", "measured"), [(1, 8, 0), (2, 8, 1), (2, (1 << 16) - 8, 1), (2, 1 << 16, 0)]
)
def test_very_few_and_very_long_codes_are_scanned(
    count: int, n_bits: int, measured: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distances of the longest ones do not fit into 16 bits."""
    asked: list[int] = []
    monkeypatch.setattr(multihash, "measure", lambda *_, n_parts: asked.append(n_parts))
    codes = Scan.of(BitCodes(np.zeros((count, n_bits // 8), np.uint8), n_bits))
    multihash.looked_at(codes, np.arange(count + 1), substrings=2)
    assert asked == [2] * measured


def test_there_are_no_more_substrings_than_bits() -> None:
    codes = Scan.of(BitCodes(np.arange(30, dtype=np.uint8)[:, None], 8))
    reach = multihash.looked_at(codes, np.arange(31), substrings=60)
    assert reach is not None
    assert reach.n_parts == 8
    built = multihash.build(codes, np.arange(31), substrings=3)
    assert isinstance(built, multihash.MultiHash)
    assert (built.tables.n_parts, built.options) == (3, {"substrings": 3})
    usual = multihash.build(codes, np.arange(31))
    assert usual.options == {"substrings": 0}
