"""Small complete releases for tests, made without torch and without training."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aepipe import recipe, sources
from aepipe.evaluate import scores as evaluation
from aepipe.evaluate.scores import OURS, Sample
from aepipe.index import hamming
from aepipe.pipeline.encode import encode_all
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.publish import Parts, publish
from aepipe.pipeline.words import make_words
from aepipe.recipe import Options, Recipe
from aepipe.sources.item import Source
from aepipe.store import layout, registry
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows
from aepipe.store.segments import CodeSegments
from aepipe.words import WordsSpec
from tests.support.encoders import write_encoder

N_CLASSES = 5
FEW_PIXELS = 7
EVERY = 5  # every fifth picture is of the test split


@dataclass(frozen=True, slots=True)
class BarePlan:
    """The part of a resolved recipe that stages after training read; needs no torch.

    Attributes:
        recipe: as it was written.
        source: reads the items.
        index: options of the index.
        words: what answers words, where the recipe names it.
    """

    recipe: Recipe
    source: Source
    index: Options
    words: WordsSpec | None = None


def publish_source(store: Store, name: str, source: dict[str, Any], *, holes: bool = True, **more: Any) -> None:
    """Put a collection of any kind into service, with an encoder that was not trained; it reads holes, or not."""
    table = {
        "name": name,
        "source": {**source, "split": {"test": 0.2}},
        "layers": [{"net": "dense"}],
        "code": {"bits": 16},
        "index": {"rows": "all", "embedding": "int8"},
        "evaluate": {"queries": 20},
        **more,
    }
    parsed = recipe.parse(table, store.root.parent / f"{name}.toml")
    read = sources.resolve(parsed)
    rows = ingest(store, read)
    fitted, held = read.fitted(None), Rows(store.path(rows))
    card = {"source": source["kind"], "features": fitted.features(), "dtype": held.facts["dtype"]}
    card |= {"holes": holes and source["kind"] == "table"}
    with store.draft("model") as draft:
        write_encoder(draft.path, shape=held.shape, hidden=(8,), n_bits=16, **card)
        model = draft.finish({"shape": list(held.shape), "n_bits": 16, "seed": 0})
    plan = BarePlan(parsed, fitted, hamming.resolve(parsed.index.kind))
    registry.promote(store, name, publish_rows(store, plan, rows, model), why="made by a test")


def make_release(
    store: Store,
    *,
    name: str = "pictures",
    n: int = 200,
    n_bits: int = 64,
    shape: tuple[int, int, int] = (28, 28, 1),
    seed: int = 0,
    promote: bool = True,
    part: int = 0,
    **index: Any,
) -> Ref:
    """Make a release of ``n`` pictures with the real stages, and put it into service.

    The pictures are PNG files ``<split>/class<c>/<number>.png`` in :func:`pictures_of`; each fifth is of the split
    ``test``, and the last is a copy of the first. Ids count from 0 in the order of the keys.

    Args:
        store: holds the release; the pictures are written next to it.
        name: of the collection.
        n: pictures, at least 10.
        n_bits: K.
        shape: of a decoded picture.
        seed: of pictures and encoder.
        promote: false leaves the release out of service.
        part: items of a part of the rows; 0 makes one table of them.
        index: options of ``[index]``.
    """
    write_pictures(pictures_of(store, name), n, shape, seed)
    plan = bare_plan(store, name=name, n_bits=n_bits, shape=shape, part=part, **index)
    rows = ingest(store, plan.source)
    model = put_encoder(store, plan, n_bits=n_bits, seed=seed)
    ref = publish_rows(store, plan, rows, model)
    if promote:
        registry.promote(store, name, ref, why="made by a test")
    return ref


def pictures_of(store: Store, name: str = "pictures") -> Path:
    """Return the folder of a release's pictures."""
    return store.root.parent / f"{name}-source"


def bare_plan(
    store: Store,
    *,
    name: str = "pictures",
    n_bits: int = 64,
    shape: tuple[int, int, int] = (28, 28, 1),
    indexed: str = "all",
    labelled: bool = True,
    part: int = 0,
    **index: Any,
) -> BarePlan:
    """Return the resolved recipe for the pictures in :func:`pictures_of`."""
    table = {
        "name": name,
        "source": {"kind": "images", "path": str(pictures_of(store, name)), "split": "top"},
        "features": {"size": list(shape[:2]), "color": "gray" if shape[2] == 1 else "rgb"},
        "layers": [{"net": "dense"}],
        "code": {"bits": n_bits},
        "index": {"rows": indexed, **index},
        "evaluate": {"queries": 50},
    }
    if part:
        table["source"] |= {"part": part}  # type: ignore[operator]
    if labelled:
        table["source"] |= {"label": "parent"}  # type: ignore[operator]
    parsed = recipe.parse(table, store.root.parent / f"{name}.toml")
    return BarePlan(parsed, sources.resolve(parsed), hamming.resolve(parsed.index.kind))


def put_encoder(store: Store, plan: BarePlan, *, n_bits: int = 64, seed: int = 0) -> Ref:
    """Write an untrained encoder for a plan's rows into the store."""
    with store.draft("model") as draft:
        write_encoder(draft.path, shape=plan.source.shape, n_bits=n_bits, seed=seed, features=plan.source.features())
        return draft.finish({"shape": list(plan.source.shape), "n_bits": n_bits, "seed": seed})


def publish_rows(store: Store, plan: BarePlan, rows: Ref, model: Ref, known: tuple[Ref, ...] = ()) -> Ref:
    """Encode, score and publish rows; ``known`` segments of codes stay in the release."""
    codes = tuple(encode_all(store, model, rows, known=known))
    words = make_words(store, plan.words, rows, model)
    scores = _put_scores(store, rows, codes)
    parts: Parts = {"rows": rows, "model": model, "codes": codes, "scores": scores, "words": words}
    return publish(store, plan.recipe, plan.source.location, **parts)


def _put_scores(store: Store, rows: Ref, codes: tuple[Ref, ...]) -> Ref:
    """Score codes like :mod:`aepipe.pipeline.score`, but on a few pixels, which is quick.

    There are fewer pixels than bits, so ITQ cannot be fitted, and the row of LSH takes its place.
    """
    table = Rows(store.verified(rows))
    ids, labels = table.ids(), table.labels()
    pixels = table.features().reshape(len(ids), -1)
    few = pixels[:, :: max(1, pixels.shape[1] // FEW_PIXELS)]
    classes = None if labels is None else np.array(labels, np.str_)
    segments = CodeSegments.open(store, codes)
    kept = None if segments.width is None else segments.embeddings_of(ids)
    everything = Sample(segments.of(ids), few, classes, embeddings=kept)
    asked = np.arange(len(ids)) % EVERY == 0
    scores = evaluation.score(everything[np.flatnonzero(~asked)], everything[np.flatnonzero(asked)], seed=0)
    rows_of_table = {row.system: row for row in scores.rows}
    table_rows = (rows_of_table[OURS], replace(rows_of_table["lsh"], system="itq"), *scores.rows[1:])
    scores = replace(scores, rows=table_rows, notes=())
    with store.draft("segment") as draft:
        (draft.path / layout.Scores.SCORES).write_text(json.dumps(scores.to_dict()), encoding="utf-8")
        return draft.finish({"rows": str(rows), "codes": list(map(str, codes))}, {"kind": "scores"})


def write_pictures(root: Path, n: int, shape: tuple[int, int, int], seed: int = 0) -> list[str]:
    """Write pictures of a few classes, and return their keys, ascending."""
    rng = np.random.default_rng(seed)
    prototypes = rng.integers(0, 256, (N_CLASSES, 7, 7, shape[2]))
    keys = []
    for i in range(n):
        split, kind = "test" if i % EVERY == EVERY - 1 else "train", (i // EVERY + i) % N_CLASSES
        keys.append(f"{split}/class{kind}/{i:05d}.png")
        noisy = prototypes[kind] + rng.integers(-60, 60, prototypes.shape[1:])
        (root / keys[-1]).parent.mkdir(parents=True, exist_ok=True)
        _picture(noisy.clip(0, 255).astype(np.uint8), shape).save(root / keys[-1])
    (root / keys[-1]).write_bytes((root / keys[0]).read_bytes())
    return sorted(keys)


def _picture(pixels: NDArray[np.uint8], shape: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels)
    return image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
