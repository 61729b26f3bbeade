"""The facts of one release: where it came from, what it holds, how good it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aepipe import sources, words
from aepipe.errors import CorruptError, StoreError
from aepipe.report.narrow import blocks, folded
from aepipe.report.tables import cells, health_line, protocol_line, reranking_line, scores_table, text_table
from aepipe.sources.passed_over import in_words
from aepipe.sources.remote import is_address
from aepipe.store import layout, names, reading, registry
from aepipe.store.artifacts import Ref, Store

LABEL_FREE = "recall_at_10"


def describe(store: Store, ref: Ref) -> dict[str, Any]:
    """Return the facts of a release, as ``aepipe show --json`` prints them.

    Raises:
        NotFoundError: the store has no such release.
        CorruptError: one of its files is not what was written.
    """
    card = card_of(store, ref)
    listed = card["index"] if isinstance(card["index"], list) else [card["index"]]
    index = [_segment(store, one, layout.Index.CARD) for one in listed]
    scores = _segment(store, card["scores"], layout.Scores.SCORES) if card.get("scores") else None
    event = _last_promoted(store, card["name"], ref)
    return {
        "name": card["name"],
        "release": ref.digest,
        "in_service": registry.current(store, card["name"]) == ref,
        "promoted": {"when": event.when, "why": event.why} if event else None,
        "created": store.manifest(ref).created,
        "rows": card["rows"],
        "changes": _changes(store, card),
        "distinct_codes": sum(one["codes"] for one in index),  # one that several shards have counts several times
        "n_bits": card["n_bits"],
        "index": index[0]["kind"],
        "shards": len(index),
        "fingerprint": card["fingerprint"],
        "aligned": store.manifest(Ref.parse(card["encoder"])).facts.get("aligned"),
        "layers": layer_names(card["recipe"]),
        "source": {"kind": _recipe(card, "source", "kind"), "path": _source_of(card)},
        "backbone": _recipe(card, "features", "backbone"),
        "words": answers_words(store, card),
        "read": reading.facts_of(store, card["name"], Ref.parse(card["source_rows"])),
        "scores": scores,
        "pretraining": pretraining_worth(store, ref, card, scores) if scores else None,
        "path": store.place(str(ref)),
        **_kept(store, card),
    }


def facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the result of :func:`describe` without scores, as names and values for people.

    A name may stand for several lines, and then is empty from the second on.
    """
    lines = [
        ("release", f"{found['release'][:12]}, {_service(found)}"),
        ("created", found["created"]),
        ("rows", f"{found['rows']:,} in the index ({_index(found)}), {_distinct(found)} distinct codes"),
        *([("features", f"kept of {found['kept']:.2%}; other rows are decoded again")] if "kept" in found else []),
        ("codes", f"{found['n_bits']} bits, fingerprint {found['fingerprint'][:12]}{_aligned(found)}"),
        ("encoder", " > ".join(found["layers"])),
        ("source", f"{found['source']['kind']}, {found['source']['path']}"),
        *_backbone_lines(found),
        *reading_lines(found["read"]),
        *([("words", found["words"]["by"])] if found["words"] else []),
        ("lies in", found["path"]),
    ]
    if found["changes"]:
        lines.insert(3, ("since built", _changed(found["changes"])))
    return lines


def _kept(store: Store, card: Mapping[str, Any]) -> dict[str, float]:
    """Return the share of rows whose features are kept; nothing where all are, or the rows are gone."""
    with suppress(StoreError):
        made = store.manifest(Ref.parse(card["source_rows"])).facts
        return {"kept": made["kept"]} if "kept" in made else {}
    return {}


def reading_lines(read: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a run did not read or learn from, and what it guessed, for people.

    Args:
        read: facts as :func:`aepipe.store.reading.facts_of` returns them.

    Returns:
        Names and values; a name is empty where the line belongs to the one before.
    """
    groups = {
        "unreadable": [in_words(fact) for fact in read.get("unreadable", ())],
        "passed over": [in_words(fact) for fact in read.get("passed_over", ())],
        "left out": [f"column {name}: {why}" for name, why in read.get("left_out", {}).items()],
        "guessed": list(read.get("notes", ())),
        "backbone": list(read.get("backbone", ())),
        "words": list(read.get("words", ())),
    }
    lines = [(name if not number else "", text) for name, held in groups.items() for number, text in enumerate(held)]
    listed = read.get("list") if groups["unreadable"] or groups["passed over"] else None
    return [*lines, ("all names", f"`aepipe show --quarantine`, or {listed}")] if listed else lines


def describe_text(found: Mapping[str, Any], room: int | None = None) -> str:
    """Return the result of :func:`describe` as lines for people.

    Args:
        found: the facts.
        room: columns of the terminal that lines and tables are folded to; None folds nothing.
    """
    lines = facts(found)
    if found["promoted"]:
        lines.insert(1, ("why", found["promoted"]["why"]))
    parts = [found["name"], text_table([(f"  {name}", value) for name, value in lines], left=(0, 1))]
    if found["scores"]:
        parts += ["", _indented(scores_text(found["scores"], room and room - 2))]
    if found["pretraining"]:
        parts += ["", f"  {scores_line(found['pretraining'])}"]
    return folded("\n".join(parts), room) if room else "\n".join(parts)


def notes(found: Mapping[str, Any]) -> list[str]:
    """Return the lines below the table of scores: bits, re-ranking, the gain by pretraining."""
    worth = [scores_line(found["pretraining"])] if found["pretraining"] else []
    return [*_below(found["scores"]), *worth]


def scores_text(scores: Mapping[str, Any], room: int | None = None) -> str:
    """Return the table of scores, the protocol above it and the health of the bits below.

    Args:
        scores: as ``scores.json`` has them.
        room: columns of the terminal that lines and table are folded to; None folds nothing.
    """
    if room is None:
        return "\n".join([protocol_line(scores), "", scores_table(scores), "", *_below(scores)])
    parts = ["\n".join(block) for block in blocks(cells(scores), room)]
    texts = [folded(protocol_line(scores), room), *parts, "\n".join(folded(line, room) for line in _below(scores))]
    return "\n\n".join(texts)


def _below(scores: Mapping[str, Any]) -> list[str]:
    return [line for line in (health_line(scores), reranking_line(scores), *scores["notes"]) if line]


def card_of(store: Store, ref: Ref) -> dict[str, Any]:
    """Return ``release.json`` of a release.

    Raises:
        NotFoundError: the store has no such release.
        CorruptError: the file is not what was written.
    """
    card = _read(store.path(ref) / layout.Release.MANIFEST)
    return card | {"name": names.present(store, ref, card["name"])}


def answers_words(store: Store, card: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the kind of words that a release answers, and their source; None for no words.

    Raises:
        CorruptError: their files are damaged.
    """
    if card.get("words"):
        return words.told(store.path(Ref.parse(card["words"])))
    if sources.has_text(str(_recipe(card, "source", "kind"))):
        return {"kind": "documents", "by": "each document by its own"}
    return None


def _backbone_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the network of a release, where its folder has nothing to say of it."""
    named = found["backbone"]
    return [("backbone", Path(named).name)] if named and not found["read"].get("backbone") else []


def layer_names(recipe: Mapping[str, Any]) -> list[str]:
    """Return one short name for each layer, the bits last: ``dense 1024``."""
    return [*(_named(layer["net"]) for layer in recipe.get("layers", ())), f"{recipe.get('code', {}).get('bits')} bits"]


def pretraining_worth(
    store: Store, ref: Ref, card: Mapping[str, Any], scores: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Compare a release with its twin without pretraining, or with it; None where there is none.

    A twin is the newest release of the same rows and the same recipe but for ``pretrain``.
    """
    twin = _twin(store, ref, card)
    if twin is None:
        return None
    theirs = _segment(store, twin[1]["scores"], layout.Scores.SCORES)
    metric = _recipe(card, "gate", "metric") or LABEL_FREE
    metric = metric if _estimate(scores, metric) and _estimate(theirs, metric) else LABEL_FREE
    pair = [_estimate(scores, metric), _estimate(theirs, metric)]
    with_, without = pair if card["recipe"].get("pretrain", True) else pair[::-1]
    return {"metric": metric, "with": with_, "without": without, "compared_with": twin[0].digest}


def scores_line(worth: Mapping[str, Any]) -> str:
    """Return the gain by pretraining as one line."""
    ours, theirs = worth["with"], worth["without"]
    return (
        f"pretraining: {worth['metric']} {ours['value']:.3f} ({ours['low']:.3f} to {ours['high']:.3f}) with it, "
        f"{theirs['value']:.3f} ({theirs['low']:.3f} to {theirs['high']:.3f}) without: "
        f"{ours['value'] - theirs['value']:+.3f}"
    )


def _twin(store: Store, ref: Ref, card: Mapping[str, Any]) -> tuple[Ref, dict[str, Any]] | None:
    """Return the newest release that differs in nothing but ``pretrain`` (and in its name)."""
    for other in reversed(store.refs("release")):
        theirs = card_of(store, other) if other != ref else None
        if theirs and theirs.get("scores") and _control(card) == _control(theirs, flipped=True):
            return other, theirs
    return None


def _control(card: Mapping[str, Any], *, flipped: bool = False) -> tuple[Any, ...]:
    recipe = {key: value for key, value in card["recipe"].items() if key not in {"name", "pretrain"}}
    return recipe, card["recipe"].get("pretrain", True) != flipped, card["source_rows"]


def _last_promoted(store: Store, name: str, ref: Ref) -> registry.Event | None:
    return next((e for e in reversed(registry.history(store, name)) if e.after == ref.digest), None)


def _service(found: Mapping[str, Any]) -> str:
    if found["in_service"]:
        return f"in service since {found['promoted']['when']}" if found["promoted"] else "in service"
    return "not in service"


def _aligned(found: Mapping[str, Any]) -> str:
    if not found["aligned"]:
        return ""
    return f"; {found['aligned']['flips']:.1%} of the bits differ from {found['aligned']['fingerprint'][:12]}'s"


def _index(found: Mapping[str, Any]) -> str:
    """Return the kind of an index, with the number of its shards where it has some."""
    return str(found["index"]) if found["shards"] == 1 else f"{found['index']} in {found['shards']:,} shards"


def _distinct(found: Mapping[str, Any]) -> str:
    """Return how many codes are distinct; of shards that is at most their sum."""
    return f"{'at most ' if found['shards'] > 1 else ''}{found['distinct_codes']:,}"


def _changes(store: Store, card: Mapping[str, Any]) -> dict[str, int] | None:
    """Count rows added and removed since the index was built; None where there are none."""
    if not card.get("changes"):
        return None
    facts = store.manifest(Ref.parse(card["changes"])).facts
    return {"added": facts["added"], "removed": facts["removed"]}


def _changed(changes: Mapping[str, int]) -> str:
    counts = [f"{count:,} {what}" for what, count in changes.items() if count]
    return f"{' and '.join(counts)}; `aepipe compact` folds that in"


def _estimate(scores: Mapping[str, Any], metric: str) -> Mapping[str, float] | None:
    ours: Mapping[str, Any] = next(row["metrics"] for row in scores["rows"] if row["system"] == "ours")
    return ours.get(metric)


def _named(choice: Mapping[str, Any]) -> str:
    options = choice.get("options", {})
    # What is only switched on or off says nothing without its name.
    told = [value for value in _flat(options.values()) if not isinstance(value, bool)]
    return " ".join([str(choice["kind"]), *map(str, told)])


def _flat(values: Iterable[Any]) -> list[Any]:
    return [x for value in values for x in (_flat(value) if isinstance(value, list | tuple) else [value])]


def _recipe(card: Mapping[str, Any], *path: str) -> Any:  # noqa: ANN401  a value of a recipe may be anything
    found: Any = card["recipe"]
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _source_of(card: Mapping[str, Any]) -> str | None:
    """Return the file, folder or address that a release was read from; else the folder of its items."""
    named = _recipe(card, "source", "options", "path")
    whole = isinstance(named, str) and (is_address(named) or os.path.isabs(named))
    return str(named) if whole else card.get("source_path")


def _segment(store: Store, text: str, file: str) -> dict[str, Any]:
    return _read(store.path(Ref.parse(text)) / file)


def _read(file: Path) -> dict[str, Any]:
    """Read a JSON file of the store."""
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise CorruptError(f"{file}: corrupt, not readable ({error}); `aepipe verify` lists what is damaged") from None
    return found


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
