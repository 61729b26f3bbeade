"""``aepipe run -n`` says what a run would do, and writes nothing; -q and -v say less and more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import aepipe as library
from aepipe.cli import run
from aepipe.cli.options import Place
from aepipe.cli.output import set_loudness
from aepipe.errors import QueryError, RecipeError
from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.cli.conftest import Aepipe
from tests.support.samples import write_photos, write_tiny


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures and one file of notes, and no store anywhere."""
    monkeypatch.delenv("AEPIPE_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    write_photos(tmp_path / "photos", count=20)
    (tmp_path / "photos" / "notes.doc.bak").write_bytes(b"\0notes")
    return tmp_path / "photos"


def test_a_dry_run_of_a_folder_writes_nothing(aepipe: Aepipe, photos: Path, tmp_path: Path) -> None:
    before = _names(tmp_path)
    found = aepipe("run", photos, "-n", "--set", "code.bits=16")
    assert found.exit_code == 0, found.stderr
    first, *lines = found.stdout.splitlines()
    assert first == "photos: what a run would do; nothing is written"
    said = {line[:13].strip(): line[13:].strip() for line in lines}
    assert said["recipe"] == "photos.toml, which would be derived and written"
    assert said["kind"] == "images"
    assert said["items"] == f"20 in {photos}"
    assert said["passed over"] == "1 x not a picture (notes.doc.bak)"
    assert "> 16 bits; at most" in said["training"]
    assert said["in service"] == "nothing yet under this name"
    assert said["time"] == "not known before a first run"
    assert said["store"] == str(tmp_path / ".aepipe")
    assert _names(tmp_path) == before


def test_a_dry_run_says_where_processes_have_nothing_to_share_out(aepipe: Aepipe, photos: Path) -> None:
    command = ["run", photos, "-n", "--set", "code.bits=16", "--world", "2"]
    refused = aepipe(*command)
    assert refused.exit_code == 2
    assert "compute.shards: 1, and 2 processes share out the slices of a batch" in refused.stderr
    assert aepipe(*command, "--set", "compute.shards=2").exit_code == 0


def test_a_dry_run_of_a_recipe_knows_what_is_in_service(aepipe: Aepipe, full_store: Store, tmp_path: Path) -> None:
    file = write_tiny(tmp_path, count=6)
    other = aepipe("run", file, "-n", "--name", "pictures")
    assert "pictures: the collection in service under this name was made from" in other.stderr
    said = json.loads(aepipe("run", file, "-n", "--name", "pictures", "--no-promote", "--json").stdout)
    assert (said["name"], said["kind"], said["rows"]) == ("pictures", "images", 6)
    assert said["in_service"] == registry.current(full_store, "pictures").digest  # type: ignore[union-attr]
    assert said["recipe"] == str(file)
    wrong = aepipe("run", file, "-n", "--set", "code.bitz=3")
    assert wrong.exit_code == 2
    assert "code.bitz: unknown key; allowed: bits" in wrong.stderr


def test_what_is_set_is_in_the_derived_recipe_or_said_to_be_for_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"code.bits": 16, "fit.epochs": 1}
    file = run._recipe_for("photos", Place(), None, "images", settings)
    assert "bits = 16  # as asked" in file.read_text()
    assert f"fit.epochs=1: for this run; write it into {file.name} to keep it" in capsys.readouterr().out
    run._recipe_for("photos", Place(), None, None, settings)
    assert "is run as it stands, but for code.bits=16 fit.epochs=1 this time" in capsys.readouterr().out


def test_a_quiet_verb_derives_without_a_word(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    set_loudness(-1)
    try:
        assert run._recipe_for("photos", Place(), None).exists()
    finally:
        set_loudness(0)
    assert capsys.readouterr().out == ""


def test_the_library_takes_a_kind_and_settings(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="unknown kind 'films'"):
        library.run("photos", kind="films")
    with pytest.raises(QueryError, match="no such option of run: kinds"):
        library.run("photos", kinds="images")  # type: ignore[call-arg]
