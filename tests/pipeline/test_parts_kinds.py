"""Every kind of source in parts: the rows are those of one table, features learned from the items included."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aepipe import recipe, sources
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.parts.again import Again
from aepipe.sources.item import Source
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows

N = 40
WORDS = ["boat", "river", "harbour", "storm", "captain", "letter", "garden", "apple", "winter", "music", "window"]


def png(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "png")
    return data.getvalue()


def sentence(number: int) -> str:
    return " ".join(np.random.default_rng(number).choice(WORDS, 9).tolist())


def parquet_of_pictures(folder: Path) -> dict[str, Any]:
    cells = [{"bytes": png(number), "path": f"{number}.png"} for number in range(N)]
    columns = {"image": cells, "label": [f"c{number % 3}" for number in range(N)], "year": list(range(N))}
    pq.write_table(pa.table(columns), folder / "all.parquet", row_group_size=7)
    return {"kind": "images", "path": "all.parquet", "label": "label"}


def tar_of_pictures(folder: Path) -> dict[str, Any]:
    with tarfile.open(folder / "all.tar", "w") as archive:
        for number in range(N):
            for ending, data in ((".png", png(number)), (".json", json.dumps({"year": number}).encode())):
                member = tarfile.TarInfo(f"{number:03d}{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return {"kind": "images", "path": "all.tar"}


def list_of_paths(folder: Path) -> dict[str, Any]:
    (folder / "files").mkdir()
    with (folder / "list.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "price"])
        for number in range(N):
            (folder / "files" / f"{number}.png").write_bytes(png(number))
            writer.writerow([f"files/{number}.png", f"c{number % 3}", number / 4])
        writer.writerow(["files/gone.png", "c0", ""])
    return {"kind": "images", "path": "list.csv", "image": "path", "label": "label", "max_bad_share": 0.1}


def table(folder: Path) -> dict[str, Any]:
    with (folder / "people.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["age", "job", "city", "fee"])
        for number in range(N):
            writer.writerow(
                [20 + number, WORDS[number % 4], WORDS[number % 5], "" if number % 7 == 0 else number * 1.5]
            )
    return {"kind": "table", "path": "people.csv"}


def documents(folder: Path) -> dict[str, Any]:
    (folder / "texts").mkdir()
    for number in range(N):
        (folder / "texts" / f"{number:02d}.txt").write_text(sentence(number))
    (folder / "texts" / "old.txt").write_bytes("déjà vu à Orléans, le garçon".encode("cp1252"))
    (folder / "texts" / "empty.txt").write_bytes(b"")
    return {"kind": "text", "path": "texts", "max_bad_share": 0.2}


def lines(folder: Path) -> dict[str, Any]:
    rows = [{"id": f"a{number}", "text": sentence(number), "stars": number % 5} for number in range(N)]
    (folder / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {"kind": "text", "path": "posts.jsonl", "key": "id", "label": "stars", "max_bad_share": 0.5}


def vectors(folder: Path) -> dict[str, Any]:
    np.save(folder / "all.npy", np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32))
    return {"kind": "vectors", "path": "all.npy"}


def recordings(folder: Path) -> dict[str, Any]:
    (folder / "sounds").mkdir()
    for number in range(4):
        samples = np.random.default_rng(number).integers(-9000, 9000, 8 * 8000, dtype=np.int16)
        with wave.open(str(folder / "sounds" / f"{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples.tobytes())
    return {"kind": "audio", "path": "sounds"}


FEATURES: dict[str, dict[str, Any]] = {
    "images": {"size": [6, 6]},
    "text": {"least": 1, "most": 1.0},
    "audio": {"window": 1.0, "hop": 0.5},
}
KINDS = [parquet_of_pictures, tar_of_pictures, list_of_paths, table, documents, lines, vectors, recordings]


def source_of(folder: Path, options: dict[str, Any], part: int, keep: str = "all") -> Source:
    """Return a source that gives each item to the split that its bytes decide."""
    said = {"split": {"test": 0.2}, **options, "part": part, "keep": keep}
    read: dict[str, Any] = {"name": "kind", "source": said, "layers": [{"net": "dense"}], "views": {"sample": 0.4}}
    read["features"] = FEATURES.get(options["kind"], {})
    return sources.resolve(recipe.parse(read, folder / "kind.toml"))


def said(store: Store, ref: Ref) -> dict[str, Any]:
    rows, facts = Rows(store.verified(ref)), dict(store.manifest(ref).facts)
    inputs = store.manifest(ref).inputs
    names = ("rows", "splits", "labels", "columns", "quarantined", "files", "passed_over", "unreadable", "left_out")
    records = [(one.id, one.key, one.sha256, one.place, one.split, one.label, one.columns) for one in rows.records()]
    return {
        "records": records,
        "features": rows.features().tobytes(),
        "facts": {name: facts[name] for name in (*names, "notes", "new", "changed", "vanished")},
        "made": inputs["features"],
        "schema": rows.own_schema,
    }


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_rows_of_every_kind(tmp_path: Path, make: Callable[[Path], dict[str, Any]]) -> None:
    options = make(tmp_path)
    stores = {part: Store(tmp_path / f"store-{part}") for part in (0, 8)}
    found = {part: ingest(store, source_of(tmp_path, options, part)) for part, store in stores.items()}
    assert said(stores[0], found[0]) == said(stores[8], found[8])
    assert len(stores[8].parts(found[8])) >= 3
    again = ingest(stores[8], source_of(tmp_path, options, 8), previous=found[8])
    assert again == found[8]
    check_decoded_again(tmp_path, options, Rows(stores[8].path(found[8])))


def check_decoded_again(folder: Path, options: dict[str, Any], every: Rows) -> None:
    """Check that features that were not kept are decoded to what they are where all are kept."""
    store, source = Store(folder / "some"), source_of(folder, options, 8, "sample")
    ref = ingest(store, source)
    some, fitted = Rows(store.verified(ref)), source.fitted(store.manifest(ref).inputs["features"])
    found = dict[int, bytes]()
    for number, part in enumerate(some.parts):
        again = Again(store, ref, number, fitted, threads=2)
        for ids, features in again.batches(part, ~part.with_features, 3):
            assert features.dtype == every.dtype
            assert len(ids) <= 3
            found |= {row_id: one.tobytes() for row_id, one in zip(ids.tolist(), features, strict=True)}
    lost = np.flatnonzero(~some.with_features)
    assert found == {int(some.ids()[row]): every.feature(row).tobytes() for row in lost.tolist()}
    assert some.ids().tolist() == every.ids().tolist()
