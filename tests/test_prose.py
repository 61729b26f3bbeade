"""Plain words: the first line of a docstring is short, and free of phrases that have to be read twice.

``python -m tests.test_prose`` lists what has to be rewritten.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = 90
FORBIDDEN = ("what is", "of which", "so many", "anew", "beside", "shelf")
PHRASES = re.compile(r"\b(" + "|".join(FORBIDDEN).replace(" ", r"\s+") + r")\b", re.IGNORECASE)
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def faults() -> Iterator[str]:
    """Give the place of each first line that is too long or has a forbidden phrase, and the line."""
    for top in ("aepipe", "flows"):
        for file in sorted((ROOT / top).rglob("*.py")):
            yield from faults_of(file.read_text(encoding="utf-8"), str(file.relative_to(ROOT)))


def faults_of(source: str, name: str) -> Iterator[str]:
    """Do the same for one file."""
    for node, line in _first_lines(ast.parse(source)):
        if len(line) > LONGEST:
            yield f"{name}:{node}: {len(line)} characters: {line}"
        if found := PHRASES.search(line):
            yield f"{name}:{node}: {found[0]!r}: {line}"


def faults_of_pages() -> Iterator[str]:
    """Give the place of each forbidden phrase in the pages that are written by hand."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        if not text.startswith("<!-- Written by"):
            for found in PHRASES.finditer(text):
                line = text.count("\n", 0, found.start()) + 1
                yield f"{page.relative_to(ROOT)}:{line}: {' '.join(found[0].split())!r}"


def _first_lines(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Give the line and the first sentence line of each docstring of what is public."""
    stack: list[Documented] = [module]
    while stack:
        node = stack.pop()
        if docstring := ast.get_docstring(node):
            yield getattr(node, "lineno", 1), docstring.partition("\n")[0].strip()
        inside = [child for child in node.body if isinstance(child, Documented)]
        stack += [child for child in inside if not child.name.startswith("_")]


def test_first_lines_are_plain() -> None:
    found = list(faults())
    assert not found, f"{len(found)} first lines of docstrings have to be rewritten:\n" + "\n".join(found)


def test_pages_are_plain() -> None:
    found = list(faults_of_pages())
    assert not found, f"{len(found)} phrases in the pages have to be rewritten:\n" + "\n".join(found)


def test_the_rule_finds_what_it_forbids() -> None:
    long = "x" * (LONGEST + 1)
    source = f'"""Say what is in service."""\nclass Open:\n    """{long}"""\n    def _own(self):\n        """Anew."""\n'
    assert [fault.split(": ")[1] for fault in faults_of(source, "f.py")] == ["'what is'", "91 characters"]


def main() -> None:
    """Print all of them."""
    found = [*faults(), *faults_of_pages()]
    sys.stdout.write("\n".join([*found, f"{len(found)} to be rewritten", ""]))


if __name__ == "__main__":
    main()
