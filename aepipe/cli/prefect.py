"""What the verbs that run a flow share: their options, and a word when they are interrupted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer

from aepipe.cli.completion import settings
from aepipe.cli.output import complain
from aepipe.errors import TERMINATED

Api = Annotated[
    str | None,
    typer.Option("--api", help="Address of a Prefect server's API; else $PREFECT_API_URL.", metavar="URL"),
]
Device = Annotated[
    str | None, typer.Option("--device", help="In place of the recipe's: cpu, cuda, cuda:1, mps.", metavar="DEVICE")
]
SourcePath = Annotated[
    str | None, typer.Option("--source", help="In place of the recipe's own [source] path.", metavar="PATH")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Another value of a key of the recipe; may be given again.",
        metavar="KEY=VALUE",
        autocompletion=settings,
    ),
]

EngineText = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="What works on the parts of a large collection: local, ray://HOST:PORT, dask://HOST:PORT or "
        "array:///FOLDER; else $AEPIPE_ENGINE, else the recipe's, else this machine.",
        metavar="ENGINE",
    ),
]


@contextmanager
def resumable() -> Iterator[None]:
    """Say, when the block is interrupted or ended by SIGTERM, that its finished work is kept."""
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    except TerminatedError:
        complain("ended by SIGTERM; finished work is kept, and the same command continues from there")
        raise typer.Exit(TERMINATED) from None
    except KeyboardInterrupt:
        complain("stopped; finished work is kept, and the same command continues from there")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM has come; whatever cleans up after Ctrl-C cleans up then, too."""


def _terminated(*_: object) -> NoReturn:
    raise TerminatedError
