"""A collection whose items have several labels, from its source to the answers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aepipe import api, recipe, sources
from aepipe.evaluate.probes import Figures
from aepipe.evaluate.relevance import relevance_of
from aepipe.evaluate.retrieval import retrieval
from aepipe.index import hamming
from aepipe.pipeline import compare
from aepipe.pipeline.encode import encode
from aepipe.pipeline.export.parquet import export
from aepipe.pipeline.gate import run_gate
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.publish import publish
from aepipe.pipeline.score import score
from aepipe.pipeline.suggest import suggest
from aepipe.release import canaries, dedup
from aepipe.release.filter import ids_where
from aepipe.release.release import Release
from aepipe.report.page import map_picture
from aepipe.report.tables import protocol_line
from aepipe.report.tiles import hits_picture, tiles
from aepipe.store import layout, registry
from aepipe.store.artifacts import Ref, Store
from aepipe.store.labels import label_sets
from aepipe.store.rows import Rows
from tests.support.releases import BarePlan, put_encoder

COUNT, SIDE = 60, 28
LABELS = ("boot", "coat", "dress", "bag")


def labels_of(number: int) -> list[str]:
    """One, two or three labels, and none for each tenth item."""
    return [] if number % 10 == 9 else [LABELS[(number + more) % 4] for more in range(1 + number % 3)]


def picture(number: int) -> bytes:
    rng = np.random.default_rng(number)
    cells = np.zeros((2, 2))
    for label in labels_of(number):
        cells.flat[LABELS.index(label)] = 200
    pixels = np.kron(cells, np.ones((14, 14))) + rng.integers(0, 55, (SIDE, SIDE))
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def plan_of(file: Path, **options: object) -> BarePlan:
    table = {
        "name": "worn",
        "source": {
            "kind": "images",
            "path": str(file),
            "image": "image",
            "label": "labels",
            "split": "split",
            **options,
        },
        "features": {"size": [SIDE, SIDE], "color": "gray"},
        "layers": [{"net": "dense"}],
        "code": {"bits": 64},
    }
    parsed = recipe.parse(table, file.with_suffix(".toml"))
    return BarePlan(parsed, sources.resolve(parsed), hamming.resolve(parsed.index.kind))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, BarePlan, Ref]:
    """A release of items with lists of labels, in service."""
    folder = tmp_path_factory.mktemp("several")
    numbers = range(COUNT)
    table = pa.table(
        {
            "image": pa.array([picture(n) for n in numbers], pa.binary()),
            "labels": pa.array([labels_of(n) for n in numbers], pa.list_(pa.string())),
            "split": ["test" if n % 4 == 3 else "train" for n in numbers],
            "price": list(numbers),
        }
    )
    pq.write_table(table, folder / "worn.parquet")
    store, plan = Store(folder / "store"), plan_of(folder / "worn.parquet")
    rows = ingest(store, plan.source)
    model = put_encoder(store, plan)
    codes = encode(store, model, rows)
    scores = score(store, plan, rows, model, [codes])  # type: ignore[arg-type]
    ref = publish(store, plan.recipe, plan.source.location, rows=rows, model=model, codes=[codes], scores=scores)
    registry.promote(store, "worn", ref, why="by a test")
    return store, plan, ref


def test_rows_keep_all_labels_and_an_unchanged_source_stands(made: tuple[Store, BarePlan, Ref]) -> None:
    store, plan, ref = made
    rows = Release.open(store, ref=ref).part("rows")
    table = Rows(store.path(rows))
    expected = [frozenset(labels_of(number)) for number in range(COUNT)]
    assert label_sets(table.labels() or []).tolist() == expected
    assert table.several_labels
    assert table.facts["labelled"] == sum(map(bool, expected))
    assert ingest(store, plan.source, previous=rows) == rows


def test_scores_and_confidence_are_of_labels_in_common(made: tuple[Store, BarePlan, Ref]) -> None:
    store, _, ref = made
    release = Release.open(store, ref=ref)
    found = release.scores
    assert found["protocol"]["labelled"]
    assert found["calibration"]["meaning"] == "shared"
    assert "a label in common is relevant" in protocol_line(found)
    # The same by hand: labelled rows of the split test ask those of train; ranks within a tie by expectation.
    asked = np.array([n for n in range(COUNT) if n % 4 == 3 and labels_of(n)])
    searched = np.array([n for n in range(COUNT) if n % 4 != 3])
    sets = label_sets("\x1f".join(labels_of(n)) or None for n in range(COUNT))
    relevance = relevance_of(sets[searched], sets[asked])
    distance = release.codes_of(asked).distances(release.codes_of(searched))
    inside = [(row <= 2).sum() for row in distance]
    hits = [(row[relevance.rows(query)] <= 2).sum() for query, row in enumerate(distance)]
    mean = np.mean([hit / max(count, 1) for hit, count in zip(hits, inside, strict=True)])
    ours = next(row for row in found["rows"] if row["system"] == "ours")
    assert ours["metrics"]["precision_r2"]["value"] == pytest.approx(mean)
    assert found["protocol"]["n_queries"] == len(asked)


def test_answers_show_every_label(made: tuple[Store, BarePlan, Ref], tmp_path: Path) -> None:
    store, _, ref = made
    collection = api.open(store.root)
    found = collection.query(ids=[2], k=3)
    row = found.hits[0].row
    assert row.label == "bag, boot, dress"
    assert row.labels == ("bag", "boot", "dress")
    wanted = [number for number in range(COUNT) if "boot" in labels_of(number)]
    assert ids_where(collection.release, "list_contains(labels, 'boot')").tolist() == wanted
    assert ids_where(collection.release, "label = 'bag, boot, dress' AND id < 5").tolist() == [2]
    canary = canaries.Canary(key="x", label="boot")
    assert canary.wanted(found.hits[0])
    assert not canaries.Canary(key="x", label="boo").wanted(found.hits[0])
    assert hits_picture([tiles(collection.release, found[0])]).size[0] > 0
    assert map_picture(collection.release, rows=30, tiles=1).svg().count("boot") >= 1
    dedup.write(collection.release, dedup.find(collection.release, 64), tmp_path / "groups.parquet")
    assert "bag, boot, dress" in pq.read_table(tmp_path / "groups.parquet").column("label").to_pylist()
    assert ref == collection.release.ref


def test_an_export_has_lists(made: tuple[Store, BarePlan, Ref], tmp_path: Path) -> None:
    store, _, ref = made
    export(store, ref, tmp_path / "out")
    table = pq.read_table(tmp_path / "out")
    assert table.schema.field("label").type == pa.list_(pa.string())
    assert table.column("label").to_pylist() == [sorted(labels_of(number)) or None for number in range(COUNT)]


def test_the_gate_asks_both_releases_by_labels_in_common(made: tuple[Store, BarePlan, Ref]) -> None:
    store, plan, ref = made
    fewer = api.open(store.root)
    fewer.remove(ids=[0])
    try:
        assert fewer.release.ref != ref
        assert run_gate(store, plan, ref).passed  # type: ignore[arg-type]
    finally:
        registry.promote(store, "worn", ref, why="as it was")


def test_comparisons_know_labels_in_common(made: tuple[Store, BarePlan, Ref]) -> None:
    store, plan, ref = made
    release = Release.open(store, ref=ref)
    table, held_out = Rows(store.path(release.part("rows"))), np.arange(0, COUNT, 8)
    with store.draft("views") as draft:
        np.save(draft.path / layout.Views.HELD_OUT_IDS, held_out)
        views = draft.finish({"made by": "a test"})
    parts = SimpleNamespace(views=views, codes=release.all_parts("codes"))
    bench: Any = SimpleNamespace(store=store, resolved=plan, made=parts, table=table, figures=Figures())
    compare._probed(bench)
    compare._held_out(bench)
    assert set(bench.figures.notes) == {"probe_embedding", "probe_bits", "nmi_bits"}
    assert set(bench.figures.notes.values()) == {"the rows have several labels each"}
    sets = label_sets(table.labels() or [])
    others = np.array([n for n in range(COUNT) if n % 4 != 3 and n % 8])
    found = retrieval(release.codes_of(others), release.codes_of(held_out), sets[others], sets[held_out])
    assert bench.figures.found == {"held_out_map_at_1000": pytest.approx(found.map_at_cut.mean())}


@pytest.mark.parametrize(
    ("options", "cell"),
    [
        ({}, "['boot', \"bag's\"]"),
        ({}, json.dumps(["bag's", "boot", None])),
        ({"label_separator": "|"}, "boot| bag's |"),
        ({"label_separator": ", "}, "boot, bag's"),
    ],
)
def test_texts_of_lists_are_lists(tmp_path: Path, options: dict[str, object], cell: str) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    quoted = cell.replace('"', '""')
    (tmp_path / "list.csv").write_text(f'image,labels,split\na.png,"{quoted}",train\n', encoding="utf-8")
    plan = plan_of(tmp_path / "list.csv", **options)
    (item,) = plan.source.items()
    assert label_sets([item.label]).tolist() == [frozenset({"boot", "bag's"})]


def test_a_list_column_is_found_and_said(tmp_path: Path) -> None:
    lines = [
        {"text": f"a longer text of some words, number {n} of them all", "topics": labels_of(n)} for n in range(60)
    ]
    (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    _, text, _ = suggest(str(tmp_path / "posts.jsonl"), folder=tmp_path)
    assert 'label = "topics"  # 4 values, several to an item; for evaluation only' in text
