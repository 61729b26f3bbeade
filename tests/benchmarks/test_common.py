"""Results of benchmarks: complete as a page needs them, read back, and refused where something is missing."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import common

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in (ROOT / "benchmarks").rglob("*.py")
    if "add_argument(" in file.read_text(encoding="utf-8") and file.name != "common.py"
)
OTHERS = {"growth", "cifar10", "glyphs", "charts", "pages", "object_store", "arm"}
MEASURING = [name for name in PROGRAMS if name.split(".")[-1] not in OTHERS]


def written(file: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write a result, and return what the file holds."""
    common.write(file, rows, ["numpy"], settings={"bits": np.int64(64)})
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_a_result_says_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "new" / "search.json"
    found = written(file, [{"arm": "flat", "ms": np.float32(0.5)}, {"arm": "multihash", "ms": 0.25}])
    assert set(found) == set(common.FIELDS)
    assert (found["name"], found["settings"], found["schema"]) == ("search", {"bits": 64}, common.SCHEMA)
    assert found["rows"] == [{"arm": "flat", "ms": 0.5}, {"arm": "multihash", "ms": 0.25}]
    assert found["versions"]["numpy"] == np.__version__
    assert found["machine"]["cores"] >= 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
    assert found["commit"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", found["commit"])
    assert common.read(file) == found


def test_each_row_has_a_line_of_its_own(tmp_path: Path) -> None:
    written(tmp_path / "one.json", [{"a": 1}, {"a": 2}])
    assert [line for line in (tmp_path / "one.json").read_text().splitlines() if '"a"' in line] == [
        '  {"a": 1},',
        '  {"a": 2}',
    ]


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    common.write(None, [{"a": 1}], [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"date": "yesterday"},
        {"rows": []},
        {"rows": [1]},
        {"machine": {"owner": "me"}},
        {"schema": 2},
        {"commit": 7},
        {"extra": 1},
    ],
)
def test_a_result_that_lacks_something_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    file = tmp_path / "one.json"
    file.write_text(json.dumps(written(file, [{"a": 1}]) | change))
    with pytest.raises(ValueError, match=re.escape(str(file))):
        common.read(file)


def test_the_command_names_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "/home/somebody/codes.npy", "--rows", "5"])
    assert common.command_line().endswith(" codes.npy --rows 5")


def test_options_name_the_file() -> None:
    parser = argparse.ArgumentParser()
    common.add_output(parser, "build")
    assert parser.parse_args([]).json is None
    assert parser.parse_args(["--json", "a.json"]).json == Path("a.json")
    assert parser.parse_args(["--save"]).json == common.RESULTS / "build.json"
    assert parser.parse_args(["--save", "build-64"]).json == common.RESULTS / "build-64.json"


@pytest.mark.parametrize("file", sorted(common.RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_every_result_is_complete_and_written_as_the_writer_does(file: Path) -> None:
    assert common.as_json(common.read(file)) == file.read_text(encoding="utf-8")
    assert common.read(file)["name"] == file.stem


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 18


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_shows_its_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    program = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    assert (program.__doc__ or "").split(".")[0][:40] in " ".join(help_text.split())
    assert ("--save" in help_text) == (name in MEASURING), "what measures can write its figures"


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "benchmarks.pages"])
def test_a_program_says_how_it_is_run(name: str) -> None:
    assert f"python -m {name.removesuffix('.__main__')} " in (importlib.import_module(name).__doc__ or "")


def test_common_needs_numpy_alone() -> None:
    """The benchmark of other systems runs it in environments that have nothing else."""
    spy = "import sys, benchmarks.common; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", spy], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"aepipe", "torch", "faiss", "PIL", "pyarrow", "pandas"} & set(done.stdout.split())
