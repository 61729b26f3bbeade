"""``aepipe run`` as users start it: in its own process, with its own Prefect server."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from click import Choice

from aepipe.cli import run
from aepipe.cli.app import run_command
from aepipe.cli.options import Place
from aepipe.cli.prefect import resumable
from aepipe.errors import INTERRUPTED, TERMINATED, ExtraError, RecipeError, StoreError, UnclearError
from aepipe.pipeline import suggest
from aepipe.store.artifacts import Store
from flows import catalog, local_server
from tests.support.samples import write_photos, write_tiny

ROOT = Path(__file__).parents[2]
OURS = re.compile(r" +\d+\.\d s  \S")
"""A line of progress."""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """``start("run", "tiny.toml")`` starts ``aepipe`` in the test's folder, without Prefect's home."""
    (tmp_path / "home").mkdir()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AEPIPE"))}
    environment = inherited | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home"), "TERM": "dumb"}
    environment["OMP_NUM_THREADS"] = "1"  # on a busy machine, threads wait for each other at every step

    def process(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "aepipe", *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return process


@pytest.fixture
def own_environment(prefect: None) -> Iterator[None]:
    """The environment of a user without Prefect and without a store; Prefect has read that of the tests before."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("PREFECT", "AEPIPE")):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


def finished(process: subprocess.Popen[str]) -> tuple[int, list[str], list[str]]:
    """Wait for the end; exit status, and the lines of stdout and stderr."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out.splitlines(), err.splitlines()


def servers(home: Path) -> list[int]:
    """Return the processes that work with a folder as their Prefect home."""
    wanted = f"PREFECT_HOME={home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found += [int(folder.name)] if wanted in (folder / "environ").read_bytes().split(b"\0") else []
        except OSError:
            continue
    return found


def test_from_a_folder_of_pictures_to_a_release_and_a_refusal(start: Start, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", count=80)
    status, out, err = finished(start("run", "photos"))
    assert status == 0, err
    assert "# Derived from 80 images, of which 80 were looked at. Yours to change." in out
    place = out.index("photos: 80 items can be asked")
    assert any(line.startswith("Of the 10") and "training did not see" in line for line in out[place:])
    assert not any("map_at_1000" in line for line in out), "figures are behind show and evaluate"
    tries = [shlex.split(line) for line in out[out.index("Try next:", place) + 1 :]]
    assert [words[:2] for words in tries] == [["aepipe", "query"], ["aepipe", "show"], ["aepipe", "evaluate"]]
    assert (tmp_path / tries[0][2]).is_file()
    assert all(OURS.match(line) for line in err), err
    assert any("release" in line and "is in service" in line for line in err)
    assert not list((tmp_path / "home").iterdir()), "the user's home is none of our business"
    assert not servers(tmp_path / ".aepipe" / "prefect")

    recipe = tmp_path / "photos.toml"
    changed = re.sub(r"epochs = \d+", "epochs = 1", recipe.read_text()).replace("bits = 64", "bits = 1")
    assert "[gate]" not in changed
    recipe.write_text(f"{changed}\n[gate]\nmin_overlap = 1.0\n")  # one bit keeps no neighbours, whatever it learns
    status, out, err = finished(start("run", "photos"))  # finds the recipe that it wrote
    assert status == 1
    assert out == ["photos.toml: is a recipe for photos already, and is run as it stands"]
    assert err[-1].startswith("aepipe: photos: the gate refuses release ")
    assert all(OURS.match(line) for line in err[:-1]), err


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to see which processes there are")
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_server(
    start: Start, prefect_home: Callable[[Path], Path], tmp_path: Path, way: signal.Signals
) -> None:
    home = prefect_home(tmp_path / ".aepipe" / "prefect")
    write_tiny(tmp_path, epochs=100_000, count=60)
    process = start("run", "tiny.toml")
    assert process.stderr is not None
    seen: list[str] = []
    while not (seen and "layer 1" in seen[-1]):
        seen.append(process.stderr.readline())
        assert seen[-1], seen
    assert servers(home)
    os.killpg(process.pid, way)
    status, _, err = finished(process)
    if way == signal.SIGINT:
        assert status == 130
        assert err[-1] == "aepipe: stopped; finished work is kept, and the same command continues from there"
        assert all(OURS.match(line) for line in err[:-1]), err
    until = time.monotonic() + 120
    while servers(home):
        assert time.monotonic() < until, "the server outlives the run"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("way", "ends", "said"),
    [(signal.SIGTERM, typer.Exit, "ended by SIGTERM"), (signal.SIGINT, KeyboardInterrupt, "stopped")],
)
def test_a_signal_is_said_with_what_is_kept(
    capsys: pytest.CaptureFixture[str], way: signal.Signals, ends: type[BaseException], said: str
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    @resumable()
    def killed() -> None:
        os.kill(os.getpid(), way)
        time.sleep(10)

    with pytest.raises(ends) as ended:
        killed()
    assert getattr(ended.value, "exit_code", INTERRUPTED) == (TERMINATED if way == signal.SIGTERM else INTERRUPTED)
    assert (
        capsys.readouterr().err == f"aepipe: {said}; finished work is kept, and the same command continues from there\n"
    )
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere"], "nowhere: there is no such file or folder; recipes that come along: cifar10"),
        (["run", "tiny.toml", "--api", "http://127.0.0.1:9/api"], "http://127.0.0.1:9/api: no Prefect server answers"),
        (["refresh"], "no release is in service"),
        (["schedule", "tiny.toml"], "prefect server start --host 127.0.0.1"),
    ],
)
def test_mistakes_are_one_line(start: Start, tmp_path: Path, arguments: list[str], said: str) -> None:
    write_tiny(tmp_path, count=3)
    status, out, err = finished(start(*arguments))
    assert (status, out, len(err)) == (2, [], 1), err
    assert said in err[0]


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "tiny.toml", "--source", "/nowhere"], "/nowhere"),
        (["schedule", "tiny.toml", "--cron", "at noon"], "--cron 'at noon': not five fields"),
        (["schedule", "tiny.toml", "--timezone", "Mars/Tharsis"], "--timezone Mars/Tharsis: no such time zone"),
    ],
)
def test_mistakes_that_are_found_before_a_server_is_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    """The same in this process, as these need nothing of their own."""
    write_tiny(tmp_path, count=3)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_command(arguments)
    out, err = capfd.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1), err
    assert said in err


def test_a_derived_recipe_never_replaces_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos", count=10)
    Path("photos.toml").write_text('name = "mine"\n')
    with pytest.raises(RecipeError, match=r"photos\.toml: is a recipe for something else.*--save FILE"):
        run._recipe_for("photos", Place("photos", tmp_path / "store"), None)
    assert Path("photos.toml").read_text() == 'name = "mine"\n'
    clothes = Place("clothes", tmp_path / "store")
    chosen = run._recipe_for("photos", clothes, None)
    assert chosen == tmp_path / "clothes.toml"
    chosen.write_text(chosen.read_text() + "# changed\n")
    assert run._recipe_for(str(tmp_path / "photos"), clothes, None) == chosen
    assert "# changed" in chosen.read_text()


def test_a_name_that_a_recipe_here_has_goes_to_no_other_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    anywhere = Place(None, tmp_path / "store")
    for year in ("photos/2024", "scans/2024"):
        write_photos(tmp_path / year, count=10)
    assert run._recipe_for("photos/2024", anywhere, None) == tmp_path / "2024.toml"
    assert "another collection" not in capsys.readouterr().out
    assert run._recipe_for("scans/2024", anywhere, None) == tmp_path / "scans-2024.toml"
    said = capsys.readouterr().out
    assert "scans/2024: 2024 is the name of another collection, so this one is called scans-2024\n" in said
    assert run._recipe_for("scans/2024/", anywhere, None) == tmp_path / "scans-2024.toml"
    assert run._recipe_for("photos/2024", anywhere, None) == tmp_path / "2024.toml"


def test_of_two_runs_at_once_the_slower_one_takes_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for year in ("photos/2024", "scans/2024"):
        write_photos(tmp_path / year, count=10)
    derived = suggest.suggest

    def slow(path: str, **given: Any) -> Any:
        found = derived(path, **given)
        monkeypatch.setattr(suggest, "suggest", derived)
        catalog.recipe_for("photos/2024")
        return found

    monkeypatch.setattr(suggest, "suggest", slow)
    assert catalog.recipe_for("scans/2024").file == Path("scans-2024.toml")
    assert 'path = "photos/2024"' in Path("2024.toml").read_text()
    assert 'path = "scans/2024"' in Path("scans-2024.toml").read_text()


def test_a_recipe_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", count=10)
    with pytest.raises(StoreError, match=r"no/x\.toml: there is no folder"):
        catalog.recipe_for(str(tmp_path / "photos"), save=tmp_path / "no" / "x.toml")


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="no folder, so it cannot be a store; name another with --home"):
            Store(root).create()


def test_several_kinds_are_asked_about_on_a_terminal_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "both", count=10)
    for number in range(10):
        (tmp_path / "both" / f"text{number}.txt").write_text("Some words about boats and the sea, in a row. " * 3)
    with pytest.raises(UnclearError, match="--kind images or --kind text"):
        run._recipe_for("both", Place(None, tmp_path / "store"), None)
    assert not Path("both.toml").exists()
    asked: list[list[str]] = []

    def answer(_: str, *, type: Choice[str]) -> str:
        asked.append(list(type.choices))
        return "text"

    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", answer)
    assert 'kind = "text"' in run._recipe_for("both", Place(None, tmp_path / "store"), None).read_text()
    assert asked == [["images", "text"]]
    assert "both: 20 of 20 files looked at: 10 x images; 10 x text" in capsys.readouterr().out


def test_without_prefect_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_server, "find_spec", lambda name: None)
    with (
        pytest.raises(ExtraError, match="prefect is not installed: pip install 'aepipe\\[flows\\]'"),
        local_server.session(Store(tmp_path / "store")),
    ):
        pass
    assert not (tmp_path / "store").exists()


def test_a_recipe_that_cannot_be_written_is_named_before_the_items_are_read(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"x\.toml: there is no folder .*/no; make it first"):
        run._recipe_for(str(tmp_path), Place(None, tmp_path / "store"), tmp_path / "no" / "x.toml")
