"""Turn docstrings and signatures into Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?\.?([^`]+)`")
WORDS = re.compile(r"(?<![\w/.$-])(--?[a-z][a-z-]*|\$?[A-Z]+_[A-Z_]+)(?![\w*])")
"""Options and variables, which stand in a docstring without marks."""


def inline(text: str) -> str:
    """Return the text of a docstring as Markdown: roles, options and variables become code, the rest is escaped."""
    text = ROLE.sub(lambda found: f"`{found[1].removeprefix('aepipe.')}`", text).replace("``", "`")
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def _plain(text: str) -> str:
    escaped = re.sub(r"([*\[\]|])", r"\\\1", text).replace("<", "&lt;")
    return WORDS.sub(r"`\1`", escaped)


def cell(text: str) -> str:
    """Return text for the cell of a table, where a bar would end the cell also inside code."""
    code = re.compile(r"`([^`]*\|[^`]*)`")
    text = code.sub(lambda found: f"<code>{html.escape(found[1]).replace('|', '&#124;')}</code>", text)
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cell(one) for one in row)} |" for row in rows) + "\n"


def fence(text: str, language: str = "text") -> str:
    """Return a block of code."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def prose(text: str) -> str:
    """Return the paragraphs of a docstring; indented blocks, and lines in columns, become blocks of code."""
    blocks = re.split(r"\n\s*\n", text.strip("\n"))
    return "\n".join(_block(block) for block in blocks if block.strip())


def _block(block: str) -> str:
    lines = block.splitlines()
    if lines[0].strip() == "Examples:":
        return "Examples:\n\n" + fence("\n".join(line.removeprefix("  ") for line in lines[1:]))
    if lines[0].startswith("  ") or sum(bool(re.match(r"\S+( \S+)?  +\S", line)) for line in lines) > 1:
        shift = min(len(line) - len(line.lstrip()) for line in lines)
        return fence("\n".join(line[shift:] for line in lines))
    return inline(block) + "\n"
