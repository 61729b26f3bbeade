"""The page ``contributing/files.md``: every module of the code with the first line of its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

from docs.generate.markdown import inline, table

ROOT = Path(__file__).parents[2]
INTRODUCTION = """\
# Every file

[Architecture](architecture.md) explains how they fit together.
"""


def page() -> str:
    """Return the page: one table for each folder."""
    folders = sorted({file.parent for top in ("aepipe", "flows") for file in (ROOT / top).rglob("*.py")})
    return "\n".join([INTRODUCTION, *(_section(folder) for folder in folders)])


def _section(folder: Path) -> str:
    lines = [[f"`{file.name}`", inline(_first_line(file))] for file in sorted(folder.glob("*.py"))]
    return f"## `{folder.relative_to(ROOT)}/`\n\n" + table(["file", "content"], [one for one in lines if one[1]])


def _first_line(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split())
