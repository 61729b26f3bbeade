"""The base of all kinds of sources: options, labels, splits, and how a kind is recognised.

A recipe is suggested in two steps: a :class:`Sniffer` tells of which kind some files are; :class:`Hints` tell what a
recipe for them should say, after a :class:`Survey` of the items.
"""

from __future__ import annotations

import ast
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from aepipe import recipe
from aepipe.errors import ItemError, SourceError
from aepipe.sources.dates import Written
from aepipe.sources.files import Files
from aepipe.sources.item import Container, Given, Item, Said, Select
from aepipe.sources.passed_over import PassedOver
from aepipe.store.labels import joined

if TYPE_CHECKING:
    import pyarrow as pa

SNIPPET = "snippet"
"""The column with the beginning of each document, to show it."""
SNIPPET_LENGTH = 120
HEAD = 1 << 13
"""Bytes of a file that sniffers see."""
LOOKED_AT = 200
"""Items that a recipe is suggested from, and rows of a table that are read to tell what it holds."""
SPLITS = frozenset({"train", "test"})
_OTHER_LANGUAGES = (
    *("klasse", "kategorie", "étiquette", "etiquette", "catégorie", "categorie", "classe", "etiqueta", "categoría"),
    *("categoria", "clase", "etichetta", "метка", "класс", "категория", "标签", "类别", "標籤", "類別", "ラベル"),
    *("カテゴリ", "クラス", "레이블", "라벨", "분류", "etykieta", "kategoria", "klasa", "etiket", "kategori", "sınıf"),
)
LABELS = ("label", "category", "class", "target", *_OTHER_LANGUAGES)
"""Columns that may hold labels, the likeliest first; compared without case."""
LISTS = ("labels", "categories", "classes", "targets", "topics", "tags")
"""Columns that may hold several labels of an item, where they are lists."""
PLURALS = ("labels", "classes", "targets")
"""Those of them that arrays and tables also have with one label in each row."""
_TOLD_BY_NAME = (*LABELS, *LISTS, "split")


def several(value: Any) -> Any:  # noqa: ANN401  what a recipe has
    """Return one text as a list of it; other values as they are."""
    return (value,) if isinstance(value, str) else value


Several = Annotated[tuple[str, ...], BeforeValidator(several), Field(strict=False)]
"""Texts; one text is a list of it."""


class SplitShare(recipe.Options):
    """A split that the bytes of an item decide.

    Attributes:
        test: the share of items in the test split. Equal bytes are in the same split, and so are all
            passages or pages of one file: no test item is trained on.
    """

    test: Annotated[float, Field(gt=0, lt=1)]


class Options(recipe.Options):
    """Options under ``[source]`` that every kind has.

    Attributes:
        path: a file, a folder or a glob, relative to the recipe; ``~`` is the user's home.
        root: a folder, or several, that paths in lists and tables, and links, may lead into; relative to the recipe.
            Without it they stay in the folder of the source.
        label: a column, also of lists, which are several labels; or ``parent``, the name of the folder that the item is
            in.
        label_separator: between several labels in a text, as in ``cat|dog``; without it such a text is one label.
        split: a column with ``train`` and ``test``; ``top``, the name of the topmost folder; ``file``, the name of the
            file that holds the item, up to its first dot; or ``{ test = 0.1 }``. Without it everything is ``train``.
        key: a column with the id of each item; without it the path, or the place in a file, is the key.
        exclude: patterns of files and folders that are left out, as a ``.gitignore`` has them, after those that always
            are: ``@eaDir``, ``Thumbs.db`` and others of their sort; ``["!*"]`` has none of them.
        max_bad_share: the share of items that may be unreadable; above it, ingestion fails.
        max_vanished_share: the share of the items of the run before that may be gone; above it, ingestion fails. So an
            empty folder where a disk should be mounted does not empty the collection.
        workers: threads to decode with; 0 takes one per processor.
        part: items of a part, on average, where there are more; 0 cuts collections of more than 100,000 items into
            parts of 10,000. A part is read, and encoded, by itself, and not at all where none of its items has changed.
        keep: features that stay in the store, of a collection in parts: of ``all`` rows, or only of the ``sample`` of
            ``[views]``; each other row is decoded to see that it can be, and again when it is encoded.
        encoding: of tables, lists and documents that are not in UTF-8: ``windows-1252``; else it is told by the bytes.
        delimiter: between the cells of CSV; else it is told by the first lines.
        header: whether the first line of CSV has the names of the columns, which are ``column_0`` and so on without it.
        types: of columns of CSV, JSON and workbooks: ``{ zip = "text", year = "number" }``; also ``integer``, ``bool``,
            ``date``, ``timestamp``, ``category``; ``date-dmy`` and ``timestamp-dmy`` have the day first, ``-mdy`` the
            month. Those of other columns are told by all of their values.
    """

    path: str
    root: Several = ()
    label: str | None = None
    label_separator: Annotated[str | None, Field(min_length=1)] = None
    split: str | SplitShare | None = None
    key: str | None = None
    exclude: Several = ()
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_vanished_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    workers: Annotated[int, Field(ge=0)] = 0
    part: Annotated[int, Field(ge=0)] = 0
    keep: Literal["all", "sample"] = "all"
    encoding: str | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    header: bool | None = None
    types: dict[str, Said] = Field(default_factory=dict)

    @property
    def given(self) -> Given:
        """What the options say of tables."""
        texts = {name for name in (self.label, self.split) if isinstance(name, str)}
        sheet = getattr(self, "sheet", None)
        said = tuple(sorted(self.types.items()))
        select = Select(getattr(self, "table", None), getattr(self, "query", None))
        return Given(self.encoding, self.delimiter, self.header, sheet, said, frozenset(texts), select)


class TableOptions(Options):
    """Options under ``[source]`` of the kinds that read tables.

    Attributes:
        table: a table or a view of an SQLite or DuckDB file; without it, the file has to have one table.
        query: a ``SELECT`` whose result is read in place of a table, in its own order.
    """

    table: str | None = None
    query: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.table is not None and self.query is not None:
            raise ValueError("table and query are two ways to say what is read; allowed: one of them")
        return self


class ItemSource:
    """The part of a source that all kinds share.

    A kind adds ``shape``, ``dtype``, ``features()`` and ``row()``.

    See :class:`aepipe.sources.item.Source`.

    Args:
        options: where the items are.
        name: of the recipe.
        files: at :attr:`Options.path`.
        container: that holds the items.

    Raises:
        SourceError: a column for label or split is missing.
    """

    kind: ClassVar[str]
    called: ClassVar[str]
    """The plural that messages use for its items."""
    kept: float = 1.0
    """The share of items whose features stay in the store, where they are in parts."""

    def __init__(self, options: Options, name: str, files: Files, container: Container) -> None:
        self.name = name
        self._options = options
        self._files = files
        self._container = container
        self._check_columns()
        self._check_select()

    @property
    def location(self) -> Path:
        """The folder that places are relative to."""
        return self._files.root

    @property
    def roots(self) -> tuple[Path, ...]:
        """Other folders that items may lie in."""
        return self._files.roots

    @property
    def max_bad_share(self) -> float:
        """The share of items that may be unreadable."""
        return self._options.max_bad_share

    @property
    def max_vanished_share(self) -> float:
        """The share of the items of the run before that may be gone."""
        return self._options.max_vanished_share

    @property
    def workers(self) -> int:
        """Threads to decode with; 0 for one per processor."""
        return self._options.workers

    @property
    def part(self) -> int:
        """Items of a part; 0 for the usual number."""
        return self._options.part

    @property
    def test_share(self) -> float:
        """The share of items whose bytes put them into the split ``test``."""
        share = self._options.split
        return share.test if isinstance(share, SplitShare) else 0.0

    @property
    def passed_over(self) -> PassedOver:
        """Files that the last iteration left out, with the reasons."""
        return self._container.passed_over

    @property
    def dates(self) -> Mapping[str, Written]:
        """Columns of texts that are all dates, and what they tell; without label and split."""
        found: Mapping[str, Written] = getattr(self._container, "dates", {})
        return {name: one for name, one in found.items() if name not in self._used and name != self._options.key}

    @property
    def left_out(self) -> Mapping[str, str]:
        """Columns that the container cannot keep; the rows of most kinds are not made of columns."""
        return getattr(self._container, "left_out", {})

    @property
    def notes(self) -> Sequence[str]:
        """What the container guessed of its files, in words."""
        return getattr(self._container, "notes", ())

    @property
    def spans(self) -> list[dict[str, Any]] | None:
        """None: all cells of a row are of one sort."""
        return None

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source itself: its rows need nothing that is learned from the items."""
        return self

    def under(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source itself: what rows are made of does not depend on the items."""
        return self

    def schema(self) -> pa.Schema:
        """Return the columns that are neither label nor split."""
        import pyarrow as pa

        return pa.schema([field for field in self._container.schema() if field.name not in self._used])

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns of tables in text have the types of other rows, where the values fit."""
        keep = getattr(self._container, "keep_types", None)
        if keep is not None:
            keep(known)

    def total(self) -> int | None:
        """Return the number of items, where that is cheap to know; else None."""
        return self._container.total()

    def items(self) -> Iterator[Item]:
        """Yield the items in the container's order.

        Raises:
            SourceError: there are none, or the container is damaged.
        """
        empty = True
        for item in self._container.items():
            empty = False
            yield self._finished(item)
        if empty:
            passed_over = self.passed_over.summary()
            why = f"; passed over: {passed_over}" if passed_over else ""
            raise SourceError(f"{self._files.given}: no {self.called} in it{why}")

    def split(self, item: Item, sha256: bytes) -> str:
        """Return the split of an item: decided by its bytes, or by the source, else ``train``."""
        share = self._options.split
        if isinstance(share, SplitShare):
            # The first 8 bytes of a digest are a random number in 0..2^64 that never changes.
            sha256 = item.whole or sha256
            return "test" if int.from_bytes(sha256[:8], "big") < share.test * 2.0**64 else "train"
        return item.split or "train"

    @property
    def _by_bytes(self) -> bool:
        return isinstance(self._options.split, SplitShare)

    def _finished(self, item: Item) -> Item:
        """Return an item with label and split filled in, and without their columns."""
        label, split = self._options.label, self._options.split
        # The commonest case is quick: no new item where nothing is filled in.
        if label is None and not isinstance(split, str) and not self._options.label_separator:
            return item
        # With ids of its own, an item's key says nothing about folders.
        path = item.place if self._options.key else item.key
        label = _parent(path) if label == "parent" else self._label(item)
        if split == "top":
            split = _top(path)
        elif split == "file":
            split = item.place.partition("#")[0].rpartition("/")[2].partition(".")[0]
        else:
            split = _chosen(split if isinstance(split, str) else None, item.columns, item.split)
        columns = {name: value for name, value in item.columns.items() if name not in self._used}
        return Item(item.key, item.place, item.reader, label, split, columns, item.whole)

    def _label(self, item: Item) -> str | None:
        """Return the label of an item, or several as :mod:`aepipe.store.labels` keeps them."""
        given = item.label if self._options.label is None else item.columns.get(self._options.label, item.label)
        separator = self._options.label_separator
        if separator and isinstance(given, str):
            return joined(given.split(separator))
        several = listed_labels(given)
        return _text(given) if several is None else joined(several)

    @cached_property
    def _used(self) -> set[str]:
        wanted = {self._options.label} - {"parent"} | {self._options.split} - {"top", "file"}
        return {name for name in wanted if isinstance(name, str)}

    def _check_select(self) -> None:
        """Raise SourceError where a table of a database is named, and no database is there."""
        if self._options.given.select:
            from aepipe.sources.formats import typed

            if not any(typed.holds(found) and typed.is_database(found) for found in self._files):
                raise SourceError(
                    f"{self._files.given}: no database; table and query under [source] are for SQLite and DuckDB files"
                )

    def _check_columns(self) -> None:
        """Raise SourceError where a column for label or split is missing."""
        names = [*self._container.schema().names, *sorted(self._container.gives)]
        for option, special in (("label", ("parent",)), ("split", ("top", "file"))):
            name = getattr(self._options, option)
            if isinstance(name, str) and name not in special and name not in names:
                raise SourceError(
                    f"{self._files.given}: no column {name!r} for {option}; it has: {', '.join(names) or 'none'}. "
                    f"{option} = {special[0]!r} takes a folder's name"
                )


def listed_labels(value: object) -> list[str] | None:
    """Return the labels in a list, or in its text as JSON or Python; None for anything else."""
    if isinstance(value, str):
        value = _list_in(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple | set | frozenset):
        return None
    # A column of whole numbers with a hole in it comes as floats.
    return [str(int(one)) if isinstance(one, float) and one.is_integer() else _text(one) or "" for one in value]


def _list_in(text: str) -> object:
    """Return the list that a text is; None where it is none."""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return cast(object, read(text))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _chosen(option: str | None, columns: Mapping[str, object], natural: str | None) -> str | None:
    return natural if option is None else _text(columns.get(option, natural))


def _parent(path: str) -> str | None:
    # Text, not a Path: making one takes as long as reading a small file.
    return path.rpartition("/")[0].rstrip("/").rpartition("/")[2] or None


def _top(path: str) -> str | None:
    top, inside, _ = path.lstrip("/").partition("/")
    return top if inside else None


def _text(value: object) -> str | None:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).strip()


@dataclass(frozen=True, slots=True)
class Glimpse:
    """The first bytes of a file.

    Attributes:
        name: its path relative to the source.
        head: at most :data:`HEAD` bytes.
        table: it is CSV, JSON lines or Parquet.
    """

    name: str
    head: bytes
    table: bool = False


def _no_file(seen: Glimpse) -> bool:
    return False


def _no_column(column: pa.Field, cells: Sequence[object]) -> bool:
    return False


def _no_texts(texts: Mapping[str, Sequence[str]], rows: int) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sniffer:
    """How files of one kind are recognised.

    Attributes:
        rank: kinds are tried by rank, the lowest first.
        file: tells whether a whole file is of this kind; raises ItemError with the reason where it nearly is.
        column: tells whether a column with a type holds such items, by the type and the first of its values.
        texts: returns the column of a table that holds such items, or the paths of them, by its texts; None where there
            is none. The second argument is the number of rows, as cells may be empty.
        option: under ``[source]``, which names that column; empty where there is none.
        aside: files of this kind next to files of another are taken to be about those.
    """

    rank: int
    file: Callable[[Glimpse], bool] = _no_file
    column: Callable[[pa.Field, Sequence[object]], bool] = _no_column
    texts: Callable[[Mapping[str, Sequence[str]], int], str | None] = _no_texts
    option: str = ""
    aside: bool = False


def column_of_paths(texts: Mapping[str, Sequence[str]], endings: tuple[str, ...]) -> str | None:
    """Return the first column whose texts nearly all end as names of some kind of file do."""
    for name, values in texts.items():
        named = [value for value in values if value.strip()]
        if named and sum(value.strip().lower().endswith(endings) for value in named) >= PATHS * len(named):
            return name
    return None


def refuse_paths(seen: Glimpse, sniffers: Mapping[str, Sniffer]) -> None:
    """Refuse a text that is nothing but paths of files.

    Raises:
        ItemError: it is; the reason says how to make a list of it.
    """
    lines = seen.head.decode("utf-8", "replace").splitlines() if b"\0" not in seen.head else []
    lines = lines[:-1] if len(seen.head) == HEAD else lines
    for kind in _BY_PATH if any(map(str.strip, lines)) else ():
        if sniffers[kind].texts({"": lines}, len(lines)) is not None:
            first = sniffers[kind].option
            raise ItemError(
                seen.name, f"a list of paths: with a first line `{first}` and a name in .csv it is read as one"
            )


_BY_PATH = ("images", "audio", "video")  # kinds whose files may be named in lists
PATHS = 0.8
"""Share of the texts of a column that end as names of files, from which it is one of paths."""


@dataclass(slots=True)
class Survey:
    """Counts over the items of a collection, without a look into them.

    Attributes:
        rows: items in all.
        parents: items by the name of their folder.
        tops: items by the name of their topmost folder.
        files: items by the name of the file that holds them, up to its first dot.
        columns: items by value, for each of the columns that may be ``label`` or ``split``.
        given: items with a ``label``, and with a ``split``, that their container gives them.
        lists: columns with lists of values, which are counted one by one.
    """

    rows: int = 0
    parents: Counter[str] = field(default_factory=Counter)
    tops: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    columns: dict[str, Counter[str]] = field(default_factory=dict)
    given: Counter[str] = field(default_factory=Counter)
    lists: set[str] = field(default_factory=set)

    def count(self, item: Item) -> None:
        """Count an item."""
        self.rows += 1
        folders = PurePosixPath(item.key).parts[:-1]
        self.parents[folders[-1] if folders else ""] += 1
        self.tops[folders[0] if folders else ""] += 1
        self.files[PurePosixPath(item.place.partition("#")[0]).name.partition(".")[0]] += 1
        self.given["label"] += item.label is not None
        self.given["split"] += item.split is not None
        for column, value in item.columns.items():
            if column.casefold() not in _TOLD_BY_NAME:
                continue
            several = listed_labels(value)
            if several is not None:
                self.lists.add(column)
                self.columns.setdefault(column, Counter()).update(several)
            elif value is not None:
                self.columns.setdefault(column, Counter())[str(value)] += 1

    def label(self) -> str:
        """Return the option for labels: a column, or ``parent``.

        ``given`` where the container gives labels; empty where there are none.
        """
        if self.given["label"]:
            return "given"
        likely = min(self._may_be_labels(), key=_likelihood, default="")
        if likely:
            return likely
        # A folder ``column=value`` gives a column of its own.
        classes = {
            name: count for name, count in self.parents.items() if name and name not in SPLITS and "=" not in name
        }
        # Folders by date or by author are no classes: there are many of them, or few items in each.
        plausible = 2 <= len(classes) <= max(2, self.rows // 5) and np.median(list(classes.values())) >= 3
        return "parent" if plausible and sum(classes.values()) >= 0.95 * self.rows else ""

    def _may_be_labels(self) -> Iterator[str]:
        """Yield the columns that have the name of a label, and few enough values."""
        for name, values in self.columns.items():
            known = name.casefold()
            one = known in (*LABELS, *PLURALS) or (known in LISTS and name in self.lists)
            if one and 2 <= len(values) <= max(2, self.rows // 3):
                yield name

    def split(self) -> str:
        """Return the option for splits: ``split``, ``top`` or ``file``.

        ``given`` where the container gives splits; empty where there are none.
        """
        if self.given["split"]:
            return "given"
        if set(self.columns.get("split", ())) >= SPLITS:
            return "split"
        for option, seen in (("top", self.tops), ("file", self.files)):
            if set(seen) >= SPLITS and seen["train"] + seen["test"] >= 0.95 * self.rows:
                return option
        return ""


def _likelihood(name: str) -> tuple[int, bool]:
    """Return what sorts columns of labels, the likeliest first."""
    return _TOLD_BY_NAME.index(name.casefold()), name != name.casefold()


def survey_items(items: Iterable[Item]) -> tuple[Survey, list[Item]]:
    """Count all items; return the counts, and the first items to look into."""
    seen, first = Survey(), list[Item]()
    for item in items:
        seen.count(item)
        if len(first) < LOOKED_AT:
            first.append(item)
    return seen, first


@dataclass(frozen=True, slots=True)
class Hints:
    """What a kind of source says about a collection, so that a recipe can be written for it.

    Attributes:
        survey: the number of items, and what labels and splits can be made of.
        seen: what the recipe is derived from, in words: ``60 documents``.
        features: the block ``[features]``, each choice with its reason; empty where the kind has nothing to choose.
        cells: of a row of a table, some of which may be missing; 0 for what is no table.
        unreadable: items that were looked at and cannot be decoded, each with the reason.
        left_out: columns that rows are not made of, or that are not kept, each with the reason.
        lacks: a package that the right recipe needs and that is not installed, and the extra that brings it.
        edits: a change of whole rows that leaves them of their kind, as a recipe writes it; empty where none is known.
        dates: columns of text that are dates as people write them, and what they tell.
    """

    survey: Survey
    seen: str
    features: str = ""
    cells: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    lacks: tuple[str, str] | None = None
    edits: str = ""
    dates: Mapping[str, Written] = field(default_factory=dict)
