"""Blocks of code in the pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Block(NamedTuple):
    """One block of code.

    Attributes:
        title: the file that it stands for; empty where it has none.
        text: without the fences.
    """

    title: str
    text: str


def blocks(page: str, language: str = "python") -> Iterator[Block]:
    """Give the blocks of a page of one language, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in re.finditer(rf'^```{language}(?: title="([^"]*)")?\n(.*?)^```', text, re.DOTALL | re.MULTILINE):
        yield Block(found[1] or "", found[2])
