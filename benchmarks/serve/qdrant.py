"""The service beside Qdrant in the same process as its caller, on the same codes: row 6."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import aepipe
from benchmarks.serve.goals import Figure
from benchmarks.serve.running import Line, service

ASKED = 20


def beside_qdrant(folder: Path) -> Iterator[Figure]:
    """Yield how many times longer Qdrant takes; both find the same distances.

    Args:
        folder: a store, small enough that Qdrant's local mode holds it.
    """
    from qdrant_client import QdrantClient, models

    collection = aepipe.open(folder)
    ids = np.arange(len(collection))
    vectors = 2.0 * collection.release.codes_of(ids).unpack().astype(np.float32) - 1
    client = QdrantClient(":memory:")
    size = models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT)
    client.create_collection("benchmark", vectors_config=size)
    client.upload_collection("benchmark", vectors=vectors, ids=ids.tolist())
    own, its = [], []
    with service(folder) as running:
        line = Line(running.port)
        for number in range(2 * ASKED):
            one = 37 * number
            began = time.perf_counter()
            found = client.query_points("benchmark", query=vectors[one].tolist(), limit=10).points
            middle = time.perf_counter()
            status, _ = line.ask(f"/v1/collections/{collection.name}/search?id={one}&k=10&fast=true")
            assert status == 200
            if number >= ASKED:
                own.append(time.perf_counter() - middle)
                its.append(middle - began)
            wanted = [hit.distance for hit in collection.query(ids=[one], k=10, fast=True)[0].hits]
            assert [round((vectors.shape[1] - point.score) / 2) for point in found] == wanted
    name = f"Qdrant in-process / service, {len(collection):,} codes"
    yield Figure(6, name, float(np.median(its) / np.median(own)), "x")
    yield Figure(0, f"Qdrant in-process, {len(collection):,} codes", 1000 * float(np.median(its)), "ms")
