"""The reference pages of the documentation, written from the code.

``reference/cli.md`` comes from the docstrings and options of the verbs, ``reference/recipe.md`` from the models that
read a recipe, ``reference/api.md`` from the docstrings of what ``aepipe`` exports, ``contributing/files.md`` from the
docstrings of all modules. A test compares them with the code.
"""

from __future__ import annotations

from pathlib import Path

from docs.generate import api, cli, files, recipe

DOCS = Path(__file__).parents[1]
COMMAND = "python -m docs.generate"
HEADER = f"<!-- Written by `{COMMAND}`: change the docstrings, not this page. -->\n\n"


def pages() -> dict[Path, str]:
    """Return the text of every generated page, by its file."""
    writers = {
        "reference/cli.md": cli.page,
        "reference/recipe.md": recipe.page,
        "reference/api.md": api.page,
        "contributing/files.md": files.page,
    }
    return {DOCS / name: HEADER + write().strip() + "\n" for name, write in writers.items()}
