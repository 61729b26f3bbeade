"""Work on a Ray cluster of two nodes, in a network of its own, as Ray listens on all addresses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from aepipe import engines
from aepipe.errors import EngineError

pytest.importorskip("ray", reason="needs the extra ray")

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("ray_cluster.py")


def own_network() -> list[str]:
    """Return the words before a command that give it a network with nothing but itself; skip where that is refused."""
    words = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    try:
        tried = subprocess.run([*words, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare of util-linux")
    if tried.returncode:
        pytest.skip(f"needs a network of its own, which is refused: {tried.stderr.strip()}")
    return [*words, "sh", "-c", 'ip link set lo up && exec "$0" "$@"']


@pytest.mark.skipif("AEPIPE_SOAK" not in os.environ, reason="takes a minute: make soak")
def test_a_cluster(tmp_path: Path) -> None:
    """One test, since a cluster takes ten seconds to start."""
    command = [*own_network(), sys.executable, str(SCRIPT), str(tmp_path)]
    # Its sockets have paths of up to 107 letters, and a folder of pytest has half of them.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as short:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": short}
        found = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert found.returncode == 0, found.stderr[-4000:]
    seen = json.loads(found.stdout.splitlines()[-1])
    assert seen.pop("nodes") == 2
    assert seen.pop("seconds after a node died") < 60
    assert seen.pop("after a node died") == 20
    assert seen == {
        "as in threads": True,
        "begun": 1,
        "errors": {
            "source": ["SourceError", "torn, in part 8 (ref-7)", "in part 8 (ref-7)"],
            "item": ["ItemError", "a.png: torn, in part 8 (ref-7)", "in part 8 (ref-7)"],
            "system": ["OSError", "[Errno 5] torn", "in part 8 (ref-7)"],
            "value": ["ValueError", "torn", "in part 8 (ref-7)"],
        },
        "after a worker died": 20,
        "another version": True,
        "no room": "engine ray: a part takes 99 CPU, and none of 2 machines has that",
        "our answer to SIGTERM": True,
    }


def test_no_cluster_is_one_line() -> None:
    with pytest.raises(EngineError, match=r"ray://127\.0\.0\.1:9: does not answer .*start it: ray start --head"):
        engines.resolve("ray://127.0.0.1:9")
