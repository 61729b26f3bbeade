"""Opening what an index saved; files are mapped, and what does not fit together is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aepipe.disk import REMEDY
from aepipe.errors import CodeError, CorruptError
from aepipe.index.card import CARD
from aepipe.index.postings import Postings
from aepipe.index.rows import RowIndex
from aepipe.index.scan import CODES, Scan


def open_rows(folder: Path) -> RowIndex:
    """Open a saved index; see :func:`aepipe.index.open`."""
    from aepipe.index import kinds, module_of

    card = _card(folder / CARD)
    if card["kind"] not in kinds():
        known = ", ".join(kinds())
        raise CorruptError(f"{folder / CARD}: an index of the unknown kind {card['kind']!r}; this version has {known}")
    try:
        _check_sizes(folder, card["sizes"] if card["schema"] > 2 else {CODES: card["bytes"]})
        scan = Scan.map(folder, card["n_bits"])
        postings = Postings.open(folder, int(card["longest"]), sorted_by_id=card["schema"] > 1)
        found = (len(scan), len(postings.offsets), len(postings))
        if found != (card["codes"], card["codes"] + 1, card["rows"]):
            raise ValueError("its files do not fit one another")
        engine = module_of(card["kind"]).open(folder, scan, postings.offsets, card.get("options", {}))
        return RowIndex(engine, postings, card["fingerprint"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, CodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptError(f"{folder}: corrupt, not a {card['kind']} index ({reason}); {REMEDY}") from None


def _check_sizes(folder: Path, sizes: Mapping[str, int]) -> None:
    """Check that files are at their full length: what is mapped would else be read beyond its end.

    Raises:
        OSError, ValueError: one is missing or is not.
    """
    for name, size in sizes.items():
        found = (folder / name).stat().st_size
        if found != size:
            raise ValueError(f"its files do not fit one another: {name} has {found:,} bytes, not {size:,}")


def _card(file: Path) -> dict[str, Any]:
    """Read the card of an index."""
    try:
        card: dict[str, Any] = json.loads(file.read_bytes())
        card["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{file}: corrupt, not the card of an index ({error}); {REMEDY}") from None
    return card
