"""The command line: one file per verb, named as the verb.

A verb parses its options, calls the library and prints. Nothing heavy is imported here, and of the verbs only the one
that is called.
"""

from __future__ import annotations

from typing import NamedTuple


class VerbModule(NamedTuple):
    """Where a verb is, and how it computes.

    Attributes:
        module: of :mod:`aepipe.cli`, with a function of the verb's name.
        threads: whether it computes for minutes on all cores; the others answer faster than threads would start.
    """

    module: str
    threads: bool = False


VERBS = {
    "run": VerbModule("run", threads=True),
    "query": VerbModule("query"),
    "serve": VerbModule("serve"),
    "dedup": VerbModule("dedup"),
    "label": VerbModule("label"),
    "map": VerbModule("map", threads=True),
    "show": VerbModule("show"),
    "evaluate": VerbModule("evaluate", threads=True),
    "compare": VerbModule("compare", threads=True),
    "study": VerbModule("compare", threads=True),
    "tune": VerbModule("tune", threads=True),
    "generate": VerbModule("generate", threads=True),
    "reconstruct": VerbModule("generate"),
    "interpolate": VerbModule("generate"),
    "impute": VerbModule("impute", threads=True),
    "list": VerbModule("collections"),
    "history": VerbModule("releases"),
    "promote": VerbModule("releases"),
    "rollback": VerbModule("releases"),
    "diff": VerbModule("diff"),
    "verify": VerbModule("releases"),
    "nightly": VerbModule("run", threads=True),
    "refresh": VerbModule("run", threads=True),
    "join": VerbModule("join", threads=True),
    "add": VerbModule("update", threads=True),
    "remove": VerbModule("update"),
    "compact": VerbModule("update", threads=True),
    "export": VerbModule("export", threads=True),
    "schedule": VerbModule("run", threads=True),
    "rename": VerbModule("collections"),
    "drop": VerbModule("collections"),
    "gc": VerbModule("gc"),
    "doctor": VerbModule("doctor"),
    "plan": VerbModule("plan"),
    "work": VerbModule("work", threads=True),
}
"""Every verb, in the order of the help."""
