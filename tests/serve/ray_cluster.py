"""Serve a collection in two shards on Ray, kill one, and print as JSON what was answered; see ``test_ray.py``."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import urllib.request
from typing import Any
from urllib.error import HTTPError

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray

ray.init(num_cpus=3, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False)

from ray import serve

ADDRESS = "http://127.0.0.1:8000/v1/collections/pictures/search?id=3&k=5"


def ask(more: str = "") -> tuple[int, Any]:
    """Return status and body of an answer."""
    try:
        with urllib.request.urlopen(ADDRESS + more, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def until_whole() -> dict[str, Any]:
    """Ask until all shards answer; anything but an answer of all or an error 503 on the way is a fault."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        status, found = ask()
        if status == 200:
            return dict(found)
        if status not in {404, 503}:
            break
        time.sleep(0.1)
    raise AssertionError(f"{status}: {found}")


program = importlib.import_module("ray_shards")
serve.start(http_options={"host": "127.0.0.1", "port": 8000})
serve.run(program.app)
whole = until_whole()
for actor in ray.util.list_named_actors(all_namespaces=True):
    if "shard-2" in actor["name"]:
        ray.kill(ray.get_actor(**actor), no_restart=True)
parts = ask("&partial=true")
again = until_whole()
sys.stdout.write(json.dumps({"whole": whole, "part": parts[1], "again": again}))
