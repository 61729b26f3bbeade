"""The service as the guide runs it: behind nginx with a prefix, beside Prefect in compose.yaml."""

from __future__ import annotations

import http.client
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aepipe.store.artifacts import Store
from tests.serve.conftest import Client, running

ROOT = Path(__file__).parents[2]
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
ONE = "/v1/collections/pictures"


@contextmanager
def nginx(folder: Path, block: str) -> Iterator[Path]:
    """Run nginx with a block of its configuration; give the socket that it listens on."""
    places = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    server = f"server {{ listen unix:{folder}/nginx.sock; {block} }}"
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; {places} {server} }}\n"
    )
    with subprocess.Popen([NGINX, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]) as run:
        end = time.monotonic() + 60
        while not (folder / "nginx.sock").exists():
            assert time.monotonic() < end, (folder / "error.log").read_text()
            time.sleep(0.02)
        try:
            yield folder / "nginx.sock"
        finally:
            run.terminate()


@pytest.mark.skipif(not Path(NGINX).exists(), reason="needs nginx: apt-get install nginx-light")
def test_the_configuration_of_the_guide_serves_below_a_prefix(store: Store, tmp_path: Path) -> None:
    guide = (ROOT / "docs/guide/serving.md").read_text()
    found = re.search(r"```nginx\n(.*?)```", guide, re.DOTALL)
    assert found
    block = found[1].replace("/run/aepipe/service.sock", str(tmp_path / "s"))
    with (
        running(store, uds=tmp_path / "s", root_path="/search", allow_hosts=("search.example.org",)) as client,
        nginx(tmp_path, block) as listening,
    ):
        outside = Client(0, client.service, {"Host": "search.example.org"}, listening)
        page = outside.get("/search/").body.decode()
        script = re.search(r'src="(/search/static/app\.[^"]+)"', page)
        assert script
        assert outside.get(script[1]).status == 200
        answer = outside.get(f"/search{ONE}/search", id=3)
        assert answer.json["answers"] == client.get(f"{ONE}/search", id=3).json["answers"]
        assert outside.post(f"/search{ONE}/search", {"queries": [{"id": 3}]}).status == 200
        working = outside.get(f"/search{ONE}/duplicates", radius=5)
        assert working.headers.get("location", "/search/").startswith("/search/")
        assert outside.ask("GET", f"/search{ONE}", headers={"Host": "evil.example"}).status == 421
        assert outside.get(ONE).status == 404


def test_compose_starts_the_service_that_the_guide_names(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert "--serve 0" in services["worker"]["command"], "the service is a process of its own there"
    given = services["service"]
    port = given["ports"][0].rpartition(":")[2]
    assert given["ports"] == [f"127.0.0.1:{port}:{port}"]
    command = shlex.split(given["command"].replace("/shelf", str(tmp_path)).replace(f"--port {port}", "--port 0"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "AEPIPE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", *command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
        try:
            assert run.stdout
            said = re.search(r":(\d+)/#token=(\S+)", run.stdout.readline())
            assert said
            line = http.client.HTTPConnection("127.0.0.1", int(said[1]), timeout=120)
            line.request("GET", "/v1/collections", headers={"Authorization": f"Bearer {said[2]}"})
            assert line.getresponse().read() == b'{"collections":[]}'
            line.close()
        finally:
            run.terminate()
        assert run.wait(120) == 0
