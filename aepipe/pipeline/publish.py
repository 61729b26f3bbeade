"""Publish a release from rows, a model, its codes and their scores.

It is not in service yet. Three artifacts are written: a segment of items (keys and columns of all rows), a segment of
the index (one for each shard), and the release, which only refers to them. Releases of the same rows share the items,
and releases of the same codes share the index.

Rows that are a list of parts have a segment of items for each part. An engine writes them, and those of parts that stay
are there already.

Legend: N rows, R runs of ids.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypeAlias, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from aepipe import engines
from aepipe.engines import Done, Needs, Part, Work
from aepipe.index import hamming
from aepipe.index.shards import Shard
from aepipe.log import step
from aepipe.release.manifest import ReleaseManifest
from aepipe.release.origin import FACT
from aepipe.store.artifacts import Ref, Store, digest_of, ref_of
from aepipe.store.row_parts import Slices, ids_of_runs
from aepipe.store.rows import Rows
from aepipe.store.segments import CodeSegments, Items

if TYPE_CHECKING:
    from aepipe.recipe import Recipe

VERSION = 1
STAGE = "publish"
RunsOf: TypeAlias = Callable[[int], NDArray[np.int64]]
BLOCK = 65_536
"""Values of a column that are converted to text at a time."""


class Parts(TypedDict):
    """What a release is published from.

    Attributes:
        rows: the collection; a row that only the codes have has vanished from it and is left out.
        model: the encoder.
        codes: segments that together hold the codes of all rows.
        scores: written by :mod:`aepipe.pipeline.score`.
        words: written by :mod:`aepipe.pipeline.words`, where the recipe names them.
    """

    rows: Ref
    model: Ref
    codes: Sequence[Ref]
    scores: Ref
    words: NotRequired[Ref | None]


def publish(store: Store, recipe: Recipe, root: Path, *, recipe_file: str = "", **parts: Unpack[Parts]) -> Ref:
    """Publish a release.

    Args:
        store: where artifacts are read and written.
        recipe: all of it was made by this recipe.
        root: the folder that places are relative to.
        recipe_file: that says where the items are; empty where it was said otherwise.
        parts: references; see :class:`Parts`.

    Raises:
        CorruptError: an artifact is damaged, or a row has no code.
        FingerprintError: the codes come from two encoders.
    """
    rows, codes = parts["rows"], parts["codes"]
    held = write_all_items(store, rows, root)
    indexed = _indexes(store, recipe, rows, codes)
    index_facts = store.manifest(indexed[0]).facts
    manifest = ReleaseManifest(
        name=recipe.name,
        fingerprint=index_facts["fingerprint"],
        n_bits=index_facts["n_bits"],
        n_rows=sum(store.manifest(one).facts["rows"] for one in indexed),
        encoder=parts["model"],
        codes=tuple(codes),
        items=held,
        index=indexed,
        scores=parts["scores"],
        source_rows=rows,
        recipe=recipe.model_dump(mode="json"),
        source_path=str(root),
        words=parts.get("words"),
    )
    inputs = {"stage": STAGE, "version": VERSION, **manifest.to_json()}
    ref = ref_of("release", inputs)
    if store.reuse(ref):
        return ref
    with store.draft("release") as draft:
        manifest.write(draft.path)
        facts = {"next_id": Rows(store.path(rows)).next_id, FACT: recipe_file}
        return draft.finish(inputs, manifest.facts | facts)


def write_items(store: Store, rows: Ref, root: Path) -> Ref:
    """Write keys and columns of all rows, in ascending order of id.

    Args:
        store: where artifacts are read and written.
        rows: the collection, or a part of it.
        root: the folder that places are relative to.
    """
    inputs = {"stage": f"{STAGE}.items", "version": VERSION, "rows": str(rows), "root": str(root)}
    ref = ref_of("segment", inputs)
    if store.reuse(ref):
        return ref
    more = store.manifest(rows).facts.get("roots", ())
    with store.draft("segment") as draft:
        return draft.finish(inputs, _put_items(draft.path, Rows(store.verified(rows)), root, more))


def write_all_items(store: Store, rows: Ref, root: Path) -> tuple[Ref, ...]:
    """Write keys and columns of all rows: in one segment, or in one for each of several parts.

    Args:
        store: where artifacts are read and written.
        rows: the collection.
        root: the folder that places are relative to.
    """
    parts = store.parts(rows)
    if len(parts) <= 1:
        return (write_items(store, rows, root),)
    table, roots = Rows(store.path(rows, with_parts=False)), list(store.manifest(rows).facts.get("roots", ()))
    runs_of = _runs_of(table)
    given = (_of_items(one, runs_of(number), root, [] if number else roots) for number, one in enumerate(parts))
    refs = tuple(ref_of("segment", one) for one in given)
    missing = [Part(number, str(rows)) for number, ref in enumerate(refs) if not store.reuse(ref)]
    work = Work("items", items_of_part, {"store": store.address, "root": str(root), "roots": roots})
    for done, _ in enumerate(engines.resolve().map(work, missing, Needs()), 1):
        step("items", len(parts) - len(missing) + done, len(parts))
    return refs


def items_of_part(part: Part, *, store: str, root: str, roots: Sequence[str]) -> Done:
    """Write keys and columns of one part of a list of rows, unless that was done before.

    Args:
        part: its number in the list, and the reference of the list.
        store: the address of the store.
        root: the folder that places are relative to.
        roots: other folders that originals of the list may lie in; the segment of its first part says them.

    Raises:
        CorruptError: the part is damaged.
    """
    began = time.monotonic()
    place, table, runs_of = _list_at(store, Ref.parse(part.ref))
    one, more = Ref("rows", table.part_names[part.number]), [] if part.number else roots
    runs = runs_of(part.number)
    inputs = _of_items(one, runs, Path(root), more)
    ref = ref_of("segment", inputs)
    if not place.reuse(ref):
        rows = Rows(place.verified(one), ids=ids_of_runs(runs))
        with place.draft("segment") as draft:
            facts = _put_items(draft.path, rows, Path(root), more)
            draft.finish(inputs, facts | Items(draft.path).facts)
    return Done(part.number, str(ref), rows=int(runs[:, 1].sum()), seconds=time.monotonic() - began)


@lru_cache(2)
def _list_at(store: str, rows: Ref) -> tuple[Store, Rows, RunsOf]:
    place = Store(store)
    table = Rows(place.path(rows, with_parts=False))
    return place, table, _runs_of(table)


def _runs_of(table: Rows) -> RunsOf:
    """Return what gives the runs of ids of one part of a list, int64[R, 2], by its number."""
    # Not by the table itself: it would hold the ids of all rows.
    slices, ends = Slices(table.runs()), np.cumsum([0, *table.facts["counts"]], dtype=np.int64).tolist()
    return lambda number: slices.of(ends[number], ends[number + 1])


def _of_items(part: Ref, runs: NDArray[np.int64], root: Path, roots: Sequence[str]) -> dict[str, Any]:
    """Return what decides the items of a part: also its ids, int64[R, 2], which are in the segment."""
    inputs = {"stage": f"{STAGE}.items", "version": VERSION, "rows": str(part), "root": str(root)}
    return inputs | {"ids": digest_of(runs.tolist())} | ({"roots": list(roots)} if roots else {})


def _put_items(folder: Path, table: Rows, root: Path, roots: Sequence[str]) -> dict[str, Any]:
    """Write keys and columns of a table in ascending order of id, and return the facts of the segment."""
    ids = table.ids()
    order = np.argsort(ids, kind="stable")
    strings = {name: _column(table, name, order) for name in ("key", "place", "label", "split")}
    # Columns are numbered, because a name of the source may not be fit for a file.
    strings |= {f"column.{i}": _column(table, name, order) for i, name in enumerate(table.columns)}
    # Names as the source gave them: a column that has a name of ours is written under another one.
    Items.write(folder, ids[order], strings, columns=list(table.facts["columns"]), root=root, roots=roots)
    return {"kind": "items", "rows": len(ids)}


def _indexes(store: Store, recipe: Recipe, rows: Ref, codes: Sequence[Ref]) -> tuple[Ref, ...]:
    """Build the index of the rows that the recipe wants to be found: one, or its shards, which an engine builds."""
    kind, count = recipe.index.kind.kind, recipe.index.shards
    options = hamming.resolve(recipe.index.kind).model_dump(mode="json")
    given: dict[str, Any] = {"rows": str(rows), "codes": [str(one) for one in codes]}
    given |= {"indexed": recipe.index.rows, "kind": kind, "options": options}
    if count == 1:
        return (_index(store, given, Shard(0, 1)),)
    refs = tuple(ref_of("segment", _of_index(given, Shard(number, count))) for number in range(count))
    missing = [Part(number, str(rows)) for number, ref in enumerate(refs) if not store.reuse(ref)]
    work = Work("index", index_shard, {"store": store.address, "count": count, "given": given})
    for done, _ in enumerate(engines.resolve().map(work, missing, Needs()), 1):
        step("shards", count - len(missing) + done, count)
    return refs


def index_shard(part: Part, *, store: str, count: int, given: Mapping[str, Any]) -> Done:
    """Build one shard of an index, unless that was done before.

    Args:
        part: the number of the shard, and the reference of the rows.
        store: the address of the store.
        count: of shards.
        given: what else decides the index; see :func:`_of_index`.

    Raises:
        CorruptError: an artifact is damaged, or a row has no code.
    """
    began, place = time.monotonic(), Store(store)
    ref = _index(place, given, Shard(part.number, count))
    return Done(part.number, str(ref), place.manifest(ref).facts["rows"], seconds=time.monotonic() - began)


def _of_index(given: Mapping[str, Any], shard: Shard) -> dict[str, Any]:
    """Return what decides an index, or a shard of one."""
    inputs = {"stage": f"{STAGE}.index", "version": VERSION, **given}
    return inputs if shard.count == 1 else {**inputs, "shard": str(shard)}


def _index(store: Store, given: Mapping[str, Any], shard: Shard) -> Ref:
    """Build an index, or a shard of one."""
    inputs = _of_index(given, shard)
    ref = ref_of("segment", inputs)
    if store.reuse(ref):
        return ref
    table = Rows(store.verified(Ref.parse(given["rows"])))
    ids = shard.own(table.ids("train" if given["indexed"] == "train" else None))
    step("index", 0, len(ids))
    # Lazily: the index sorts codes on disk where they do not fit into memory.
    held = CodeSegments.open(store, [Ref.parse(one) for one in given["codes"]]).lazily(ids)
    with store.draft("segment") as draft:
        built = hamming.build(held, ids, kind=given["kind"], options=given["options"], folder=draft.path)
        built.save(draft.path)
        facts = {"kind": "index", "fingerprint": built.fingerprint, "n_bits": built.n_bits, "rows": len(built)}
        step("index", len(ids), len(ids))
        return draft.finish(inputs, facts | {"codes": built.n_codes})


def _column(table: Rows, name: str, order: NDArray[np.int64]) -> Iterator[str | None]:
    """Give one column as text, read lazily: memory then holds one column at a time."""
    column = table.table([name]).column(name).take(order)
    for start in range(0, len(order), BLOCK):
        for value in column.slice(start, BLOCK).to_pylist():
            yield _text(value)


def _text(value: object) -> str | None:
    """Return a value as people read it; lists and tables become JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
