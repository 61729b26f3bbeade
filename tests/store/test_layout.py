"""The layout of a store stands in one file: no other file of the code spells the name of one of its files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from aepipe.codes import encoder
from aepipe.store import layout

ROOT = Path(__file__).parents[2]
OWNERS = {ROOT / "aepipe" / "store" / "layout.py", ROOT / "aepipe" / "codes" / "encoder.py"}
CODE = sorted({*(ROOT / "aepipe").rglob("*.py"), *(ROOT / "flows").rglob("*.py")} - OWNERS)

NOT_OURS = {
    ("aepipe/learn/onnx_export.py", "tokenizer.json"),
    ("aepipe/pipeline/export/systems/opensearch.py", "index.json"),
    ("aepipe/release/fulltext.py", "index"),
}
"""Names that a package gives to its own files, and those of exports and temporary copies, which lie in no store."""


def layout_names() -> set[str]:
    """All names that the groups of the layout hold, and those of the frozen encoder's files."""
    groups = [one for one in vars(layout).values() if isinstance(one, type) and one.__module__ == layout.__name__]
    named = [(name, value) for one in groups for name, value in vars(one).items()]
    held = {value for name, value in named if name.isupper() and isinstance(value, str)}
    return held | {layout.MANIFEST, encoder.GRAPH, encoder.CARD, encoder.DECODER, encoder.FILE}


def spelled(tree: ast.AST, names: set[str]) -> Iterator[tuple[int, str]]:
    """Give line and name of every literal that is a name of the layout.

    A name without a dot is also an ordinary word (``index``, ``work``), so it counts only after the slash of a path.
    """
    for node in ast.walk(tree):
        in_path = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        found = node.right if isinstance(node, ast.BinOp) and in_path else node
        if isinstance(found, ast.Constant) and found.value in names and (in_path or "." in str(found.value)):
            yield found.lineno, str(found.value)


def test_file_names_stand_in_the_layout_only() -> None:
    names = layout_names()
    assert {"release.json", "weights.safetensors", "removed.npy", "encoder.onnx", "service"} <= names
    found = []
    for file in CODE:
        tree, place = ast.parse(file.read_text(encoding="utf-8")), str(file.relative_to(ROOT))
        found += [(place, line, name) for line, name in spelled(tree, names) if (place, name) not in NOT_OURS]
    assert not found


def test_a_spelled_name_is_noticed() -> None:
    code = 'folder / "work"\nname = "release.json"\nstep("work", 1)\nother = "export.parquet"\n'
    assert sorted(set(spelled(ast.parse(code), layout_names()))) == [(1, "work"), (2, "release.json")]
