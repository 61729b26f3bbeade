"""One release as one page of HTML that needs nothing beside it: to be kept, sent, and opened anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from aepipe.report.release import facts, notes
from aepipe.report.tables import cells, protocol_line

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
.scores { display: block; overflow-x: auto; }
.scores td, .scores th { text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
.scores td:first-child, .scores th:first-child { text-align: left; }
img { max-width: 100%; height: auto; background: white; }
.quiet, .facts th { font-weight: normal; color: #777; }
"""


def page(found: Mapping[str, Any], pictures: Mapping[str, str], said: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        found: what :func:`aepipe.report.release.describe` returns.
        pictures: what :func:`aepipe.report.examples.shown` returns.
        said: why the release is in service, or is not; what was said when it went into service where it is empty.
    """
    title = escape(f"{found['name']}: release {found['release'][:12]}")
    parts = [f"<h1>{title}</h1>", _rows(facts(found))]
    said = said or (found["promoted"]["why"].split("; ") if found["promoted"] else [])
    if said:
        parts += ["<h2>What the gate said</h2>", "<ul>", *(f"<li>{escape(one)}</li>" for one in said), "</ul>"]
    if found["scores"]:
        parts += ["<h2>Scores</h2>", _table(cells(found["scores"])), _quiet([protocol_line(found["scores"])])]
        parts.append(_quiet(notes(found)))
    for heading, picture in pictures.items():
        parts += [f"<h2>{escape(heading)}</h2>", f'<img alt="{escape(heading)}" src="{escape(picture)}">']
    head = f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n<style>{STYLE}</style>'
    return "\n".join([head, *parts, "</html>", ""])


def _rows(lines: Iterable[tuple[str, str]]) -> str:
    """Return names and values as a table."""
    body = [f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in lines]
    return "\n".join(['<table class="facts">', *body, "</table>"])


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first row is its heading."""
    lines = []
    for kind, row in zip(["th", *["td"] * (len(rows) - 1)], rows, strict=True):
        lines.append("<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in row) + "</tr>")
    return "\n".join(['<table class="scores">', *lines, "</table>"])


def _quiet(lines: Sequence[str]) -> str:
    """Return lines below what they are about."""
    return "\n".join(f'<p class="quiet">{escape(line)}</p>' for line in lines)
