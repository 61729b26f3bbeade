"""``aepipe work``: the jobs of an array."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Aepipe


def test_without_a_run_there_is_no_work(aepipe: Aepipe, tmp_path: Path) -> None:
    found = aepipe("work", "ingest", "--share", "1/2", "--engine", f"array://{tmp_path}")
    assert found.exit_code == 3
    assert "no work for 'ingest'; start `aepipe run RECIPE --engine array://" in found.stderr
    later = aepipe("work", "ingest", "--share", "1/2", "--engine", f"array://{tmp_path}", "--wait", "0.01")
    assert later.exit_code == 3


@pytest.mark.parametrize("share", ["0/3", "4/3", "x", "1/", "1/0", "-1/3", "1/3/5"])
def test_a_share_is_one_of_all(aepipe: Aepipe, tmp_path: Path, share: str) -> None:
    found = aepipe("work", "ingest", f"--share={share}", "--engine", f"array://{tmp_path}")
    assert found.exit_code == 2
    assert "write 1/64 for the first of 64 shares" in found.stderr


def test_other_engines_start_their_own_work(aepipe: Aepipe) -> None:
    found = aepipe("work", "ingest", "--share", "1/2", "--engine", "local")
    assert found.exit_code == 2
    assert "say --engine array:///FOLDER" in found.stderr
