"""The verb ``doctor``."""

from __future__ import annotations

import os
from dataclasses import asdict

import typer

from aepipe.cli.options import AsJson, Home, shelf
from aepipe.cli.output import say, say_json, table

WRONG = 2
MARKS = {"ok": "ok", "note": "note", "bad": "WRONG"}


def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """Say what is wrong here, and how to mend it.

    Looks at the packages, the shelf, what is in service, the disk, the clock and the Prefect server.
    Nothing is changed. Exit status 2 if something has to be mended.

    Examples:
      aepipe doctor
      aepipe doctor --json
    """
    from aepipe import diagnosis

    found = list(diagnosis.examine(shelf(home), os.environ))
    if as_json:
        say_json([asdict(one) for one in found])
    else:
        say(table(("", "what", "found"), [(MARKS[one.level], one.what, one.said) for one in found]))
    if any(one.level == "bad" for one in found):
        raise typer.Exit(WRONG)
