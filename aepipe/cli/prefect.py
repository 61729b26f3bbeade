"""What the verbs that run a flow share: their options, a Prefect server, and what an interrupted run leaves behind.

Prefect is imported inside, after its environment has been set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from aepipe.cli.output import complain
from aepipe.errors import ExtraError
from aepipe.store import layout, registry
from aepipe.store.artifacts import Store

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


def absolute(source: str | None) -> str | None:
    """Return a path so that it is found from anywhere."""
    return str(Path(source).expanduser().absolute()) if source and "://" not in source else source


def check_free(store: Store, name: str) -> None:
    """Find out at once, before a server is started, whether another run writes under the same name.

    Raises:
        BusyError: so it is.
    """
    with registry.lock(store, name):
        pass


@contextmanager
def going_on() -> Iterator[None]:
    """Say what an interrupted run leaves behind."""
    try:
        yield
    except KeyboardInterrupt:
        complain("stopped; what is finished is kept, and the same command goes on from there")
        raise


@contextmanager
def prefect(api: str | None, store: Store, check: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Make Prefect ready for one run: with the server that is named, or one that runs along.

    Args:
        api: address of a server.
        store: the shelf that one of our own is for.
        check: finds out whether there can be a run at all, before anything is made.

    Raises:
        ExtraError: Prefect is not installed.
    """
    if find_spec("prefect") is None:
        raise ExtraError("prefect", "flows")
    embedded = flows("local_server")
    if api or os.environ.get("PREFECT_API_URL"):
        check()
        embedded.prepare(api=api)
        flows("schedule").check_server()
        try:
            yield
        finally:
            embedded.flush()
        return
    home = store.root / layout.Root.PREFECT
    if home.exists():
        with embedded.serving(home, meanwhile=check):
            yield
        return
    check()  # first, so that a mistake leaves nothing behind
    store.create()
    with embedded.serving(home):
        yield


def flows(module: str) -> Any:  # noqa: ANN401  mypy cannot see what is imported late
    """Import a module of flows.

    Raises:
        ExtraError: a package that it needs is not installed.
    """
    try:
        return import_module(f"flows.{module}")
    except ModuleNotFoundError as error:
        raise ExtraError(str(error.name), "flows") from None
