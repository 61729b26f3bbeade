"""Reduce: parts become the rows of a collection, which are a list of them.

Of most parts only small files are read: their manifests, and 8 bytes of each digest for the number of different items.
What :mod:`aepipe.pipeline.parts.ids` asks for is read of parts that have changed.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aepipe.pipeline.intake import (
    check_bad,
    check_splits,
    check_vanished,
    lying_in,
    quarantine_file,
    reading_facts,
)
from aepipe.pipeline.parts.ids import Ids, small_file
from aepipe.sources.item import Source
from aepipe.store import layout, reading
from aepipe.store.artifacts import Ref, Store, digest_of
from aepipe.store.row_parts import joined
from aepipe.store.rows import PASSED_OVER, Rejected, read_quarantine, write_quarantine

VERSION = 1
STAGE = "ingest.list"


def join(
    store: Store,
    source: Source,
    parts: Sequence[Ref],
    *,
    previous: Ref | None,
    next_id: int,
    given: Mapping[str, int],
    readings: Sequence[Ref],
) -> Ref:
    """Give ids to the rows of parts, and make one collection of them.

    Args:
        store: where parts are, and the collection is written.
        source: of the items.
        parts: all of them, in the order of the source.
        previous: rows of the same collection; they are returned where nothing has changed.
        next_id: the first id for a new key.
        given: ids by key that were given to others than the rows of before.
        readings: artifacts that say which listing each part was read from; they are kept with the collection.

    Returns:
        The rows, with the facts of :func:`aepipe.pipeline.ingest.ingest`.

    Raises:
        SourceError: too many items are unreadable or gone, or there is nothing to train on.
        FullError: the disk is full.
    """
    cards = [store.manifest(one).facts for one in parts]
    rejected = [bad for one, card in zip(parts, cards, strict=True) for bad in _not_read(store, source, one, card)]
    splits = _splits(cards)
    listed = quarantine_file(store, source.name, rejected, source.passed_over)
    check_bad(source, rejected, sum(splits.values()), listed)
    read = reading_facts(source, rejected)
    made = store.manifest(previous) if previous else None
    before = int(made.facts["rows"]) if made else 0
    ids = Ids(store, previous, parts, next_id, given)
    runs = joined([ids.of(one) for one in parts])
    vanished = before + ids.new - sum(splits.values())
    check_vanished(source, vanished, before, made.facts.get("location") if made else None)
    check_splits(source, splits)
    # Where features are decoded again, a list also says from which listings.
    noted = {"readings": [str(one) for one in readings]}
    inputs: dict[str, Any] = {"parts": [str(one) for one in parts], **(noted if source.kept < 1 else {})}
    if previous is not None and made is not None and inputs.items() <= made.inputs.items():
        reading.keep(store, source.name, previous, read)
        return previous
    lineage = digest_of([hashlib.sha256(runs.astype("<i8").tobytes()).hexdigest(), ids.next_id])
    inputs |= {"stage": STAGE, "version": VERSION, "features": source.features(), "ids": lineage}
    inputs |= {"source": digest_of([card["source"] for card in cards])}
    with store.draft("rows") as draft:
        np.save(draft.path / layout.Rows.RUNS, runs)
        write_quarantine(draft.path / layout.Rows.QUARANTINE, rejected, source.passed_over.listed())
        card = _joined(store, parts, cards) | {"source": inputs["source"], "next_id": ids.next_id}
        (draft.path / layout.Rows.CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")
        facts = {name: value for name, value in card.items() if name not in {"parts", "counts"}}
        facts |= {"new": ids.new, "changed": ids.changed, "vanished": vanished, **noted}
        result = draft.finish(inputs, {**facts, **lying_in(source.location, source.roots), **read})
    reading.keep(store, source.name, result, read)
    return result


def _joined(store: Store, parts: Sequence[Ref], cards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the description of all parts together."""
    first = cards[0]
    labelled, several = (sum(card.get(name, 0) for card in cards) for name in ("labelled", "several_labels"))
    return {
        **{name: first[name] for name in ("schema", "shape", "dtype", "columns")},
        "rows": sum(card["rows"] for card in cards),
        "splits": dict(sorted(_splits(cards).items())),
        "distinct": _distinct(store, parts),
        "labels": labelled > 0,
        "labelled": labelled,
        "quarantined": sum(card["quarantined"] for card in cards),
        **({"several_labels": several} if several else {}),
        **({"kept": first["kept"]} if "kept" in first else {}),
        "parts": [one.digest for one in parts],
        "counts": [card["rows"] for card in cards],
    }


def _splits(cards: Sequence[Mapping[str, Any]]) -> Counter[str]:
    return sum((Counter(card["splits"]) for card in cards), Counter[str]())


def _distinct(store: Store, parts: Sequence[Ref]) -> int:
    """Return how many different items there are, told by 8 bytes of their digests."""
    heads = array("Q")
    for part in parts:
        heads.frombytes(np.asarray(small_file(store, part, layout.Rows.HEADS), "<u8").tobytes())
    ordered = np.frombuffer(heads, np.uint64)
    ordered.sort()
    return int((ordered[1:] != ordered[:-1]).sum()) + bool(len(ordered))


def _not_read(store: Store, source: Source, part: Ref, card: Mapping[str, Any]) -> Iterator[Rejected]:
    """Yield the items of a part that could not be read; what it passed over is counted with the source."""
    file = store.output(part, layout.Rows.QUARANTINE) if card["quarantined"] or card.get("passed_over") else None
    for one in read_quarantine(file) if file else ():
        if one["what"] != PASSED_OVER:
            yield Rejected(one["key"], one["place"], one["reason"])
            continue
        if one["place"]:
            source.passed_over.add(one["place"], one["reason"])
        else:
            source.passed_over.counts[one["reason"]] += one["count"]
