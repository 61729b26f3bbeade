"""Semantic hashing with stacked autoencoders: learn short binary codes and search them.

>>> import aepipe
>>> aepipe.run("photos/")                             # doctest: +SKIP
>>> aepipe.open(name="photos").query("boat.jpg")      # doctest: +SKIP

:func:`open` opens a collection that is in service, :func:`run` and :func:`nightly` make and renew one. Importing the
package imports nothing else: each name below is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aepipe import errors
    from aepipe.api import Collection, Results, collections, open
    from aepipe.codes.bitcodes import BitCodes
    from aepipe.release.query import Answer
    from aepipe.release.search import Hit, QueryOptions
    from aepipe.runs import NightlyRules, RunOptions, RunResult, UpdateResult, nightly, refresh, run

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "BitCodes",
    "Collection",
    "Hit",
    "NightlyRules",
    "QueryOptions",
    "Results",
    "RunOptions",
    "RunResult",
    "UpdateResult",
    "collections",
    "errors",
    "nightly",
    "open",
    "refresh",
    "run",
]
_ELSEWHERE = {
    "Answer": "release.query",
    "BitCodes": "codes.bitcodes",
    "Hit": "release.search",
    "QueryOptions": "release.search",
    **dict.fromkeys(("NightlyRules", "RunOptions", "RunResult", "UpdateResult", "nightly", "refresh", "run"), "runs"),
}
"""Modules of the public names that :mod:`aepipe.api` does not define."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: a quick verb must not wait for others."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "errors":
        return import_module("aepipe.errors")
    found: object = getattr(import_module(f"aepipe.{_ELSEWHERE.get(name, 'api')}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})  # a name that was used already is among the globals, too
