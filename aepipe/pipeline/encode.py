"""Encode rows: only those without a code are encoded, and known codes are reused.

Rows that are a list of parts have a segment for each part, which an engine makes; that of a part that stays is reused,
and in others the codes of rows that stay are copied. Rows whose features were not kept are decoded and encoded in one
pass, without being stored in between.

Files: :class:`aepipe.store.layout.Codes`, that is ids, int64[N] ascending, and codes, uint8[N, W], packed as
:mod:`aepipe.codes.bitcodes` says; with them, where the recipe keeps embeddings, ``embedding.npy``, int8[N, H], as
:mod:`aepipe.codes.encoder` defines it.

Legend: N rows, W bytes of a code, H width of the embedding.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe import engines
from aepipe.codes import encoder as encoders
from aepipe.codes.bitcodes import n_bytes
from aepipe.codes.encoder import Encoder
from aepipe.engines import Done, Engine, Needs, Part, Work, check_stopped
from aepipe.engines.local import threads_for
from aepipe.errors import SourceError, shortened
from aepipe.log import step
from aepipe.pipeline.compact import merge_codes
from aepipe.pipeline.parts.again import Again
from aepipe.pipeline.parts.codes import CodesBefore, Copies, copies_of
from aepipe.pipeline.parts.opened import SourceAt, shared, source_at, store_at
from aepipe.recipe import Recipe
from aepipe.sources.item import Source
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, digest_of, ref_of
from aepipe.store.io import array_in
from aepipe.store.rows import Rows

VERSION = 2
BLOCK = 8192
"""Rows encoded at a time."""
MOST = 16
"""Segments kept side by side; each night brings one."""


def encode(store: Store, model: Ref, rows: Ref, *, known: Sequence[Ref] = (), embedding: bool = True) -> Ref:
    """Encode the rows that no known segment holds.

    Args:
        store: where artifacts are read and written.
        model: the encoder.
        rows: the collection.
        known: segments of codes that this encoder made earlier.
        embedding: keep the embeddings too, one byte for each unit.

    Raises:
        SourceError: a row has no code, as one with missing values under an encoder that reads none.
    """
    inputs = {"stage": "encode", "version": VERSION, "model": str(model), "rows": str(rows)}
    inputs |= {"known": ",".join(map(str, known)), "embedding": embedding}
    ref = ref_of("segment", inputs)
    if store.reuse(ref):
        return ref
    encoder = Encoder.open(store.verified(model))
    table = Rows(store.verified(rows))
    done = [np.load(store.verified(one) / layout.Codes.IDS, allow_pickle=False) for one in known]
    # The empty array gives a first run, without known segments, something to concatenate.
    ids = np.setdiff1d(table.ids(), np.concatenate([np.empty(0, np.int64), *done]))
    with store.draft("segment") as draft:
        _encode(encoder, table, ids, draft.path, embedding=embedding)
        facts = {"kind": "codes", "fingerprint": encoder.fingerprint, "n_bits": encoder.n_bits, "rows": len(ids)}
        return draft.finish(inputs, facts)


def encode_all(
    store: Store,
    model: Ref,
    rows: Ref,
    *,
    known: Sequence[Ref] = (),
    before: Ref | None = None,
    embedding: bool = True,
    engine: Engine | None = None,
    source: tuple[Source, Recipe | None] | None = None,
) -> list[Ref]:
    """Return segments with the codes of all rows; known rows are not encoded again.

    Args:
        store: where artifacts are read and written.
        model: the encoder.
        rows: the collection; where it is a list of parts, each has a segment, into which known codes are copied.
        known: segments of codes that this encoder made earlier.
        before: the rows that those are of; only a list of parts needs it.
        embedding: keep the embeddings too, one byte for each unit.
        engine: that encodes parts; that of the environment where it is None.
        source: of the rows, and the recipe that it was made by, which other processes open it by; only a list that
            keeps the features of a sample needs them: the others are decoded again.

    Raises:
        SourceError: as :func:`encode`; or an item whose features were not kept is gone or has changed.
    """
    if not store.parts(rows):
        return [*known, encode(store, model, rows, known=known, embedding=embedding)]
    table, engine = Rows(store.path(rows)), engine or engines.resolve()
    pairs = zip(store.parts(rows), table.parts, strict=True)
    refs = [ref_of("segment", _of_part(model, part, one.runs(), embedding)) for part, one in pairs]
    lacking = [number for number, ref in enumerate(refs) if not store.reuse(ref)]
    same = before is not None and _features(store, before) == _features(store, rows)
    then = CodesBefore(store, before if same and lacking else None, known, _like(model, embedding))
    missing = [Part(one, f"{rows} {then.holding(table.part(one).runs())}".strip()) for one in lacking]
    threads = threads_for(engine, len(missing))
    given = {"store": store.address, "model": str(model), "embedding": embedding, "threads": threads}
    done = sum(table.facts["counts"]) - sum(table.facts["counts"][one.number] for one in missing)
    with _decoding(store, rows, source if missing else None) as at:
        work = Work("encode", encode_part, {**given, "source": at} if at else given)
        for one in engine.map(work, missing, Needs(cpus=threads)):
            done += one.rows
            step("encoding", done, len(table))
    return refs


@contextmanager
def _decoding(store: Store, rows: Ref, source: tuple[Source, Recipe | None] | None) -> Iterator[dict[str, str]]:
    """Let work on parts decode rows again; nothing is needed where all features were kept."""
    made = store.manifest(rows)
    if source is None or made.facts.get("kept", 1) == 1:
        yield {}
        return
    with shared(source[0].fitted(made.inputs["features"]), source[1]) as at:
        yield asdict(at)


def encode_part(
    part: Part, *, store: str, model: str, embedding: bool, threads: int, source: Mapping[str, str] | None = None
) -> Done:
    """Encode one part of a list of rows, unless that was done before.

    Args:
        part: its number in the list, and the reference of the list; after spaces follow codes that may be copied, as
            :meth:`aepipe.pipeline.parts.codes.CodesBefore.holding` names them.
        store: the folder of the store.
        model: the encoder.
        embedding: keep the embeddings too.
        threads: to encode with.
        source: of rows whose features were not kept, the fields of a :class:`aepipe.pipeline.parts.opened.SourceAt`.

    Raises:
        SourceError: a row has no code, or its item is gone or has changed.
    """
    began = time.monotonic()
    listed, *said = part.ref.split()
    place, encoder, table = _opened(store, Ref.parse(model), Ref.parse(listed))
    one = Ref("rows", table.part_names[part.number])
    place.path(one)
    rows = table.part(part.number)
    inputs = _of_part(Ref.parse(model), one, rows.runs(), embedding)
    ref = ref_of("segment", inputs)
    if not place.reuse(ref):
        place.verified(one)
        ids = np.sort(rows.ids())
        copies = copies_of(store, said, embedding=embedding)
        opened = source_at(SourceAt(**source), place) if source else None
        again = Again(place, Ref.parse(listed), part.number, opened, threads) if opened else None
        with place.draft("segment") as draft:
            _encode(encoder, rows, ids, draft.path, embedding=embedding, threads=threads, copies=copies, again=again)
            facts = {"kind": "codes", "fingerprint": encoder.fingerprint, "n_bits": encoder.n_bits, "rows": len(ids)}
            draft.finish(inputs, facts)
    return Done(part.number, str(ref), rows=len(rows), seconds=time.monotonic() - began)


@lru_cache(2)
def _opened(store: str, model: Ref, rows: Ref) -> tuple[Store, Encoder, Rows]:
    place = store_at(store)
    return place, Encoder.open(place.verified(model)), Rows(place.path(rows, with_parts=False))


def _of_part(model: Ref, part: Ref, runs: NDArray[np.int64], embedding: bool) -> dict[str, Any]:
    """Return what decides the codes of a part: also its ids, which are in the segment."""
    return _like(model, embedding) | {"rows": str(part), "ids": digest_of(runs.tolist())}


def _like(model: Ref, embedding: bool) -> dict[str, Any]:
    """Return what decides codes besides the rows."""
    return {"stage": "encode", "version": VERSION, "model": str(model), "embedding": embedding}


def _features(store: Store, rows: Ref) -> object:
    return store.manifest(rows).inputs.get("features")


def _encode(
    encoder: Encoder,
    table: Rows,
    ids: NDArray[np.int64],
    folder: Path,
    *,
    embedding: bool,
    threads: int = 0,
    copies: Copies | None = None,
    again: Again | None = None,
) -> None:
    """Write the codes of some rows in the order of their ids, block by block; those that can be copied are.

    Rows whose features were not kept are decoded and encoded in one pass.
    """
    np.save(folder / layout.Codes.IDS, ids)
    # Mapped, because codes and embeddings of all rows may not fit into memory.
    codes = array_in(folder / layout.Codes.CODES, np.uint8, (len(ids), n_bytes(encoder.n_bits)))
    finer = array_in(folder / encoders.FILE, np.int8, (len(ids), encoder.width)) if embedding else None
    wanted = copies.copy(table, ids, codes, finer) if copies is not None else ids
    seen = 0
    for block, items in _blocks(table, wanted, again):
        new = np.isin(block, wanted, assume_unique=True)
        if new.any():
            found = encoder.encode(items[new], threads=threads or os.cpu_count() or 1)
            _check(table, block[new], items[new], found)
            places = np.searchsorted(ids, block[new])
            codes[places] = found.codes.packed
            if finer is not None:
                finer[places] = encoders.quantize(found.embedding)
        seen += len(block)
        check_stopped()
        if not threads:  # a part has no progress of its own
            step("encoding", seen, len(table))


def _blocks(
    table: Rows, wanted: NDArray[np.int64], again: Again | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Yield ids int64[n] and features [n, *shape] of the blocks that have wanted rows, int64[m] ascending."""
    if not len(wanted):
        return
    if again is None:
        yield from table.batches(BLOCK)
        return
    missing = np.isin(table.ids(), wanted)
    yield from table.batches(BLOCK, mask=missing & table.with_features)
    yield from again.batches(table, missing & ~table.with_features, BLOCK)


def _check(table: Rows, ids: NDArray[np.int64], items: NDArray[np.generic], found: encoders.Encoding) -> None:
    """Refuse rows that have no code.

    Raises:
        SourceError: there is one.
    """
    lost = found.lost()
    if lost.any():
        key = table.keys()[int(np.flatnonzero(table.ids() == ids[lost][0])[0])]
        more = f" (as {lost.sum() - 1:,} others)" if lost.sum() > 1 else ""
        raise SourceError(f"{shortened(key)}{more}: {encoders.why_lost(items[lost][0])}")


def reuse_codes(store: Store, codes: Sequence[Ref], *, before: Ref, after: Ref) -> list[Ref]:
    """Return the segments of codes that still hold for the present rows.

    A row keeps its id when the bytes under its key change, so its old code would be wrong: it is left out. Codes of
    vanished rows do no harm and stay. :data:`MOST` segments are merged into one. For rows in parts all are returned,
    which :func:`encode_all` copies from.

    Args:
        store: where artifacts are read and written.
        codes: segments of a release.
        before: the rows of that release.
        after: the present rows.
    """
    if store.parts(after):  # each part has a segment of its own
        return list(codes)
    old, new = (Rows(store.verified(ref)) for ref in (before, after))
    old_ids, new_ids = old.ids(), new.ids()
    both, at_old, at_new = np.intersect1d(old_ids, new_ids, assume_unique=True, return_indices=True)
    changed = both[(old.sha256()[at_old] != new.sha256()[at_new]).any(axis=1)]
    ids_of = {ref: np.load(store.verified(ref) / layout.Codes.IDS, allow_pickle=False) for ref in codes}
    if len(codes) >= MOST:
        known = np.unique(np.concatenate(list(ids_of.values())))
        return [merge_codes(store, codes, np.intersect1d(np.setdiff1d(both, changed), known))]
    kept = []
    for ref, ids in ids_of.items():
        stale = np.isin(ids, changed)
        kept.append(merge_codes(store, [ref], ids[~stale]) if stale.any() else ref)
    return kept
