"""The process that :mod:`flows.local_server` starts; a program, so that it runs wherever the package lies."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading


def serve(descriptor: int) -> None:
    """Be a Prefect server on a socket that listens already, until standard input is closed.

    Args:
        descriptor: of the socket, inherited.
    """
    gc.disable()  # what is imported stays, and to look through it for garbage takes a seventh of the start
    import uvicorn
    from prefect.server.api.server import create_app

    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = create_app(ephemeral=True, final=True)
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2, lifespan="on")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def _end_with_parent() -> None:
    """Wait until the process that started us closes our standard input, or dies; then end in good order."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
