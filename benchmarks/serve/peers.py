"""Servers of the usual shape, which search nothing: ``python benchmarks/serve/peers.py fastapi|flask``.

Each answers ten hits that are made up. The one of Flask has the shape of clip-retrieval's back end: its development
server, flask-restful's way to answer, metadata beside each hit.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

HITS: list[dict[str, Any]] = [
    {"rank": rank, "id": 1000 + rank, "distance": rank, "similarity": 0.9, "confidence": None, "cosine": None,
     "key": f"photos/017/{rank:07d}.png", "label": "class7", "labels": ["class7"], "split": "train", "snippet": None,
     "columns": {}}
    for rank in range(1, 11)
]  # fmt: skip
ANSWER = {"name": "benchmark", "release": "0" * 64, "fingerprint": "0" * 64, "rows": 1_000_000, "took_ms": 0.1}


def main() -> None:
    """Run one of the servers on a free port, which it prints."""
    # With the protocol named, asyncio does not let an answer wait for an acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    {"fastapi": fastapi, "flask": flask}[sys.argv[1]](listening)


def fastapi(listening: socket.socket) -> None:
    """Answer with FastAPI and models of pydantic, on uvicorn."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Hit(BaseModel):
        rank: int
        id: int
        distance: int
        similarity: float
        confidence: float | None
        cosine: float | None
        key: str
        label: str | None
        labels: list[str]
        split: str | None
        snippet: str | None
        columns: dict[str, str | None]

    class Found(BaseModel):
        name: str
        release: str
        fingerprint: str
        rows: int
        took_ms: float
        hits: list[Hit]

    app = FastAPI()

    async def search(id: int, k: int = 10) -> Any:
        return {**ANSWER, "hits": HITS[:k]}

    app.get("/search", response_model=Found)(search)
    config = uvicorn.Config(app, http="httptools", loop="asyncio", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


def flask(listening: socket.socket) -> None:
    """Answer with Flask on its development server, with threads."""
    import logging

    from flask import Flask, jsonify, request
    from werkzeug.serving import WSGIRequestHandler, make_server

    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Flask(__name__)

    def knn() -> Any:
        return jsonify({**ANSWER, "hits": HITS[: int(request.args["k"])]})

    app.get("/knn-service")(knn)
    port = listening.getsockname()[1]
    make_server("127.0.0.1", port, app, threaded=True, fd=listening.fileno()).serve_forever()


if __name__ == "__main__":
    main()
