"""What docs/contributing/extending.md adds works: in a copy of the project, where all of it is put in place."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks

PAGE = "docs/contributing/extending.md"
SCRIPT = Path(__file__).with_name("extended.py")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and of what tests are made of, with every example of the page in its place."""
    clone = tmp_path_factory.mktemp("extended")
    for folder in ("aepipe", "flows", "tests"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for block in blocks(PAGE):
        name, _, table = block.title.partition(": ")
        file = clone / name
        if table:
            file.write_text(_inserted(file.read_text(encoding="utf-8"), table, block.text), encoding="utf-8")
        elif file.exists():
            file.write_text(file.read_text(encoding="utf-8") + "\n\n" + block.text, encoding="utf-8")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            (file.parent / "__init__.py").touch()
            file.write_text(block.text, encoding="utf-8")
    return clone


def _inserted(text: str, table: str, lines: str) -> str:
    """Return a module with lines at the beginning of a table; a class that the page adds stands before it."""
    found, count = re.subn(rf"^({table}\b[^=\n]*= *[^\n]*[{{(\[])$", rf"\1\n{lines.rstrip()}", text, flags=re.MULTILINE)
    assert count == 1, f"there is no table {table}"
    return found


def _python(clone: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
