"""What a store on object storage asks of its server, and what it stands: races, killed writers, a soak.

    python -m benchmarks.operations.object_store [--races 20] [--soak 180]

The server is moto's, on this machine, so seconds say little; requests are counted where they arrive. Prices are those
of S3: 0.005 USD for 1,000 writes and lists, 0.0004 USD for 1,000 reads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from aepipe.store import registry
from aepipe.store.artifacts import Store
from aepipe.store.backends.bucket import Bucket
from tests.cli import test_objects as test_cli
from tests.store import test_objects
from tests.support import objects
from tests.support.plain_flows import plain_flows

WRITE, READ = 0.005 / 1000, 0.0004 / 1000
"""Prices of a request, in USD."""


def main() -> None:
    """Print requests by verb, and what came of races and the soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=20, help="of 16 writers and of 16 movers each")
    parser.add_argument("--soak", type=float, default=180.0, metavar="SECONDS")
    parser.add_argument("--requests", action=argparse.BooleanOptionalAction, default=True, help="count them by verb")
    chosen = parser.parse_args()
    server = objects.ObjectServer()
    given = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": objects.KEY,
        "AWS_SECRET_ACCESS_KEY": objects.SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with TemporaryDirectory() as folder:
        os.environ.update({**given, "AEPIPE_CACHE": f"{folder}/cache"})
        Bucket("s3://bucket")._system.call_s3("create_bucket", Bucket="bucket")
        if chosen.requests:
            count_requests(server, Path(folder))
        repeat("16 writers of one artifact, 8 killed", chosen.races, write, Path(folder))
        repeat("16 movers of one pointer", chosen.races, move, Path(folder))
        print(json.dumps({"what": "soak", **soak(Store("s3://bucket/soak"), Path(folder), chosen.soak)}))
    server.close()


def count_requests(server: objects.ObjectServer, folder: Path) -> None:
    """Print the requests of some verbs on a collection of 40 pictures."""
    test_cli.write_pictures(folder)
    os.chdir(folder)
    store, picture = Store("s3://bucket/store"), str(folder / "tiny" / "dark" / "01.png")
    print("| verb | writes and lists | reads | USD |\n|---|---:|---:|---:|")
    with plain_flows():
        for title, words, copies in (
            ("a run, the first of a collection", ("run", "tiny.toml", "-q"), True),
            ("a run that finds nothing new", ("run", "tiny.toml", "-q"), True),
            ("a query, with copies", ("query", picture, "--json"), True),
            ("a query, without copies", ("query", picture, "--json"), False),
            ("list", ("list",), True),
            ("add a row", ("add", str(folder / "new.png")), True),
            ("verify", ("verify",), True),
            ("gc", ("gc",), True),
        ):
            if not copies:
                shutil.rmtree(store.root)
            server.asked.clear()
            test_cli.said(store, *words)
            asked = list(server.asked)
            reads = sum(method in {"GET", "HEAD"} and path.count("/") > 2 for method, path in asked)
            deletes = sum(method == "DELETE" for method, _ in asked)
            writes = len(asked) - reads - deletes  # removing costs nothing
            print(f"| {title} | {writes} | {reads} | {writes * WRITE + reads * READ:.6f} |", flush=True)


def repeat(what: str, times: int, work: Callable[[Store, Path, int], object], folder: Path) -> None:
    """Do something several times, each on a store of its own; print how often it went wrong."""
    begun, wrong, said = time.monotonic(), 0, []
    for number in range(times):
        store = Store(f"s3://bucket/{work.__name__}-{number}")
        below = folder / f"{work.__name__}-{number}"
        try:
            said.append(work(store, below, number))
        except AssertionError as error:
            wrong += 1
            print(error, file=sys.stderr)
    print(json.dumps({"what": what, "times": times, "wrong": wrong, "seconds": round(time.monotonic() - begun, 1)}))


def write(store: Store, folder: Path, number: int) -> None:
    """Let 16 processes write one artifact, and kill half of them."""
    store.create()
    ref = test_objects.race(store, folder, seed=number)
    assert store.refs("segment") == [ref]
    assert test_objects.reads_whole(test_objects.elsewhere(store, folder / "late"), ref)


def move(store: Store, _folder: Path, _number: int) -> None:
    """Let 16 threads move one pointer."""
    test_objects.test_of_16_who_move_a_pointer_one_succeeds(store)


def soak(store: Store, folder: Path, seconds: float) -> dict[str, float]:
    """Let writers, readers, movers and a collector of garbage work on one store."""
    done = test_objects.soak(store, folder, seconds)
    events = registry.history(store)
    unknown = sum(later.before != earlier.after for earlier, later in pairwise(events))
    return {"seconds": seconds, **done, "replaced without knowing": unknown}


if __name__ == "__main__":
    main()
