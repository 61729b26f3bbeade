"""Program of the Prefect server that :mod:`flows.local_server` starts.

It imports nothing of aepipe, so it runs wherever the package lies.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading


def serve(descriptor: int) -> None:
    """Serve Prefect's API on a socket that listens already, until standard input is closed.

    Args:
        descriptor: of the socket, inherited.
    """
    gc.disable()  # imported modules stay, and searching them for garbage takes a seventh of the start
    import uvicorn
    from prefect.server.api.server import create_app

    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = create_app(ephemeral=True, final=True)
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2, lifespan="on")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def _end_with_parent() -> None:
    # The input closes when the process that started us wants it, and also when that process dies.
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
