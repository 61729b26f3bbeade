"""The helper's side of :mod:`aepipe.sources.helper`: answer requests within bounds."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

MEMORY = 4 << 30
"""Bytes that the process may have; a file that needs more is not read."""


def serve(answer: Callable[[dict[str, Any], bytes], dict[str, Any]]) -> None:
    """Answer requests until there are no more.

    Args:
        answer: of a request and its bytes.
    """
    # Ctrl-C is for the process that asks; this one ends when its input does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if most < 0 else min(MEMORY, most), most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library says on stdout would be taken for an answer
    while line := source.readline():
        asked = json.loads(line)
        answers.write(json.dumps(answer(asked, source.read(asked["size"]))).encode() + b"\n")
        answers.flush()
