"""The command line: every verb is one library function with the brackets off.

Nothing heavy is imported here, and of the verbs only the one that was called.
"""

from __future__ import annotations

VERBS = {
    "run": "run",
    "query": "query",
    "dedup": "dedup",
    "show": "show",
    "evaluate": "evaluate",
    "compare": "compare",
    "study": "compare",
    "generate": "generate",
    "reconstruct": "generate",
    "interpolate": "generate",
    "impute": "impute",
    "history": "releases",
    "promote": "releases",
    "rollback": "releases",
    "diff": "diff",
    "verify": "releases",
    "nightly": "run",
    "refresh": "run",
    "add": "update",
    "remove": "update",
    "compact": "update",
    "export": "export",
    "schedule": "run",
    "gc": "gc",
    "doctor": "doctor",
    "plan": "plan",
}
"""Each verb and the module of :mod:`aepipe.cli` that has a function of its name, in the order of the help."""
