"""Make a release of made-up codes and keys: ``python -m benchmarks.made_up FOLDER ROWS [KIND]``.

KIND is that of the index, else ``flat``. For another kind, codes lie in groups of 50 with few bits between them, as
those of real items do; else they are drawn alone. The encoder is real and untrained. This is a program apart from
``benchmarks.common``: it imports most of aepipe.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import Encoder
from aepipe.index import hamming
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import array_in
from aepipe.store.rows_writer import RowsWriter
from aepipe.store.segments import Items
from tests.support.encoders import write_encoder

N_BITS = 64
SHAPE = (28, 28, 1)
WIDTH = 256
"""Numbers of an embedding."""
FACTOR = 50
"""Hits whose embeddings a query compares, for each hit that is wanted; as was measured for Fashion-MNIST."""
BLOCK = 100_000
GROUP, FLIPPED = 50, 0.03
"""Codes of a group, and the probability that a bit of one differs from its group's."""


def main() -> None:
    """Make a store and a picture in a folder: arguments are the folder, the number of rows, and the kind of index."""
    folder = Path(sys.argv[1])
    make_release(Store(folder / "store"), int(sys.argv[2]), *sys.argv[3:4])
    pixels = np.random.default_rng(1).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")


def make_release(store: Store, rows: int, kind: str = "flat") -> None:
    """Put a release with made-up codes and keys into service."""
    with store.draft("model") as draft:
        write_encoder(draft.path, hidden=(1024, WIDTH), n_bits=N_BITS)
        model = draft.finish({"benchmark": "model"})
    fingerprint = Encoder.open(store.path(model)).fingerprint
    rng = np.random.default_rng(0)
    codes = BitCodes(drawn(rng, rows) if kind == "flat" else grouped(rng, rows), N_BITS, fingerprint)
    ids = np.arange(rows)
    about = {"rows": rows, "kind": kind}
    facts = {"fingerprint": fingerprint, "n_bits": N_BITS, "rows": rows}
    with store.draft("segment") as draft:
        np.save(draft.path / "ids.npy", ids)
        np.save(draft.path / "codes.npy", codes.packed)
        embeddings = array_in(draft.path / "embedding.npy", np.int8, (rows, WIDTH))
        for start in range(0, rows, BLOCK):
            shape = (min(BLOCK, rows - start), WIDTH)
            embeddings[start : start + BLOCK] = rng.integers(-127, 128, shape, dtype=np.int8)
        stored = draft.finish({"benchmark": "codes", **about}, facts)
    with store.draft("segment") as draft:
        hamming.build(codes, ids, kind=kind).save(draft.path)
        indexed = draft.finish({"benchmark": "index", **about}, facts)
    parts = {"encoder": model, "items": make_items(store, ids), "index": indexed, "scores": make_scores(store)}
    parts["source_rows"] = make_rows(store, rows)
    body = {"schema": 1, "name": "benchmark", **facts, "codes": [str(stored)]}
    body |= {"recipe": recipe_of(folder_of(store))}
    body |= {what: str(part) for what, part in parts.items()} | {"source_path": ""}
    with store.draft("release") as draft:
        (draft.path / "release.json").write_text(json.dumps(body))
        registry.promote(store, "benchmark", draft.finish({"benchmark": "release", **about}), why="benchmark")


def drawn(rng: np.random.Generator, rows: int) -> NDArray[np.uint8]:
    """Return codes whose bits are drawn, uint8[rows, W]."""
    return rng.integers(0, 256, (rows, N_BITS // 8), dtype=np.uint8)


def grouped(rng: np.random.Generator, rows: int) -> NDArray[np.uint8]:
    """Return codes in groups, uint8[rows, W], in an order that is drawn."""
    codes = drawn(rng, -(-rows // GROUP))[rng.integers(0, -(-rows // GROUP), rows)]
    for start in range(0, rows, BLOCK):
        some = codes[start : start + BLOCK]
        some ^= np.packbits(rng.random((len(some), N_BITS)) < FLIPPED, axis=1)
    return codes


def make_items(store: Store, ids: NDArray[np.int64]) -> Ref:
    """Write keys like those of a folder of photographs."""
    keys = [f"photos/{i % 1000:03d}/{i:07d}.png" for i in ids]
    strings = {"key": keys, "place": keys, "label": [f"class{i % 10}" for i in ids], "split": ["train"] * len(ids)}
    with store.draft("segment") as draft:
        Items.write(draft.path, ids, strings, columns=[], root=folder_of(store))
        facts = {"kind": "items", "rows": len(ids), **Items(draft.path).facts}
        return draft.finish({"benchmark": "items", "first": int(ids[0]), "rows": len(ids)}, facts)


def make_rows(store: Store, rows: int) -> Ref:
    """Write an empty table of rows.

    Only an addition to a release reads it, for the shape and the ids.
    """
    with store.draft("rows") as draft, RowsWriter(draft.path, shape=SHAPE, columns=pa.schema([])) as writer:
        writer.close(source="", next_id=rows)
        return draft.finish({"benchmark": "rows", "rows": rows})


def recipe_of(folder: Path) -> dict[str, Any]:
    """Return the recipe of a folder of pictures."""
    source = {"kind": "images", "path": str(folder), "label": "parent"}
    features = {"size": list(SHAPE[:2]), "color": "gray"}
    layers, code = [{"net": "dense"}], {"bits": N_BITS}
    return {"name": "benchmark", "source": source, "features": features, "layers": layers, "code": code}


def folder_of(store: Store) -> Path:
    """Return the folder of the pictures of a release."""
    return store.root.parent / "photos"


def make_scores(store: Store) -> Ref:
    """Write scores that hold nothing but the number of hits to re-rank."""
    with store.draft("segment") as draft:
        (draft.path / "scores.json").write_text(json.dumps({"reranking": {"factor": FACTOR}}))
        return draft.finish({"benchmark": "scores"})


if __name__ == "__main__":
    main()
