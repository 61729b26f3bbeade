"""The program of the guide for Ray Serve answers as a whole service does, also after a shard has died.

Ray listens on all addresses, so it runs in a network of its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aepipe.store.artifacts import Store
from tests.docs.blocks import blocks
from tests.serve.conftest import running
from tests.support.own_network import ROOT, run_with_ray
from tests.support.releases import make_release

pytest.importorskip("ray.serve", reason="needs ray[serve]")
pytestmark = pytest.mark.skipif("AEPIPE_SOAK" not in os.environ, reason="takes a minute: make soak")


def test_the_deployment_of_the_guide(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=40, embedding="int8", shards=2)
    (program,) = [one.text for one in blocks("docs/guide/scale.md") if one.title == "ray_shards.py"]
    (tmp_path / "ray_shards.py").write_text(program)
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "SHARDS": "2", "AEPIPE_HOME": str(store.root)}
    found = run_with_ray(Path(__file__).with_name("ray_cluster.py"), environment=environment)
    assert found.returncode == 0, found.stderr[-4000:]
    seen = json.loads(found.stdout.splitlines()[-1])
    with running(store) as client:
        whole = client.get("/v1/collections/pictures/search", id=3, k=5).json
    assert told(seen["whole"]) == told(seen["again"]) == told(whole)
    if "complete" in seen["part"] and not seen["part"]["complete"]:  # Ray may have started it again by then
        assert seen["part"]["missing"] == ["2/2"]
        assert {hit["id"] % 2 for hit in seen["part"]["answers"][0]["hits"]} == {0}


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without the time that it took."""
    return {name: value for name, value in answer.items() if name != "took_ms"}
