"""Work on a Ray cluster of two nodes, in a network of its own, as Ray listens on all addresses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aepipe import engines
from aepipe.engines.ray import _share
from aepipe.errors import EngineError
from tests.support.own_network import run_with_ray

pytest.importorskip("ray", reason="needs the extra ray")

SCRIPT = Path(__file__).with_name("ray_cluster.py")


@pytest.mark.skipif("AEPIPE_SOAK" not in os.environ, reason="takes a minute: make soak")
def test_a_cluster(tmp_path: Path) -> None:
    """One test, since a cluster takes ten seconds to start."""
    found = run_with_ray(SCRIPT, str(tmp_path), environment={})
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


@pytest.mark.parametrize(
    ("machines", "count", "each"),
    [((1, 1), 2, 1), ((16, 16), 2, 16), ((16, 4), 2, 8), ((8, 8, 8), 6, 4), ((2,), 5, 1), ((), 2, 1)],
)
def test_processes_share_out_the_processors(machines: tuple[int, ...], count: int, each: int) -> None:
    assert _share([{"CPU": float(one)} for one in machines], count) == each
