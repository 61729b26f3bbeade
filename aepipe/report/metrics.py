"""Figures of a run as Prometheus reads them: a text file for the textfile collector of node_exporter.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aepipe.store.io import write_into_folder

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Gauge:
    """One number under a name, with labels.

    Attributes:
        name: without the prefix ``aepipe_``; units stand at its end.
        value: the number.
        labels: what tells it from others of that name.
        about: what it is, for the first of that name.
    """

    name: str
    value: float
    labels: Mapping[str, str]
    about: str = ""


def text(gauges: Sequence[Gauge]) -> str:
    """Return gauges in the text format; those of a name stand together."""
    lines: list[str] = []
    for name in dict.fromkeys(one.name for one in gauges):
        lines += _family(name, [one for one in gauges if one.name == name])
    return "\n".join(lines) + "\n"


def write(gauges: Sequence[Gauge], file: Path) -> None:
    """Write gauges into a file, whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    write_into_folder(file, text(gauges))


def _family(name: str, gauges: Sequence[Gauge]) -> Iterator[str]:
    """Give the lines of one name."""
    about = next((one.about for one in gauges if one.about), "")
    if about:
        yield f"# HELP aepipe_{name} {about}"
    yield f"# TYPE aepipe_{name} gauge"
    for one in gauges:
        labels = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in one.labels.items())
        yield f"aepipe_{name}{{{labels}}} {one.value:.10g}"
