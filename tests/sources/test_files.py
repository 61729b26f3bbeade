"""Readers of the bytes of an item."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aepipe.errors import ItemError
from aepipe.sources import files
from aepipe.sources.files import WholeFile


@pytest.mark.parametrize("size", [0, 1, 4096, 3_000_000])
@pytest.mark.parametrize("at_once", [1000, 1 << 30])
def test_a_file_is_read_to_its_end_in_any_number_of_reads(
    size: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(data := os.urandom(size))
    read = os.read
    monkeypatch.setattr(os, "read", lambda handle, count: read(handle, min(count, at_once)))
    assert WholeFile(str(tmp_path / "a"))("a") == data


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"some")
    look, ours = os.fstat, (tmp_path / "a").stat().st_ino

    def grown_afterwards(handle: int) -> os.stat_result:
        found = look(handle)
        if found.st_ino == ours:  # other threads look at files of theirs
            with (tmp_path / "a").open("ab") as stream:
                stream.write(b" and more")
        return found

    monkeypatch.setattr(os, "fstat", grown_afterwards)
    assert WholeFile(str(tmp_path / "a"))("a") == b"some and more"
    monkeypatch.setattr(files, "MAX_FILE", 20)
    with pytest.raises(ItemError, match="more than"):
        WholeFile(str(tmp_path / "a"))("a")


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ItemError, match="not a file"):
        WholeFile(str(tmp_path / "a.png"))("a.png")
