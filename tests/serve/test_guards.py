"""Who may ask and what: hosts, other pages, tokens, paths in questions, sizes, time, and load."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import stat
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import aepipe
from aepipe.errors import QueryError, ServiceError
from aepipe.release.filter import ids_where
from aepipe.serve import conditions, guards, metrics, plans, pool, server
from aepipe.serve.problems import OverloadedError, TooSlowError, words_of
from aepipe.serve.requests import Options
from aepipe.serve.settings import Settings
from aepipe.serve.tokens import Tokens
from aepipe.store.artifacts import Store
from tests.serve.conftest import Client, running

ONE = "/v1/collections/pictures"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.", "evil.example:80"])
def test_only_its_own_names_are_answered(client: Client, host: str) -> None:
    assert client.ask("GET", "/v1/collections", headers={"Host": host}).status == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8477", "[::1]:80", "LOCALHOST"])
def test_its_names_may_have_a_port(client: Client, host: str) -> None:
    assert client.ask("GET", "/v1/collections", headers={"Host": host}).status == 200


def test_pages_of_other_sites_get_nothing(client: Client) -> None:
    for site in ("cross-site", "same-site"):
        assert client.ask("GET", f"{ONE}/items", headers={"Sec-Fetch-Site": site}).status == 403
        headers = {"Sec-Fetch-Site": site, "Content-Type": "text/plain"}
        assert client.ask("POST", f"{ONE}/search", b"x", headers).status == 403
    origin = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    assert client.ask("POST", f"{ONE}/search", b"x", origin).status == 403
    assert client.ask("GET", f"{ONE}/items", headers={"Sec-Fetch-Site": "same-origin"}).status == 200
    assert client.get(f"{ONE}/items/1/thumb").headers["cross-origin-resource-policy"] == "same-origin"


def test_named_origins_may_ask(store: Store) -> None:
    origin = {"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}
    with running(store, cors=("https://friend.example",)) as client:
        found = client.ask("GET", f"{ONE}/items", headers=origin)
        assert (found.status, found.headers["access-control-allow-origin"]) == (200, "https://friend.example")
        asked = client.ask("OPTIONS", f"{ONE}/search", headers={**origin, "Access-Control-Request-Method": "POST"})
        assert asked.status == 204
        assert client.ask("GET", f"{ONE}/items", headers={**origin, "Origin": "https://evil.example"}).status == 403


def test_tokens_are_asked_for_and_traded_for_a_cookie(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    tokens = Tokens.at(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with running(store, token_file=file, write=True) as client:
        assert client.get("/v1/collections").status == 401
        assert client.get("/livez").status == client.get("/readyz").status == 200
        assert client.get("/v1/collections", {"Authorization": "Bearer wrong"}).status == 401
        reader = {"Authorization": f"Bearer {tokens.of['read']}"}
        writer = {"Authorization": f"Bearer {tokens.of['write']}"}
        assert client.get("/v1/collections", reader).status == 200
        assert client.post(f"{ONE}/remove", {"ids": [1], "dry_run": True}, reader).status == 403
        assert client.post(f"{ONE}/remove", {"ids": [1], "dry_run": True}, writer).status == 200
        answer = client.post("/v1/session", {"token": tokens.of["read"]})
        cookie = answer.headers["set-cookie"]
        assert answer.status == 204
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        held = {"Cookie": cookie.partition(";")[0]}
        assert client.get("/v1/collections", held).status == 200
        assert client.get("/v1/collections", {"Cookie": held["Cookie"][:-1] + "0"}).status in {200, 401}
        assert client.get("/v1/collections", {"Cookie": "aepipe=write.9999999999.00"}).status == 401
        tries = [client.post("/v1/session", {"token": "guess"}).status for _ in range(4)]
        assert 429 in tries
    assert Tokens.at(file) == tokens


def test_tokens_that_others_can_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    Tokens.at(file)
    file.chmod(0o644)
    with pytest.raises(QueryError, match="chmod 600"):
        Tokens.at(file)
    file.chmod(0o600)
    file.write_text("read short\n")
    with pytest.raises(QueryError, match="two lines"):
        Tokens.at(file)


def test_addresses_of_the_network_need_tokens() -> None:
    with pytest.raises(QueryError, match="--token-file"):
        server.bound(Settings(host="0.0.0.0", port=0))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(QueryError, match="cannot be listened on"):
            server.bound(Settings(port=taken.getsockname()[1]))


def test_answers_do_not_wait_for_an_acknowledgement(client: Client) -> None:
    line = http.client.HTTPConnection("127.0.0.1", client.port)

    def seconds() -> float:
        begun = time.perf_counter()
        line.request("GET", f"{ONE}/items/1")
        assert line.getresponse().read()
        return time.perf_counter() - begun

    assert any(seconds() < 0.03 for _ in range(200)), (
        "each answer comes 40 ms late where small packets wait for each other"
    )
    line.close()


def test_an_answer_is_one_packet(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as line:
        for path in ("/livez", f"{ONE}/search?id=3"):
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head, _, body = line.recv(1 << 16).partition(b"\r\n\r\n")
            assert f"content-length: {len(body)}\r\n".encode() in head + b"\r\n"


def test_a_socket_file_is_listened_on_and_removed(store: Store, tmp_path: Path) -> None:
    settings = Settings(uds=tmp_path / "s")
    listening = server.bound(settings)
    assert server.address(settings, listening) == f"unix:{tmp_path}/s"
    listening.close()
    server.bound(settings).close()  # one that was left behind is replaced


def _png(width: int, height: int, text: int = 0) -> bytes:
    """Return a small file of a picture that says to be large, or to hold a long text."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = chunk(b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0]))
    words = chunk(b"zTXt", b"note\0\0" + zlib.compress(b"x" * text)) if text else b""
    rows = chunk(b"IDAT", zlib.compress(b"\0" * min(1 << 20, (width // 8 + 1) * height)))
    return b"\x89PNG\r\n\x1a\n" + head + words + rows + chunk(b"IEND", b"")


PLACES = [
    "/etc/passwd", "file:///etc/passwd", "s3://bucket/key", "http://127.0.0.1:1/x", "-", "../../etc/passwd",
    "%2e%2e%2fetc%2fpasswd", "~/.ssh/id_rsa", "/dev/stdin", "memory://x", "\x00", "a::b", "/proc/self/environ",
]  # fmt: skip


@pytest.mark.parametrize("text", PLACES)
def test_no_question_opens_a_file_or_an_address(client: Client, text: str) -> None:
    for name in ("pictures", "docs", "people", "vectors"):
        place = f"/v1/collections/{name}/search"
        for field in ("text", "key", "code", "handle", "after", "release", "columns", "where", "label", "split"):
            asked: dict[str, Any] = (
                {field: text} if field in {"text", "key", "code", "handle"} else {"id": 1, field: text}
            )
            found = client.get(place, None, **asked)
            assert b"root:" not in found.body
            assert found.status in {200, 400, 410, 422}, (field, found.body)
        for body in ({"text": text}, {"key": text}, {"row": {"age": text}}, {"bytes": "LW4="}):
            assert client.post(place, {"queries": [body]}).status in {200, 422}
        assert client.post(place, {"queries": [{"path": text}]}).status == 400
    for path in (f"{ONE}/items/{'%2e%2e%2f' * 3}etc%2fpasswd", f"/v1/collections/{'..%2f' * 3}etc"):
        assert client.ask("GET", path).status in {404, 405}


def test_words_are_words_also_where_a_file_has_that_name(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harbour").write_text("flour oven dough")
    monkeypatch.chdir(tmp_path)
    place = "/v1/collections/docs/search"
    as_words = client.get(place, text="harbour").json["answers"][0]
    as_file = client.get(place, text="flour oven dough").json["answers"][0]
    assert as_words["code"] != as_file["code"]
    assert "sea" in as_words["hits"][0]["key"]


CONDITIONS = [
    "id IN (SELECT id FROM items)", "EXISTS (SELECT 1 FROM duckdb_settings())", "getenv('HOME') = 'x'",
    "id = 1) OR (SELECT 1", "list_sum(range(1000000000000)) > 1", "repeat('a', 100000000) = 'x'",
    "id = 1; DROP TABLE x",
    "EXISTS (SELECT 1 FROM rows_on_disk)", "id IN (SELECT * FROM read_csv('/etc/passwd'))", "current_setting('x') = 1",
]  # fmt: skip


@pytest.mark.parametrize("where", CONDITIONS)
def test_conditions_reach_only_the_columns(client: Client, where: str) -> None:
    begun = time.monotonic()
    found = client.get(f"{ONE}/items", where=where)
    assert found.status == 422
    assert time.monotonic() - begun < 60
    assert "/" not in found.json["detail"].replace(where, "")


def test_a_condition_that_would_run_for_an_hour_is_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # Conditions that are allowed end by themselves, so one that is not stands for what nobody thought of.
    monkeypatch.setattr(conditions, "ids_where", lambda *asked, seconds, plain: ids_where(*asked, seconds=seconds))
    hour = "(SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range < 0) > 0"
    with running(store, where_seconds=0.3, threads=1) as client:
        begun = time.monotonic()
        found = client.get(f"{ONE}/items", where=hour)
        assert (found.status, "takes more than 0.3 seconds" in found.json["detail"]) == (422, True)
        assert client.get(f"{ONE}/search", id=1).status == 200
        assert time.monotonic() - begun < 60


BOMBS = {
    "pixels": _png(60_000, 60_000),
    "a declared chunk of 2 GB": _png(8, 8)[:-12] + (2**31 - 1).to_bytes(4, "big") + b"IDAT" + b"x" * 100,
    "text of 64 MB": _png(8, 8, text=64 << 20),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_and_take_no_memory(client: Client, name: str) -> None:
    before = metrics.memory()
    begun = time.monotonic()
    found = client.post(f"{ONE}/search", BOMBS[name])
    assert found.status in {200, 422}, found.body
    assert time.monotonic() - begun < 60
    assert metrics.memory() - before < 40e6


def test_bodies_have_limits(store: Store) -> None:
    with running(store, max_upload=1000, request_seconds=1.5) as client:
        assert client.post(f"{ONE}/search", b"x" * 2000).status == 413
        assert client.post(f"{ONE}/search", {"queries": [{"key": "x" * 2000000}]}).status == 413
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
        connection.putrequest("POST", f"{ONE}/search")
        for header in (("Content-Type", "image/png"), ("Transfer-Encoding", "chunked")):
            connection.putheader(*header)
        connection.endheaders()
        connection.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n10\r\n" + b"y" * 16 + b"\r\n")
        assert connection.getresponse().status == 413
        connection.close()
        slow = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
        slow.putrequest("POST", f"{ONE}/search")
        for header in (("Content-Type", "image/png"), ("Content-Length", "100")):
            slow.putheader(*header)
        slow.endheaders()
        slow.send(b"x")
        assert slow.getresponse().status == 408
        slow.close()


def test_headers_have_limits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: "
    chunked = b"POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
    with running(store) as client:
        assert _sent(client, b"GET\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert _sent(client, begun + b"x" * 100_000 + b"\r\n\r\n") in {b"", b"HTTP/1.1 431 "}
        assert _sent(client, begun + b"x" * 2_000_000) in {b"", b"HTTP/1.1 431 "}, "one that does not end is kept whole"
        assert _sent(client, chunked + b"x" * 2_000_000) != b"HTTP/1.1 200 "
        assert client.get("/livez", {"Range": ", ".join(f"bytes={n}-" for n in range(200))}).status == 200
        monkeypatch.setattr(server, "ARRIVAL", 0.2)
        assert _sent(client, b"GET / HT") == b""


def _sent(client: Client, request: bytes) -> bytes:
    """Send some bytes; return the beginning of the answer, b"" where the connection is ended without one."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as line, suppress(ConnectionError):
        line.sendall(request)
        return line.recv(13)
    return b""


def test_malformed_requests_are_named_with_their_place(client: Client) -> None:
    for body, pointer in (
        ({"queries": [{"id": 1}, {"id": "x"}]}, "/queries/1/id"),
        ({"queries": [{"id": 1}], "k": 0}, "/k"),
        ({"queries": [{"id": 1}], "radius": -1}, "/radius"),
        ({"queries": [{"id": -1}]}, "/queries/0/id"),
    ):
        found = client.post(f"{ONE}/search", body)
        assert (found.status, found.headers["content-type"]) == (400, "application/problem+json")
        assert found.json["errors"][0]["pointer"].replace("...", "1").startswith(pointer[:9])
    wrong: list[Any] = [{}, {"queries": []}, {"queries": [{}]}, {"queries": [{"id": 1, "key": "x"}]}, {"nothing": 1}]
    for one in wrong:
        assert client.post(f"{ONE}/search", one).status == 400
    json_type = {"Content-Type": "application/json"}
    for raw in (b"", b"{", b"[" * 5000, b"\xff", b'{"queries": [{"id": 1e999}]}'):
        assert client.ask("POST", f"{ONE}/search", raw, json_type).status == 400
    assert client.ask("POST", f"{ONE}/search", b"x", {"Content-Type": "application/zip"}).status == 415
    assert client.ask("POST", f"{ONE}/items").status == 405
    assert client.get(f"{ONE}/search", id=1, k=[1, 2]).status == 400


def test_errors_name_no_file_of_the_server() -> None:
    from aepipe.errors import CorruptError

    assert words_of(QueryError("no such thing at /home/me/.aepipe/rows/x.npy: use --min-confidence")) == (
        "no such thing at a file of the server: use min_confidence"
    )
    assert "/" not in words_of(CorruptError("/home/me/store/index.npy: damaged"))


def test_errors_repeat_what_was_asked(client: Client) -> None:
    key = "/etc/né/--fast"
    said = f"no row has the key {key!r}"
    assert client.get("/v1/nope").json["detail"] == "GET /v1/nope: not found"
    assert said in client.get(f"{ONE}/search", key=key).json["detail"]
    assert said in client.post(f"{ONE}/search", {"queries": [{"key": key}]}).json["detail"]
    found = client.post(f"{ONE}/search", {"queries": [{"key": key}, {"id": 1}]}).json["answers"]
    assert said in found[0]["error"]
    with pytest.raises(ServiceError, match=r"/zzz is no aepipe service \(404\)"):
        aepipe.connect(f"http://127.0.0.1:{client.port}/zzz", "pictures")


def test_a_client_has_its_rate(store: Store) -> None:
    with running(store, rate=2) as client:
        found = [client.get("/livez") for _ in range(12)]
        refused = [one for one in found if one.status == 429]
        assert refused
        assert refused[0].headers["retry-after"] == "1"


def test_under_load_requests_are_answered_or_refused_at_once(store: Store) -> None:
    with running(store, threads=1, queue=2) as client:
        statuses: list[int] = []
        health: list[float] = []

        def ask() -> None:
            for number in range(15):
                statuses.append(client.get(f"{ONE}/search", id=number, k=60).status)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            begun = time.monotonic()
            assert client.get("/livez").status == 200
            health.append(time.monotonic() - begun)
        assert set(statuses) <= {200, 503}
        assert 200 in statuses
        assert len(statuses) == 120


def test_a_full_queue_refuses() -> None:
    import asyncio

    async def ask() -> None:
        busy = pool.Pool(1, 1, 60)
        held = threading.Event()
        first = [asyncio.ensure_future(busy.run(held.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await busy.run(held.wait)
        held.set()
        await asyncio.gather(*first)
        assert busy.refused == 1
        assert busy.held == 0
        busy.close()

    asyncio.run(ask())


def test_nobody_waits_longer_than_the_limit_and_what_nobody_waits_for_is_not_begun() -> None:
    import asyncio

    async def ask() -> None:
        busy = pool.Pool(1, 2, 0.1)
        held, begun = threading.Event(), threading.Event()
        found = await asyncio.gather(busy.run(held.wait), busy.run(begun.set), return_exceptions=True)
        assert all(isinstance(one, TooSlowError) for one in found)
        held.set()
        busy._seconds = 60.0
        assert await busy.run(lambda: 3) == 3
        with pytest.raises(ZeroDivisionError):
            await busy.run(lambda: 1 // 0)
        assert not begun.is_set()
        assert busy.held == 0
        busy.close()

    asyncio.run(ask())


def test_only_what_was_short_is_done_without_a_thread(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = pool.Costs()
    assert not costs.is_short("id", alone=True)
    for _ in range(20):
        assert costs.timed("id", lambda: 3) == 3
    assert costs.is_short("id", alone=False)
    for _ in range(2):
        costs.timed("id", lambda: time.sleep(pool.LATE))
    assert not costs.is_short("id", alone=True)
    costs.timed(None, lambda: 3)
    assert not costs.is_short(None, alone=True)
    one = client.service.catalog.get("pictures")
    one.costs = pool.Costs()
    monkeypatch.setattr(pool, "LATE", float("inf"))  # a busy machine may hold up any of these
    known = [client.get(f"{ONE}/search", id=3).json for _ in range(20)]
    assert all(answer["answers"] == known[0]["answers"] for answer in known)
    assert one.costs.is_short(plans.cost_of(Options()), alone=True)


def test_figures_are_by_route_and_never_by_path(client: Client) -> None:
    for number in range(3):
        client.get(f"{ONE}/items/{number}")
    text = client.get("/metrics").body.decode()
    line = next(line for line in text.splitlines() if 'route="/v1/collections/{name}/items/{id}"' in line)
    assert int(line.rpartition(" ")[2]) >= 3
    assert "items/1" not in text
    assert 'aepipe_release_info{name="pictures"' in text
    assert json.loads(client.get("/readyz").body)["ready"]


def test_what_the_end_of_the_service_cuts_off_is_told() -> None:
    sent: list[Any] = []

    async def app(_: object, receive: Any, __: object) -> None:
        await receive()

    async def nothing() -> None:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    async def cut_off() -> None:
        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"image/png")]
        scope = {"type": "http", "method": "POST", "path": "/v1/collections/a/search", "headers": headers}
        guard = guards.Guard(app, Settings(), None, metrics.Metrics())
        request = asyncio.create_task(guard(scope, nothing, send))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        request.cancel()
        await request

    asyncio.run(cut_off())
    assert sent[0]["status"] == 503
    assert b"the service is being ended" in sent[1]["body"]
