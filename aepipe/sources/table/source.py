"""Tables of numbers, categories and holes: CSV, JSON lines or Parquet; ``kind = "table"``.

The values of a column tell its kind: numbers where all values are numbers, dates where all are dates, categories where
at most 64 of them differ. In a column of numbers or dates, a few values that are something else count as missing. Other
columns are left out, and so are row numbers, columns without any value, and those with a single one; ``types`` says
what a column is where its values do not tell.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aepipe import recipe
from aepipe.errors import ItemError, SourceError
from aepipe.sources import base, notation
from aepipe.sources.base import SNIPPET, SNIPPET_LENGTH
from aepipe.sources.dates import order_said
from aepipe.sources.files import Files
from aepipe.sources.formats import records
from aepipe.sources.formats.schemas import is_compound
from aepipe.sources.item import Decode, Item, Ordered
from aepipe.sources.table import decode as cells
from aepipe.sources.table.ranks import Sampled, knots_of
from aepipe.sources.tally import STRAY, Kind, Reading, Tally, reading_of

APART = 1.0
"""Distance of two rows that differ in a category, where rows are weighted, in standard deviations of a number."""
NAMED = 12
"""Columns that a note names."""
KINDS: Mapping[str, Kind] = {
    **{"number": "number", "integer": "number", "date": "date", "timestamp": "date"},
    **{"category": "category", "bool": "category", "text": "text"},
    **dict.fromkeys(get_args(Ordered), "date"),
}
"""What a column of each type is for rows."""


class Options(base.TableOptions):
    """Options under ``[source]``.

    Attributes:
        leave_out: columns that do not go into rows; the label and the key never do.
        types: as for every kind; a column of type ``text`` does not go into rows.
        max_stray_share: the share of a column's values that may be no numbers, or no dates, as those of the others are;
            they count as missing. A column with more of them has to be named in ``types`` or ``leave_out``.
        sheet: of a workbook; without it the first one is read.
    """

    leave_out: tuple[str, ...] = Field(default=(), strict=False)
    max_stray_share: Annotated[float, Field(ge=0, le=1)] = STRAY
    sheet: str | None = None


class Features(recipe.GrownOptions):
    """Options under ``[features]``.

    Attributes:
        units: the units of columns, for messages: ``{ age = "years" }``.
        weighted: rows are near each other where a person would say so. A difference in a category counts as much as
            one standard deviation of a number, whatever the number of its levels. Where a few numbers are far larger
            than all others, their ranks are taken. A missing value is between all others. Without it, categories are 0
            and 1, as their likelihoods need them.
    """

    later: ClassVar[frozenset[str]] = frozenset({"weighted"})

    units: dict[str, str] = Field(default_factory=dict)
    weighted: bool = False


def open_source(options: Options, features: Features, *, base: Path, name: str) -> Table:
    """Return the source; see :func:`aepipe.sources.resolve`."""
    return Table(options, features, base=base, name=name)


class Table(base.ItemSource):
    """A source of rows of a table; see :class:`aepipe.sources.item.Source`.

    The whole table is read once when the source is opened, to tell the kinds of its columns.

    Raises:
        SourceError: the path does not exist or holds no table, or a column is missing.
    """

    kind = "table"
    called = "rows"
    dtype = "float32"

    def __init__(self, options: Options, features: Features, *, base: Path, name: str) -> None:
        self._features = features
        self._decode: Decode | None = None
        files = Files.at(options.path, base, options.exclude, options.root)
        self._records = records.Records(files, _body, key=options.key, given=options.given)
        super().__init__(options, name, files, self._records)
        self._choices = options
        self._torn: dict[str, str] = {}
        self._left_out = self._named()
        self._columns, self._notes = self._look()

    @property
    def left_out(self) -> Mapping[str, str]:
        """The columns that rows are not made of, each with its reason."""
        return self._left_out

    @property
    def notes(self) -> Sequence[str]:
        """What the rows are made of, and what was guessed of its columns, in words."""
        return (*super().notes, *self._notes)

    @property
    def shape(self) -> tuple[int]:
        """Cells of a row."""
        return (sum(cells.cells_of(column) for column in self._learnable()),)

    @property
    def spans(self) -> list[dict[str, Any]]:
        """The cells of each column and their likelihood, as the likelihood ``columns`` takes them."""
        columns = self._learnable()
        sizes = [cells.cells_of(column) for column in columns]
        if self._features.weighted:
            return [{"columns": size, "likelihood": "gaussian"} for size in sizes]
        kinds = ["bernoulli" if column["kind"] == "category" else "gaussian" for column in columns]
        return [
            {"columns": size, "likelihood": kind if size == 1 else "categorical"}
            for size, kind in zip(sizes, kinds, strict=True)
        ]

    def features(self) -> dict[str, Any]:
        """Return the options, and the kinds of the columns."""
        return {"kind": self.kind, "decoder": cells.VERSION, **self._features.model_dump(), "columns": self._columns}

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source with the known columns, where names and kinds are the same.

        Raises:
            SourceError: a column may be numbers with mistakes, or texts, and the options do not say which; or no column
                can be learned from.
        """
        self._check_torn()
        self._learnable()
        other = copy.copy(self)
        # Other columns make other rows, so then everything is learned again.
        if known and self._is_made_as(known):
            other._columns = known["columns"]
        other._decode = cells.decoder(other.features())
        return other

    def _is_made_as(self, known: Mapping[str, Any]) -> bool:
        """Whether rows with these features are made by the same options, of the same columns."""
        chosen = self._features
        same = known.get("kind") == self.kind and known.get("units") == chosen.units
        same = same and known.get("weighted", False) == chosen.weighted
        return bool(same) and list(map(_alike, known["columns"])) == list(map(_alike, self._columns))

    def under(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source with the known columns, whatever the values tell of them now.

        Raises:
            SourceError: one of them is gone.
        """
        if not known or known.get("kind") != self.kind:
            return self
        names, there = [column["name"] for column in known["columns"]], self._container.schema().names
        gone = next((name for name in names if name not in there), None)
        if gone is not None:
            raise SourceError(f"{self._files.given}: column {gone!r} is gone, which the encoder in service reads")
        other = copy.copy(self)
        other._columns, other._torn = known["columns"], {}
        new = [column["name"] for column in self._columns if column["name"] not in names]
        note = f"columns that the encoder in service has not learned from: {', '.join(new[:NAMED])}"
        other._notes = [_listed(known["columns"]), *([note] if new else [])]
        return other

    def schema(self) -> Any:  # noqa: ANN401  pyarrow has no types
        """Return the columns that are neither label nor split, and each row in a line."""
        import pyarrow as pa

        own = super().schema()
        return own if SNIPPET in own.names else own.append(pa.field(SNIPPET, pa.string()))

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        """Return the cells of one row, float32[D]."""
        assert self._decode is not None, "fitted() comes first"
        return self._decode(data, key)

    def _finished(self, item: Item) -> Item:
        """Add the row in a line."""
        item = super()._finished(item)
        shown = ((name, value) for name, value in item.columns.items() if notation.present(value) is not None)
        line = ", ".join(f"{name} {str(value).strip()}" for name, value in shown)
        return replace(item, columns={**item.columns, SNIPPET: line[:SNIPPET_LENGTH]})

    def _named(self) -> dict[str, str]:
        """Return the columns that options or types keep out of rows, each with its reason."""
        chosen = self._choices
        kinds = {field.name: field.type for field in self._container.schema()}
        compound = {name: f"{kind}: neither numbers nor texts" for name, kind in kinds.items() if is_compound(kind)}
        reasons = {"the key": chosen.key, "the split": chosen.split, "the label": chosen.label}
        named = self._records.left_out | compound | dict.fromkeys(chosen.leave_out, "leave_out names it")
        used = self._used | {chosen.key}
        return named | {name: why for why, name in reasons.items() if isinstance(name, str) and name in used}

    def _look(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Read all rows; return the kind of each column, its levels or mean and scale, and what was guessed."""
        names = [name for name in self._container.schema().names if name not in self._left_out]
        self._check_types(names)
        tallies = {name: Tally(name, order_said(self._choices.types.get(name, ""))) for name in names}
        samples = {name: Sampled() for name in names} if self._features.weighted else {}
        for item, learn in self._seen():
            for name, tally in tallies.items():
                value = notation.present(item.columns.get(name))
                if value is not None:
                    tally.add(value, item.place, learn=learn)
                    if learn and samples:
                        samples[name].add(value)
        said = {name: KINDS[kind] for name, kind in self._choices.types.items()}
        readings = reading_of(said, tallies, stray=self._choices.max_stray_share)
        self._add_commas({name: one for name, one in readings.items() if one.decimal == ","}, tallies)
        columns, notes = self._judged(readings, tallies)
        if self._features.weighted:
            columns = [_weighted(column, readings[column["name"]], samples[column["name"]]) for column in columns]
            notes += _ranked(columns)
        return columns, notes

    def _seen(self) -> Iterator[tuple[Item, bool]]:
        """Yield each row, and whether it is one to learn from."""
        for raw in self._records.untyped():
            item = super()._finished(raw)
            # Digests cost time, so they are computed only where they decide the split.
            yield item, self.split(item, _digest(item) if self._by_bytes else b"") == "train"

    def _add_commas(self, readings: Mapping[str, Reading], tallies: Mapping[str, Tally]) -> None:
        """Sum up columns with decimal commas: what a 1,234 means was unknown until the last row."""
        for item, learn in self._seen() if readings else ():
            for name, reading in readings.items() if learn else ():
                try:
                    tallies[name].sums[","].add(reading.read(notation.present(item.columns.get(name))))
                except (TypeError, ValueError):
                    continue

    def _judged(
        self, readings: Mapping[str, Reading], tallies: Mapping[str, Tally]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the columns that rows are made of, and the notes; keep the reasons of the others."""
        columns, notes = list[dict[str, Any]](), list[str]()
        for name, reading in readings.items():
            if reading.kind is None:
                self._left_out[name] = reading.reason + _instead(name, reading.reason)
                continue
            if reading.torn:
                self._torn[name] = reading.torn
            columns.append(_column(tallies[name], reading, self._features.units.get(name)))
            notes += reading.notes
        if not columns:
            return [], notes
        return columns, [_listed(columns), *notes]

    def _learnable(self) -> list[dict[str, Any]]:
        """Return the columns that rows are made of.

        A few rows that are added to others need none: they become rows as those have.

        Raises:
            SourceError: there is none.
        """
        if not self._columns:
            raise SourceError(f"{self._files.given}: no column can be learned from: {_reasons(self._left_out)}")
        return self._columns

    def _check_types(self, names: Sequence[str]) -> None:
        """Raise SourceError where an option names a column that is not there."""
        missing = [name for name in self._choices.types if name not in {*names, *self._left_out}]
        if missing:
            raise SourceError(
                f"{self._files.given}: no column {missing[0]!r} for types; it has: {', '.join(names) or 'none'}"
            )

    def _check_torn(self) -> None:
        """Raise SourceError where nobody can tell what a column is."""
        for name, why in self._torn.items():
            raise SourceError(
                f"{self._files.given}: column {name!r}: {why}. Say under [source] what it is: "
                f'types = {{ {_key(name)} = "number" }} takes the others as missing; "category" and "text" are '
                f"other kinds; leave_out = [{json.dumps(name, ensure_ascii=False)}] leaves it out"
            )


def _digest(item: Item) -> bytes:
    """Return the digest that decides a split; zeros for a row that cannot be read."""
    try:
        return hashlib.sha256(item.read()).digest()
    except ItemError:  # ingestion reports it
        return bytes(32)


def _body(record: records.Record) -> bytes:
    """Return a row as JSON: equal rows have equal bytes."""
    # The digest of these bytes tells whether a row has changed.
    return json.dumps(record, sort_keys=True, default=str, ensure_ascii=False).encode("utf-8", "replace")


def _column(seen: Tally, reading: Reading, unit: str | None) -> dict[str, Any]:
    """Return a column as :func:`aepipe.sources.table.decode.decoder` takes it."""
    if reading.kind == "category":
        return {"name": seen.name, "kind": "category", "levels": sorted(seen.values), "unit": unit}
    sums = seen.sums[reading.order if reading.kind == "date" else reading.decimal or "."]
    mean = sums.total / max(sums.count, 1)
    deviation = math.sqrt(max(sums.squares / max(sums.count, 1) - mean**2, 0.0))
    # A deviation this small is a rounding error of a constant column.
    scale = 1 / deviation if deviation > 1e-9 * (1 + abs(mean)) else 0.0
    found = {"name": seen.name, "kind": reading.kind, "mean": mean, "scale": scale, "unit": unit}
    # Keys that most columns do not have are left out, so that their rows keep their digests.
    more: dict[str, str | bool | None] = {"order": reading.order if reading.kind == "date" else None}
    more |= {"short": reading.short, "decimal": reading.decimal, "strays": bool(reading.strays or seen.infinite)}
    return found | {key: value for key, value in more.items() if value}


def _weighted(column: dict[str, Any], reading: Reading, seen: Sampled) -> dict[str, Any]:
    """Return a column with what makes its distances those that a person would name."""
    if column["kind"] == "category":
        return column | {"apart": APART}
    knots = knots_of(list(_numbers(reading, seen)))
    return column | {"knots": knots} if knots else column


def _ranked(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a note on the columns that are ranked, or none."""
    names = [str(column["name"]) for column in columns if "knots" in column]
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    said = f"columns compared by rank, as a few numbers are far from all others: {', '.join(names[:NAMED])}{more}"
    return [said] if names else []


def _numbers(reading: Reading, seen: Sampled) -> Iterator[float]:
    for value in seen.values:
        try:
            yield reading.read(value)
        except (TypeError, ValueError):
            continue


def _alike(column: Mapping[str, Any]) -> list[str | None]:
    """Return what has to be the same in two columns, so that what was learned of one holds for the other."""
    return [column["name"], column["kind"], column.get("decimal"), column.get("order"), column.get("short")]


def _listed(columns: Sequence[Mapping[str, Any]]) -> str:
    """Return the columns that rows are made of, in words."""
    names = [f"{column['name']} ({_kind(column)})" for column in columns]
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"columns learned from: {', '.join(names[:NAMED])}{more}"


def _kind(column: Mapping[str, Any]) -> str:
    """Return the kind of a column in words."""
    return f"{len(column['levels'])} categories" if column["kind"] == "category" else str(column["kind"])


def _instead(name: str, reason: str) -> str:
    """Return how a column of numbers is learned from all the same."""
    said = f'; if it is a measure, say types = {{ {_key(name)} = "number" }} under [source]'
    return said if reason.startswith(("ids", "likely ids")) else ""


def _reasons(left_out: Mapping[str, str]) -> str:
    named = [f"{name or 'without a name'}: {why}" for name, why in list(left_out.items())[:NAMED]]
    return "; ".join(named) or "there is none"


def _key(name: str) -> str:
    """Return a name as a key of TOML."""
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


WEIGHTED = (
    "[features]\nweighted = true  # another category is a standard deviation; ranks stand for numbers of heavy tails"
)
SNIFFER = base.Sniffer(rank=6, texts=lambda texts, rows: "", aside=True)
"""Its rank is the last: the rows of a table are the items only where no other kind finds its items in it."""


def suggest(path: str, items: Iterable[Item]) -> base.Hints:
    """Return what a recipe for a table should say; the table itself says what its columns are."""
    seen, _ = base.survey_items(items)
    return base.Hints(seen, f"{seen.rows:,} {Table.called}", WEIGHTED)
