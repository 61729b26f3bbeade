"""``aepipe work``: the jobs of an array."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

import aepipe as package
from aepipe import engines
from aepipe.cli import work
from aepipe.engines import Needs, Part, Work, array
from tests.cli.conftest import Aepipe
from tests.support import part_work


def test_without_a_run_there_is_no_work(aepipe: Aepipe, tmp_path: Path) -> None:
    for stage in ((), ("ingest",)):
        found = aepipe("work", *stage, "--share", "1/2", "--engine", f"array://{tmp_path}", "--wait", "0.01")
        assert found.exit_code == 3
        assert "came; is the folder that of `aepipe run RECIPE --engine array://" in found.stderr
    assert aepipe("work", "nonsense", "--share", "1/2", "--engine", f"array://{tmp_path}").exit_code == 2


def test_a_job_works_on_all_stages_until_the_run_has_ended(
    aepipe: Aepipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array, "STAGES", "tests.support.part_work")
    monkeypatch.setattr(array, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(work, "LOOK_EVERY", 0.01)
    monkeypatch.setenv(engines.VARIABLE, f"array://{tmp_path}/shared")
    parts, seen = [Part(number, "ref") for number in range(5)], list[int]()

    def run() -> None:
        with engines.told_its_end():
            for stage in ("ingest", "encode", "encode"):  # the second encoder, where components are better
                seen.append(len(list(engines.resolve().map(Work(stage, part_work.doubled), parts, Needs()))))
            seen.append(len(list(engines.resolve().map(Work("index", part_work.doubled), [], Needs()))))

    running = threading.Thread(target=run, daemon=True)
    running.start()
    found = aepipe("work", "--share", "1/1", "--wait", "60")
    running.join(60)
    assert seen == [5, 5, 5, 0]
    assert found.exit_code == 0
    assert "15 parts were done here" in found.stdout
    assert array.Array(tmp_path / "shared").stages() == []


@pytest.mark.parametrize("share", ["0/3", "4/3", "x", "1/", "1/0", "-1/3", "1/3/5"])
def test_a_share_is_one_of_all(aepipe: Aepipe, tmp_path: Path, share: str) -> None:
    found = aepipe("work", "ingest", f"--share={share}", "--engine", f"array://{tmp_path}")
    assert found.exit_code == 2
    assert "write 1/64 for the first of 64 shares" in found.stderr


def test_other_engines_start_their_own_work(aepipe: Aepipe) -> None:
    found = aepipe("work", "ingest", "--share", "1/2", "--engine", "local")
    assert found.exit_code == 2
    assert "say --engine array:///FOLDER" in found.stderr


def test_every_stage_that_an_engine_works_on_can_be_named() -> None:
    folder = Path(package.__file__).parent / "pipeline"
    given = {name for file in folder.rglob("*.py") for name in re.findall(r'\bWork\("(\w+)"', file.read_text())}
    assert given == {one.value for one in work.Stage}
