"""Marks of hits as canaries: queries with hits that must be found, or must not.

A file of the store for each collection, to which lines are only added; of several marks for the same query and hit the
last one counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from aepipe.release.canaries import Canary
from aepipe.release.release import Release
from aepipe.store import layout
from aepipe.store.artifacts import Store
from aepipe.store.io import disk_errors_named
from aepipe.store.registry import append_line

Verdict = Literal["good", "bad"]
GOOD: Verdict = "good"
WITHIN = 10
"""Nearest rows that are looked at, at least."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What somebody said of a hit.

    Attributes:
        when: UTC, ISO 8601.
        hit: key of the row that was found.
        verdict: ``good`` or ``bad``.
        key: of the row that was asked with; empty where a code was.
        code: in hex, that was asked with; empty where a row was.
        fingerprint: of the encoder that made the code.
        note: further words.
    """

    when: str
    hit: str
    verdict: Verdict
    key: str = ""
    code: str = ""
    fingerprint: str = ""
    note: str = ""


def mark(release: Release, hit: str, verdict: Verdict, *, key: str = "", code: str = "", note: str = "") -> Mark:
    """Return a mark of now.

    Args:
        release: that was asked.
        hit: key of the row that was found.
        verdict: ``good`` or ``bad``.
        key: of the row that was asked with.
        code: that was asked with, in place of a row.
        note: further words.
    """
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Mark(when, hit, verdict, key, code, release.fingerprint if code else "", note)


def add(store: Store, name: str, one: Mark) -> None:
    """Add a mark to those of a collection; it is on the disk when this returns.

    Raises:
        FullError: the disk is full.
        StoreError: this user may not write to the store.
    """
    folder = store.root / layout.Root.FEEDBACK
    with disk_errors_named(store.root):
        folder.mkdir(parents=True, exist_ok=True)
        append_line(folder / f"{name}.jsonl", json.dumps(asdict(one), ensure_ascii=False))


def marks(store: Store, name: str) -> list[Mark]:
    """Return the marks of a collection, the oldest first; a torn line is skipped."""
    file = store.root / layout.Root.FEEDBACK / f"{name}.jsonl"
    try:
        lines = file.read_bytes().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    return [found for line in lines if (found := _mark(line)) is not None]


def canaries_of(release: Release, given: Iterable[Mark]) -> list[Canary]:
    """Return the canaries that marks stand for, as far as a release can be asked them.

    Marks whose rows are gone are left out, and so are codes of another encoder. At least half of the good hits of a
    query have to be among the first 10, or twice as many as there are, and none of the bad ones.
    """
    last: dict[tuple[str, str], dict[str, Verdict]] = {}
    for one in given:
        asked = one.key if one.key else one.code
        gone = release.items.find(one.hit) is None or (one.key and release.items.find(one.key) is None)
        if not gone and one.fingerprint in {"", release.fingerprint}:
            last.setdefault(("key" if one.key else "code", asked), {})[one.hit] = one.verdict
    return [_canary(kind, asked, verdicts) for (kind, asked), verdicts in last.items()]


def as_toml(given: Iterable[Canary]) -> str:
    """Return canaries as the file that ``[gate] canaries`` names."""
    blocks = []
    for one in given:
        asked = f"key = {_quoted(one.key)}" if one.key is not None else f"code = {_quoted(one.code or '')}"
        lines = ["[[canary]]", asked]
        lines += [f"hits = [{', '.join(map(_quoted, one.hits))}]"] if one.hits else []
        lines += [f"not_hits = [{', '.join(map(_quoted, one.not_hits))}]"] if one.not_hits else []
        blocks.append("\n".join([*lines, f"within = {one.within}", f"at_least = {one.at_least}"]))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _canary(kind: str, asked: str, verdicts: dict[str, Verdict]) -> Canary:
    good = tuple(hit for hit, verdict in verdicts.items() if verdict == GOOD)
    bad = tuple(hit for hit, verdict in verdicts.items() if verdict != GOOD)
    within, least = max(WITHIN, 2 * len(good)), max(1, math.ceil(len(good) / 2))
    return Canary(**{kind: asked}, hits=good, not_hits=bad, within=within, at_least=least)


def _mark(line: str) -> Mark | None:
    try:
        return Mark(**json.loads(line))
    except (ValueError, TypeError):  # a crash cut the line off
        return None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
