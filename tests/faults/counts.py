"""Counts of the exhaustive tests of faults, and their table for the docs.

``make soak`` leaves its own in ``counts.json``. Where the time was too short for all cases, ``tried`` of ``of`` were
tried, drawn evenly.

python -m tests.faults.counts      prints the table
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
ALL = "AEPIPE_SOAK" in os.environ
"""Whether every combination is tried; otherwise a part of them is, always the same one."""


def keep(test: str, **counts: int | str) -> None:
    """Keep the counts of a test that tried everything; a test of the suite, which tries a part, keeps none."""
    if not ALL:
        return
    found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    found[test] = {"of": counts["tried"], **counts}
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def table() -> str:
    """Return the counts as a table in Markdown."""
    found: dict[str, dict[str, object]] = json.loads(FILE.read_text(encoding="utf-8"))
    lines = ["| what | cases | tried | wrong |", "|---|--:|--:|--:|"]
    for counts in found.values():
        lines.append(f"| {counts['what']} | {counts['of']:,} | {counts['tried']:,} | {counts['wrong']:,} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
