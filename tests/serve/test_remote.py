"""A collection behind a service answers as the same collection does on this machine."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import aepipe
from aepipe import errors
from aepipe.cli.app import app
from aepipe.client import asking, wire
from aepipe.client.asking import Asked, blocks
from aepipe.client.wire import Wire
from aepipe.serve import guards
from aepipe.store.artifacts import Store
from tests.serve.conftest import Client, running
from tests.support.releases import pictures_of

ROOT = Path(__file__).parents[2]


def told(*arguments: object, stdin: bytes | None = None) -> Result:
    """Run ``aepipe query``."""
    return CliRunner().invoke(app, ["query", *map(str, arguments)], input=stdin, prog_name="aepipe")


def both(store: Store, address: str, *arguments: object, stdin: bytes | None = None) -> tuple[Result, Result]:
    """Ask a store, and a service over it."""
    here = told(*arguments, "--home", store.root, stdin=stdin)
    return here, told(*arguments, "--server", address, stdin=stdin)


def without_paths(printed: str) -> list[dict[str, Any]]:
    """Return answers in JSON with no ``path``, as a service gives them."""
    found = [json.loads(line) for line in printed.splitlines()]
    for answer in found:
        answer["hits"] = [{**hit, "path": None} for hit in answer["hits"]]
    return found


@pytest.fixture
def address(client: Client, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the service that tests share."""
    for name in ("AEPIPE_SERVER", "AEPIPE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return f"http://127.0.0.1:{client.port}"


@pytest.fixture(scope="module")
def inputs(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of each kind, good and bad."""
    folder = tmp_path_factory.mktemp("asked")
    (folder / "some").mkdir()
    for number, file in enumerate(sorted(pictures_of(store).rglob("*.png"))[:20]):
        (folder / "some" / f'pic "{number:02}", é.png').write_bytes(file.read_bytes())
    (folder / "bad.png").write_bytes(b"no picture: at all")
    (folder / "letter.txt").write_text("the pilot of the freighter in the harbour")
    (folder / "more.jsonl").write_text('{"age": 41, "job": "pilot"}\n{"age": 22.5, "job": null}\n')
    np.save(folder / "three.npy", np.random.default_rng(1).normal(size=(3, 12)))
    np.save(folder / "wide.npy", np.zeros(5))
    return folder


QUESTIONS: dict[str, tuple[str, ...]] = {
    "rows": ("--name", "pictures", "--id", "3", "--key", "{key}", "--id", "5", "--others", "--distinct"),
    "code": ("--name", "pictures", "--code", "{code}", "-k", "4", "--fast"),
    "folder": ("--name", "pictures", "{in}/some", "-k", "3"),
    "first bits": ("--name", "pictures", "--id", "3", "--bits", "16"),
    "radius": ("--name", "pictures", "--id", "3", "--radius", "30"),
    "condition": ("--name", "pictures", "--id", "3", "--where", "id < 20", "--oversample", "3"),
    "no row": ("--name", "pictures", "--id", "3", "--where", "id < 0"),
    "unreadable": ("--name", "pictures", "{in}/bad.png", "{in}/some", "-k", "1"),
    "only unreadable": ("--name", "pictures", "{in}/bad.png"),
    "words": ("--name", "docs", "bread from the oven", "-k", "3"),
    "document": ("--name", "docs", "{in}/letter.txt", "-k", "3"),
    "row": ("--name", "people", "--row", '{"age": 41}', "-k", "3"),
    "misspelt row": ("--name", "people", "--row", '{"agee": 41}', "--row", '{"age": 41}', "-k", "1"),
    "not a row": ("--name", "people", "--row", "{broken", "-k", "3"),
    "table": ("--name", "people", "{in}/more.jsonl", "-k", "2"),
    "row of pictures": ("--name", "pictures", "--row", '{"age": 41}'),
    "vectors": ("--name", "vectors", "{in}/three.npy", "-k", "2"),
    "list": ("--name", "vectors", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]", "-k", "2"),
    "wide vector": ("--name", "vectors", "{in}/wide.npy"),
    "no such file": ("--name", "pictures", "{in}/gone.png"),
    "no such id": ("--name", "pictures", "--id", "3", "--id", "999"),
    "no such key": ("--name", "pictures", "--key", "gone.png"),
    "code of another length": ("--name", "pictures", "--code", "00"),
    "too many bits": ("--name", "pictures", "--id", "3", "--bits", "640"),
    "nothing": ("--name", "pictures"),
}


FORMS = ("--json", "--format=csv", "--format=table", "--format=markdown", "--paths-only")
IN_ALL_FORMS = ("rows", "folder", "unreadable", "words", "table")


@pytest.mark.parametrize(
    ("question", "form"),
    [(one, form) for one in QUESTIONS for form in FORMS if form == FORMS[0] or one in IN_ALL_FORMS],
)
def test_answers_are_those_of_the_store(store: Store, address: str, inputs: Path, question: str, form: str) -> None:
    (row,) = aepipe.open(store.root, "pictures").release.describe([7])
    code = aepipe.open(store.root, "pictures").release.codes_of([7]).hex()[0]
    known = {"{in}": str(inputs), "{key}": row.key, "{code}": code}
    arguments = list(QUESTIONS[question])
    for mark, value in known.items():
        arguments = [one.replace(mark, value) for one in arguments]
    if form == "--paths-only":
        here = told(*arguments, "--json", "--home", store.root)
        keys = [hit["key"] for line in here.stdout.splitlines() for hit in json.loads(line)["hits"]]
        assert told(*arguments, form, "--server", address).stdout.splitlines() == keys
        return
    form = "--format=csv --columns=rank,key,label,distance,cosine" if form == "--format=csv" else form
    here, there = both(store, address, *arguments, *form.split())
    assert (there.exit_code, there.stderr) == (here.exit_code, here.stderr)
    if form == "--json":
        assert without_paths(there.stdout) == without_paths(here.stdout)
        assert '"path": "' not in there.stdout
    else:
        assert there.stdout == here.stdout


def test_stdin_is_read_here(store: Store, address: str, inputs: Path) -> None:
    given = next((inputs / "some").iterdir()).read_bytes()
    here, there = both(store, address, "-", "--json", "--name", "pictures", stdin=given)
    assert without_paths(there.stdout) == without_paths(here.stdout)
    assert here.exit_code == 0


def test_all_columns_of_the_source_are_named(store: Store, address: str) -> None:
    for name in ("people", "docs"):
        here, there = both(store, address, "--id", "1", "--format=csv", "--name", name)
        assert there.stdout.splitlines()[0] == here.stdout.splitlines()[0]
    here, there = both(store, address, "--id", "1", "--columns", "job,nothing", "--name", "people")
    assert (there.exit_code, there.stderr) == (here.exit_code, here.stderr)


def test_the_environment_names_the_service(address: str, monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setenv("AEPIPE_SERVER", address)
    assert told("--id", "3", "--name", "pictures", "--json").exit_code == 0
    here = told("--id", "3", "--name", "pictures", "--json", "--home", store.root)
    assert '"path": "' in here.stdout, "a store that is named is asked"
    found = told("--id", "3", "--server", address, "--home", store.root)
    assert found.exit_code == errors.WRONG_USE
    assert "--home" in found.stderr
    assert "choose one with --name: docs, people, pictures, vectors" in told("--id", "3").stderr
    assert "no collection 'gone' here" in told("--id", "3", "--name", "gone").stderr


@pytest.mark.parametrize("asked", [("--id", "3"), ("--key", "{key}"), ("{file}",), ("--code", "{code}")])
def test_pictures_are_drawn_over_the_network(
    store: Store, address: str, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    local = aepipe.open(store.root, "pictures")
    file = str(sorted(pictures_of(store).rglob("*.png"))[0])
    named = {"file": file, "key": local.release.describe([3])[0].key, "code": local.encode(file).hex()[0]}
    given = [one.format(**named) for one in asked]
    sheets = []
    for way, place in (("here", ("--home", store.root)), ("there", ("--server", address))):
        sheet = tmp_path / f"{way}.png"
        found = told(*given, "--name", "pictures", "--picture", sheet, *place)
        assert found.exit_code == 0, found.stderr
        sheets.append(np.asarray(Image.open(sheet).convert("L"), np.int16))
    assert sheets[0].shape == sheets[1].shape
    # Thumbnails are JPEG, and a row that is asked by its key is not looked up once more.
    unlike = np.abs(sheets[0] - sheets[1]) > 40
    assert unlike.mean() < (0.1 if asked[0] == "--key" else 0.01)


def test_thumbnails_are_shown_over_the_network(address: str) -> None:
    shown = told("--id", "3", "--name", "pictures", "--server", address, "--thumbnails").stdout
    assert "▀" in shown or "▄" in shown


def test_python_asks_a_service_as_a_store(store: Store, address: str, inputs: Path) -> None:
    there, here = aepipe.connect(address, "pictures"), aepipe.open(store.root, "pictures")
    assert (there.name, there.n_bits, there.fingerprint, len(there)) == ("pictures", here.n_bits, here.fingerprint, 60)
    assert there.scores == here.scores
    assert address in repr(there)
    file = next((inputs / "some").iterdir())
    with Image.open(file) as picture:
        things: list[Any] = [file, file.read_bytes(), picture.copy(), np.asarray(picture)]
    assert repr(there.query(*things, k=3)) == repr(here.query(*things, k=3))
    assert there.query(*things, k=3).to_pandas().equals(here.query(*things, k=3).to_pandas())
    codes = there.encode(*things)
    assert codes.hex() == here.encode(*things).hex()
    assert codes.fingerprint == here.fingerprint
    assert [hit.row.id for hit in there.query(codes=codes, where="id < 9").hits] == [
        hit.row.id for hit in here.query(codes=codes, where="id < 9").hits
    ]
    assert there.query(ids=[3], bits=16).answers[0].question.code is not None
    people = aepipe.connect(address, "people")
    assert (
        people.query({"age": 41}, k=1).hits[0].distance
        == aepipe.open(store.root, "people").query({"age": 41}, k=1).hits[0].distance
    )


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"ids": [3], "where": np.arange(3)}, errors.QueryError, "condition in SQL"),
        ({"ids": [3], "k": 5000}, errors.QueryError, "at most 1,000"),
        ({"ids": [3], "colour": 1}, errors.QueryError, "no option"),
        ({"ids": [3], "where": "nothing = 1"}, errors.QueryError, "nothing"),
        ({"ids": [3], "radius": -1}, errors.QueryError, "radius"),
        ({}, errors.QueryError, "nothing is asked"),
    ],
)
def test_wrong_questions_are_refused(address: str, given: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        aepipe.connect(address, "pictures").query(**given)


def test_things_that_cannot_be_asked_are_errors_of_ours(store: Store, address: str, inputs: Path) -> None:
    pictures = aepipe.connect(address, "pictures")
    with pytest.raises(errors.ItemError) as caught:
        pictures.query(inputs / "bad.png")
    assert caught.value.key == str(inputs / "bad.png")
    with pytest.raises(errors.ItemError, match=r"bad\.png"):
        pictures.encode(inputs / "bad.png", next((inputs / "some").iterdir()))
    with pytest.raises(errors.QueryError, match="nothing is given"):
        pictures.encode()
    with pytest.raises(errors.FingerprintError):
        pictures.query(codes=aepipe.open(store.root, "docs").encode("bread from the oven"))
    with pytest.raises(errors.ItemError, match="not a vector"):
        aepipe.connect(address, "vectors").query(b"abc")


def test_a_socket_and_a_token(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEPIPE_TOKEN", raising=False)
    with running(store, names=("pictures",), token_file=tmp_path / "tokens", uds=tmp_path / "s.sock") as found:
        assert found.service.tokens is not None
        token, address = found.service.tokens.of["read"], f"unix:{tmp_path}/s.sock"
        with pytest.raises(errors.QueryError, match="AEPIPE_TOKEN"):
            aepipe.connect(address)
        with pytest.raises(errors.QueryError, match=r"the token is wrong.*; give the right one in \$AEPIPE_TOKEN"):
            aepipe.connect(address, token="wrong")
        assert aepipe.connect(f"{address}#token={token}").name == "pictures"
        assert token not in repr(aepipe.connect(address, token=token))
        monkeypatch.setenv("AEPIPE_TOKEN", token)
        assert told("--id", "3", "--json", "--server", address).exit_code == 0


def test_a_connection_that_was_closed_is_opened_again(address: str) -> None:
    way = Wire(address)
    first = way.get("/v1/collections")
    assert way._connection is not None
    assert way._connection.sock is not None
    way._connection.sock.shutdown(socket.SHUT_RDWR)
    assert way.get("/v1/collections") == first


def test_large_questions_go_in_several_requests() -> None:
    files = [Asked(f"{number}.png", "bytes", b"x") for number in range(40)]
    rows = [Asked("id 3", "id", 3)]
    broken = [Asked("bad", "bytes", b"", errors.ItemError("bad", "no picture"))] * 2
    found = [len(block) for block in blocks([*rows, *files, *broken, *rows])]
    assert found == [1, 16, 16, 8, 1, 1, 1]
    heavy = [Asked("a", "bytes", bytes(asking.LARGEST["form"]))] * 3
    assert [len(block) for block in blocks(heavy)] == [1, 1, 1]


@pytest.mark.parametrize("wrong", ["search.org:80", "ftp://here/", "http://", "unix:here", "http://a:port/", ""])
def test_an_address_is_a_url(wrong: str) -> None:
    with pytest.raises(errors.QueryError, match="is no address of a service"):
        Wire(wrong)


def test_nothing_answers(tmp_path: Path) -> None:
    for nowhere in ("http://127.0.0.1:9", f"unix:{tmp_path}/none.sock"):
        found = told("--id", "3", "--server", nowhere)
        assert found.exit_code == errors.UNABLE
        assert nowhere in found.stderr
        assert "`aepipe serve` starts a service" in found.stderr


class Odd(http.server.BaseHTTPRequestHandler):
    """Answers as no service does."""

    def do_GET(self) -> None:
        if "slow" in self.path:
            self.server.shutting.wait(60)  # type: ignore[attr-defined]
        status, _, kind = self.path.split("/")[1].partition("-")
        self.send_response(int(status))
        self.send_header("Content-Type", "application/problem+json" if kind == "problem" else "text/html")
        self.send_header("Location", "https://elsewhere/")
        body = json.dumps({"type": "urn:aepipe:overloaded", "detail": "all threads are busy"}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def odd() -> Iterator[str]:
    """The address of such a server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    server.shutting = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutting.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_what_is_no_service_is_said(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        "502": "502 Bad Gateway: no service of aepipe answers there",
        "301": "has moved, give this address: https://elsewhere/",
        "503-problem": "all threads are busy",
        "200-slow": "no answer within",
    }
    for prefix, said in expected.items():
        monkeypatch.setattr(wire, "SECONDS", 0.2 if "slow" in prefix else 60)
        with pytest.raises(errors.ServiceError, match=said):
            aepipe.connect(f"{odd}/{prefix}", "pictures")


def test_a_query_over_the_network_loads_no_engine(address: str, inputs: Path) -> None:
    file = next((inputs / "some").iterdir())
    script = f"""
import sys
sys.argv = ["aepipe", "query", "--id", "3", {str(file)!r}, "-k", "1", "--json", "--name", "pictures"]
from aepipe.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = ("faiss", "onnxruntime", "torch", "pyarrow", "pandas", "msgspec", "starlette", "uvicorn", "pydantic")
print([name for name in heavy if name in sys.modules])
"""
    command = [sys.executable, "-c", script]
    found = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT), "AEPIPE_SERVER": address}, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "[]"


def test_a_file_that_is_too_large_is_one_that_cannot_be_read(
    store: Store, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "DRAINED", 1 << 20)
    good = sorted((inputs / "some").iterdir())[:3]
    most = max(len(file.read_bytes()) for file in good) + 1000  # so all of them together are too large
    large = [tmp_path / "1.png", tmp_path / "2.png"]  # the one is read to its end, at the other the service hangs up
    for file, size in zip(large, (1 << 19, 24 << 20), strict=True):
        file.write_bytes(bytes(size))
    with running(store, names=("pictures",), max_upload=most) as found:
        remote = aepipe.connect(f"http://127.0.0.1:{found.port}")
        answers = list(remote.answers(good[0], *large, *good[1:], k=1))
        failures = [one.question.failure for one in answers]
        assert [one is None for one in failures] == [True, False, False, True, True]
        assert all("larger than the service takes" in str(one) for one in failures[1:3])
        assert str(failures[2]).startswith(str(large[1]))
        assert len(remote.encode(*good)) == 3
