"""Pipes, sockets and devices are named, and never waited for, wherever a path can come from."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from aepipe import recipe, sources
from aepipe.errors import AepipeError, ItemError, RecipeError, ServiceError, SourceError
from aepipe.learn import impute_file
from aepipe.pipeline.export import system
from aepipe.release import canaries
from aepipe.sources import remote
from aepipe.sources.loader import read_all
from tests.sources.test_sources import open_source, png, put

KINDS = ("images", "audio", "video", "text", "table", "vectors")


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """End a test that waits."""

    def late(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def special(path: Path, sort: str) -> Path:
    """Make a named pipe, a socket, or a link to a device."""
    if sort == "pipe":
        os.mkfifo(path)
    elif sort == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            socket.socket(socket.AF_UNIX).bind(path.name)
        finally:
            os.chdir(here)
    else:
        path.symlink_to("/dev/zero")
    return path


SORTS = ("pipe", "socket", "device")


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", ["a.png", "a.csv", "a.npy", "a.parquet", "a.zip", "a.tar.gz", "a.sqlite", "a.wav"])
def test_as_the_path_of_a_source(name: str, sort: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a named pipe|a socket|a device"):
        open_source(special(tmp_path / name, sort))


@pytest.mark.parametrize("sort", SORTS)
def test_as_a_member_of_a_list(sort: str, tmp_path: Path) -> None:
    put(tmp_path / "a.png", png(1))
    special(tmp_path / "b.png", sort)
    (tmp_path / "list.csv").write_text("image\na.png\nb.png\n")
    reasons = [one.reason for one in read_all(open_source(tmp_path / "list.csv"))]
    assert reasons[0] is None
    assert (
        "not a file" in str(reasons[1]) or "out of the source" in str(reasons[1]) or "cannot be read" in str(reasons[1])
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sort", SORTS)
def test_as_a_question(kind: str, sort: str, tmp_path: Path) -> None:
    path = special(tmp_path / {"vectors": "a.npy", "table": "a.csv", "audio": "a.wav"}.get(kind, "a.bin"), sort)
    with pytest.raises(AepipeError):
        [item.read() for item in sources.query_items(kind, str(path))]


@pytest.mark.parametrize("sort", SORTS)
def test_next_to_items(sort: str, tmp_path: Path) -> None:
    put(tmp_path / "c" / "a.png", png(1))
    for name in ("metadata.csv", "b.zip", "c.png", "train-labels-idx1-ubyte"):
        special(tmp_path / "c" / name, sort)
    assert [one.reason for one in read_all(open_source(tmp_path / "c"))] == [None]


def test_a_pipe_in_place_of_the_log_of_a_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.sqlite") as database:
        database.execute("CREATE TABLE t (image TEXT)")
        database.execute("INSERT INTO t VALUES ('a.png')")
    database.close()
    put(tmp_path / "a.png", png(1))
    for ending in ("-journal", "-wal", "-shm"):
        os.mkfifo(f"{tmp_path / 'a.sqlite'}{ending}")
        with pytest.raises(SourceError, match=f"a.sqlite{ending} next to it is no file"):
            open_source(tmp_path / "a.sqlite")
        os.unlink(f"{tmp_path / 'a.sqlite'}{ending}")


@pytest.mark.parametrize("sort", SORTS)
def test_as_a_recipe_or_a_file_of_canaries(sort: str, tmp_path: Path) -> None:
    path = special(tmp_path / "a.toml", sort)
    for read in (recipe.load, canaries.read):
        with pytest.raises(RecipeError):
            read(path)


@pytest.mark.parametrize("sort", SORTS)
def test_as_an_original_that_is_shown(sort: str, tmp_path: Path) -> None:
    special(tmp_path / "a.png", sort)
    for place in ("a.png", "a.png#3", "a.png#0@0"):
        with pytest.raises(ItemError):
            sources.preview(tmp_path, place)


@pytest.mark.parametrize("sort", SORTS)
def test_as_a_table_whose_holes_are_filled(sort: str, tmp_path: Path) -> None:
    path = special(tmp_path / "a.csv", sort)
    with pytest.raises(SourceError, match=r"a\.csv: a (named pipe|socket|device), not a file"):
        impute_file.fill_file(path, tmp_path / "b.csv")


def test_a_server_that_takes_a_connection_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        assert remote.is_silent(f"http://{host}/health")
        for scheme in ("clickhouse", "qdrant"):
            table: Any = None  # it is not asked for
            with pytest.raises(ServiceError, match=rf"^{scheme}://{host}/x: no answer within"):
                system.opened(f"{scheme}://{host}/x")[1].write(table, [])
        with pytest.raises(AepipeError, match=r"no Prefect server answers there \(nothing within"):
            _check_prefect(f"http://{host}/api")
    assert not remote.is_silent(f"http://{host}/health"), "nobody listens: the driver says so"


def test_a_server_that_answers_is_not_silent() -> None:
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.handle_request).start()
        assert not remote.is_silent(f"http://127.0.0.1:{server.server_port}/missing")


def _check_prefect(url: str) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.schedule import check_server

    with temporary_settings({PREFECT_API_URL: url}):
        check_server()
