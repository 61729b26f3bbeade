"""The service beside Qdrant in the same process as its caller, on the same codes: row 6."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import aepipe
from benchmarks.serve.goals import Figure
from benchmarks.serve.running import Line, service

ASKED, ROUNDS, BATCH = 20, 3, 5000
"""Questions of a block, blocks of each in turn that count, and points that Qdrant takes in at a time."""


def beside_qdrant(folder: Path) -> Iterator[Figure]:
    """Yield how many times longer Qdrant takes; both find the same distances.

    Args:
        folder: a store; Qdrant's local mode holds some four kilobytes of memory for each of its rows.
    """
    from qdrant_client import QdrantClient, models

    collection = aepipe.open(folder)
    vectors = 2.0 * collection.release.codes_of(np.arange(len(collection))).unpack().astype(np.float32) - 1
    client = QdrantClient(":memory:")
    size = models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT)
    client.create_collection("benchmark", vectors_config=size)
    gc.disable()  # it looks at a million points again and again while they are taken in
    client.upload_collection("benchmark", vectors=vectors, ids=range(len(vectors)), batch_size=BATCH)
    gc.enable()
    gc.freeze()
    ids = np.random.default_rng(3).integers(0, len(vectors), ASKED).tolist()
    with service(folder) as running:
        line, own, its = Line(running.port), [], []
        for number in range(ROUNDS + 1):
            found, told = [], []
            for one in ids:
                began = time.perf_counter()
                found.append(client.query_points("benchmark", query=vectors[one].tolist(), limit=10).points)
                its += [time.perf_counter() - began] if number else []
            for one in ids:
                began = time.perf_counter()
                told.append(line.ask(f"/v1/collections/{collection.name}/search?id={one}&k=10&fast=true")[1])
                own += [time.perf_counter() - began] if number else []
            for points, answer in zip(found, told, strict=True):
                wanted = [hit["distance"] for hit in json.loads(answer)["answers"][0]["hits"]]
                assert [round((vectors.shape[1] - point.score) / 2) for point in points] == wanted
    name = f"Qdrant in-process / service, {len(collection):,} codes"
    yield Figure(6, name, float(np.median(its) / np.median(own)), "x")
    yield Figure(0, f"Qdrant in-process, {len(collection):,} codes", 1000 * float(np.median(its)), "ms")
