"""A column whose holes are filled: how its values are read, and expected ones written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import SourceError
from aepipe.learn.impute import LEAST_ROWS, Estimate, Layout, estimate
from aepipe.sources import notation
from aepipe.sources.dates import write_date
from aepipe.sources.notation import write_number
from aepipe.sources.tally import Reading, Tally, reading_of

_LOOK = 1000  # values whose signs are counted


@dataclass(slots=True)
class Report:
    """What was done to a table.

    Attributes:
        rows: in all.
        holes: number of filled values, by column.
        spread: mean uncertainty of the filled values of each column.
        left_out: columns that stay as they are, each with its reason.
        notes: what was guessed, in words.
    """

    rows: int
    holes: dict[str, int] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """A column that is learned from.

    Attributes:
        name: of the column, which no other one has.
        values: what the network reads, by row: float64 with NaN, or objects with None.
        gaps: rows to fill, bool[N]; other values that cannot be read stay as they are.
    """

    name: str
    values: NDArray[Any]
    gaps: NDArray[np.bool_]

    @property
    def holes(self) -> int:
        """The number of rows to fill."""
        return int(self.gaps.sum())


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts.

    Attributes:
        reading: how they are read.
        texts: by row; what stands in holes does not matter.
        gaps: rows to fill, bool[N].
    """

    reading: Reading
    texts: Sequence[str]
    gaps: NDArray[np.bool_]

    def part(self, name: str) -> Part:
        """Return the column as it is learned from."""
        if self.reading.kind == "category":
            texts = zip(self.texts, self.gaps, strict=True)
            return Part(name, np.array([None if gap else text for text, gap in texts], object), self.gaps)
        values = [np.nan if gap else self._number(text) for text, gap in zip(self.texts, self.gaps, strict=True)]
        return Part(name, np.array(values, np.float64), self.gaps)

    def written(self, found: Estimate) -> dict[int, str]:
        """Return the texts for the holes by row, written as the other values are."""
        rows = np.flatnonzero(self.gaps).tolist()
        if self.reading.kind == "category":
            return {row: str(found.values[row]) for row in rows}
        like = self._usual()
        if self.reading.kind == "date":
            return {row: write_date(float(found.values[row]), like, self.reading.order) for row in rows}
        sign = self.reading.decimal or "."
        return {row: write_number(float(found.values[row]), like, sign) for row in rows}

    def spread(self, found: Estimate) -> dict[int, str]:
        """Return the uncertainty of filled values by row, with the decimal sign of the column."""
        sign = self.reading.decimal or "."
        rows = np.flatnonzero(self.gaps).tolist()
        return {row: format(found.uncertainty[row], ".6g").replace(".", sign) for row in rows}

    def _number(self, text: str) -> float:
        if notation.is_missing(text):
            return np.nan
        try:
            return self.reading.read(text)
        except (TypeError, ValueError):
            return np.nan

    def _usual(self) -> str:
        """Return a value with the signs that most have."""
        pairs = zip(self.texts, self.gaps, strict=True)
        known = list(islice((text for text, gap in pairs if not gap and not np.isnan(self._number(text))), _LOOK))
        signs = [(one.before, one.after) if (one := notation.written(text)) else ("", "") for text in known]
        usual = Counter(signs).most_common(1)[0][0]
        return known[signs.index(usual)]


def read_texts(
    columns: Mapping[str, Sequence[str]], gaps: Mapping[str, NDArray[np.bool_]], places: Sequence[str], found: Report
) -> dict[str, Texts]:
    """Tell how columns of texts are read; other columns and guesses go into the report.

    Args:
        columns: their texts, by name.
        gaps: rows to fill, bool[N], by name.
        places: of the rows, for messages.
        found: the report.
    """
    tallies = {name: Tally(name) for name in columns}
    for name, texts in columns.items():
        for text, gap, place in zip(texts, gaps[name], places, strict=True):
            if not gap and not notation.is_missing(text):
                tallies[name].add(text, place)
    read = {}
    for name, reading in reading_of({}, tallies, single=True).items():
        if reading.kind is None or reading.torn:
            found.left_out[name] = reading.torn or reading.reason
            continue
        found.notes += reading.notes
        read[name] = Texts(reading, columns[name], gaps[name])
    return read


def learned(parts: Sequence[Part], *, seed: int, device: str, steps: int, found: Report) -> Iterator[Estimate]:
    """Learn from columns, and yield the values expected in those with holes, for the report.

    Raises:
        SourceError: there are too few rows, or nothing to learn from.
        TrainingError: a loss is not finite.
    """
    import pandas as pd

    if found.rows < LEAST_ROWS:
        raise SourceError(f"{found.rows} rows are too few to learn from: at least {LEAST_ROWS} are needed")
    if not parts:
        reasons = "; ".join(f"{name}: {why}" for name, why in found.left_out.items())
        raise SourceError(f"no column can be learned from: {reasons or 'there is none'}")
    if not any(part.holes for part in parts):
        kept = "".join(f"; {name} stays as it is: {why}" for name, why in found.left_out.items())
        raise SourceError(f"there are no holes to fill, and nothing is written{kept}")
    # Names may hold letters that are bad bytes, which pandas does not take.
    by_place = {str(place): part for place, part in enumerate(parts)}
    series = {place: pd.Series(part.values, dtype=part.values.dtype) for place, part in by_place.items()}
    frame = pd.DataFrame(series)
    for one in estimate(frame, Layout.of(frame), seed=seed, device=device, steps=steps):
        part = by_place[one.name]
        if part.holes:
            found.holes[part.name] = part.holes
            found.spread[part.name] = float(one.uncertainty[part.gaps].mean())
            yield replace(one, name=part.name)
