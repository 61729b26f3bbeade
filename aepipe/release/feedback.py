"""Marks of hits as canaries: queries with hits that must be found, or must not.

A file of the store for each collection, to which lines are only added; of several marks for the same query and hit the
last one counts. An item from outside that was asked with is kept beside it, named by its bytes, so that every later
encoder can be asked it; nothing there is changed or replaced.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError, FullError
from aepipe.release.canaries import Canary
from aepipe.release.release import Release
from aepipe.store import layout
from aepipe.store.artifacts import Store

Verdict = Literal["good", "bad"]
GOOD: Verdict = "good"
WITHIN = 10
"""Nearest rows that are looked at, at least."""
UPLOAD, UPLOADS = 8 << 20, 1 << 30
"""Bytes of an upload that are kept with a mark, and of all those of a collection."""


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
        upload: the file that was asked with, see :func:`keep`; empty where none was, or it was not kept.
    """

    when: str
    hit: str
    verdict: Verdict
    key: str = ""
    code: str = ""
    fingerprint: str = ""
    note: str = ""
    upload: str = ""


def mark(
    release: Release, hit: str, verdict: Verdict, *, key: str = "", code: str = "", note: str = "", upload: str = ""
) -> Mark:
    """Return a mark of now.

    Args:
        release: that was asked.
        hit: key of the row that was found.
        verdict: ``good`` or ``bad``.
        key: of the row that was asked with.
        code: that was asked with, in place of a row.
        note: further words.
        upload: the file whose code it is, as :func:`keep` named it.
    """
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Mark(when, hit, verdict, key, code, release.fingerprint if code else "", note, upload)


def check_code(release: Release, code: str) -> None:
    """Check that a release can be asked a code.

    Raises:
        CodeError: it is not hex, or has another length.
    """
    BitCodes.from_hex([code], release.n_bits, release.fingerprint)


def keep(store: Store, name: str, data: bytes, called: str = "") -> str:
    """Keep an item from outside that was asked with, and return the name of its file.

    Args:
        store: that keeps it.
        name: of the collection.
        data: its bytes, at most :data:`UPLOAD`.
        called: its own name, of which only the ending is kept.

    Raises:
        FullError: the disk is full, or all uploads take more than :data:`UPLOADS`.
        StoreError: this user may not write to the store.
    """
    folder = layout.Root.uploads(name)
    ending = re.search(r"\.[a-z0-9]{1,8}$", called.lower())
    file = hashlib.sha256(data).hexdigest()[:32] + (ending[0] if ending else "")
    kept = store.backend.sizes(folder)
    if file not in kept:
        if sum(kept.values()) + len(data) > UPLOADS:
            raise FullError(f"{name}: the uploads of marks take {UPLOADS >> 30} GiB, and no more are kept")
        store.backend.write(f"{folder}/{file}", data)
    return file


def folder_of(store: Store) -> Path:
    """Return the folder that the files of uploads are named in, as ``NAME/FILE``."""
    return store.backend.file(layout.Root.FEEDBACK)


def add(store: Store, name: str, one: Mark) -> None:
    """Add a mark to those of a collection; it is on the disk when this returns.

    Raises:
        FullError: the disk is full.
        StoreError: this user may not write to the store.
    """
    store.backend.append(layout.Root.feedback(name), json.dumps(asdict(one), ensure_ascii=False))


def marks(store: Store, name: str) -> list[Mark]:
    """Return the marks of a collection, the oldest first; a torn line is skipped."""
    lines = store.backend.lines(layout.Root.feedback(name))
    return [found for line in lines if (found := _mark(line)) is not None]


def canaries_of(store: Store, release: Release) -> list[Canary]:
    """Return the canaries that the marks of a collection stand for.

    They are those that a release can be asked. Marks whose rows are gone are left out, and so are codes that cannot be
    read, and those of another encoder whose items were not kept. At least half of the good hits of a query have to be
    among the first 10, or twice as many as there are, and none of the bad ones. Items are named relative to
    :func:`folder_of`.
    """
    folder, last = folder_of(store), dict[tuple[str, str], dict[str, Verdict]]()
    for one in marks(store, release.name):
        asked = _asked(folder, release, one)
        if asked is not None and release.items.find(one.hit) is not None:
            last.setdefault(asked, {})[one.hit] = one.verdict
    return [_canary(kind, asked, verdicts) for (kind, asked), verdicts in last.items()]


def _asked(folder: Path, release: Release, one: Mark) -> tuple[str, str] | None:
    """Return what a canary asks with, and how that is called there; None where a release cannot be asked it."""
    if one.upload:
        place = f"{release.name}/{one.upload}"
        known = "/" not in one.upload and (folder / place).is_file()
        return ("query", place) if known else None
    if one.key:
        return ("key", one.key) if release.items.find(one.key) is not None else None
    if one.fingerprint not in {"", release.fingerprint}:
        return None
    try:
        check_code(release, one.code)
    except CodeError:
        return None
    return "code", one.code


def as_toml(given: Iterable[Canary]) -> str:
    """Return canaries as a file for ``[gate] canaries``.

    One that names uploads has to lie in :func:`folder_of`.
    """
    blocks = []
    for one in given:
        kind = "key" if one.key is not None else "code" if one.code is not None else "query"
        asked = f"{kind} = {_quoted(one.key or one.code or one.query or '')}"
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
