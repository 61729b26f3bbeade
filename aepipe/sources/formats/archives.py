"""Archives of whole files, tar, zip and mbox, with texts about those files.

A file and the texts with the same name up to the first dot belong together, as in the shards of WebDataset and
img2dataset: ``0001.jpg``, ``0001.txt``, ``0001.json``, ``0001.cls``. There the file is the item, ``.cls`` is its label,
and the fields of ``.json`` are columns; ``.txt`` is the column ``caption``, or ``txt`` where ``.json`` has a caption.

A ``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet`` is a table about the files next to it, as in a folder;
see :mod:`aepipe.sources.formats.about`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING

from aepipe.errors import ItemError, SourceError
from aepipe.sources.exclude import excluding
from aepipe.sources.files import EMPTY, HIDDEN, Files, Found, Piece, Refused, pointer_in
from aepipe.sources.formats import about, mbox, tar, zip
from aepipe.sources.formats.folder import ABOUT
from aepipe.sources.formats.members import LINK, Member
from aepipe.sources.item import Item, Reader
from aepipe.sources.passed_over import PassedOver
from aepipe.sources.pictures import SUFFIXES
from aepipe.sources.walk import EXCLUDED

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.item import Columns, Container, Given, Sniff

BESIDE = (".txt", ".json", ".cls")
"""Endings of the texts about a file."""
LOOKED_AT = 200
"""Files whose texts tell the columns and their types."""
TABLED = 100
"""Members of a tar archive among which a table about the others is looked for."""
CAPTION, TEXT = "caption", "txt"
_LONGEST = 1 << 20  # bytes of a text about a file
_HEAD = 1 << 13


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which members are items.

    Attributes:
        called: what one item is called, with its article.
        endings: of the names of items, in lower case; without endings every member is one.
        sniff: tells by the first bytes whether a member with another ending is an item.
        without: tells by its name whether a member is none.
        instead: says what the first bytes of other members are, where it knows.
        key: the column with the id of each item; None takes the path of the member.
    """

    called: str
    endings: tuple[str, ...] = ()
    sniff: Sniff | None = None
    without: Callable[[str], bool] | None = None
    instead: Callable[[bytes], str | None] | None = None
    key: str | None = None

    def refusal(self, member: Member) -> str | None:
        """Return why a member is no item; None where it is one."""
        reason = f"not {self.called}"
        if isinstance(member.reader, Refused) and member.reader.reason == LINK:
            return LINK
        if self.without is not None and self.without(member.name):
            return reason
        if not self.endings or member.name.lower().endswith(self.endings):
            return None
        if isinstance(member.reader, Refused):
            return member.reader.reason
        try:
            return self._why_not_like(head_of(member.reader, member.name), reason)
        except (ItemError, OSError):
            return reason

    def _why_not_like(self, head: bytes, reason: str) -> str | None:
        """Return why the first bytes of a member are not those of an item; None where they are."""
        if self.sniff is not None and self.sniff(head):
            return None
        if not head:
            return EMPTY
        return pointer_in(head) or (self.instead and self.instead(head)) or reason


def claims(name: str) -> bool:
    """Whether a file has the name of an archive."""
    return any(one.claims(name) for one in (tar, zip, mbox))


def prevail(files: Iterable[Found]) -> bool:
    """Tell whether there are more archives than other files."""
    archives = others = 0
    for found in files:
        archives += claims(found.place)
        others += not claims(found.place)
    return archives > others


def open_container(files: Files, columns: Columns) -> Container:
    """Return the pictures in archives."""
    wanted = Wanted("a picture", SUFFIXES, columns.sniff, instead=columns.instead, key=columns.key)
    return described(files, wanted, columns.given)


def described(files: Files, wanted: Wanted, given: Given) -> Container:
    """Return the items in archives, with the columns of tables about them.

    Such a table is looked for among all members of a zip archive, and among the first :data:`TABLED` of a tar archive,
    which can only be read from its beginning on.

    Raises:
        SourceError: an archive or a table is damaged, there is no column of ids, or the types of a column differ.
    """
    whole = Archives(files, replace(wanted, key=None))
    folder, tables = TemporaryDirectory(prefix="aepipe-"), list[Found]()
    try:
        for place, member in whole.tables():
            # Tables are read from files.
            path = Path(folder.name, f"{len(tables)}-{PurePosixPath(member.name).name}")
            path.write_bytes(member.reader(member.name))
            tables.append(Found(place, str(path)))
        joined = about.joined(whole, tables, wanted.key, given)
    except ItemError as error:
        raise SourceError(f"{files.given}: {error}") from None
    except SourceError as error:
        text = str(error)
        for found in tables:
            text = text.replace(found.path, f"{files.given}: {found.place}")
        raise SourceError(text) from None
    if not isinstance(joined, about.Described):
        return Archives(files, wanted) if wanted.key is not None else whole
    joined.kept = folder
    return joined


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return the member at a place in an archive."""
    data: bytes = _module(path.name).read_at(path, at, key)
    return data


def heads(found: Found, most: int) -> Iterator[tuple[Member, bytes]]:
    """Yield the first members of an archive that can be read, and their first bytes.

    Raises:
        SourceError: it is no whole archive.
    """
    for member in islice(_module(found.place).members(found), 8 * most):
        if most <= 0:
            return
        if not isinstance(member.reader, Refused) and not _hidden(member.name):
            try:
                head = head_of(member.reader, member.name)
            except (ItemError, OSError):
                continue
            if head:
                most -= 1
                yield member, head


def head_of(reader: Reader, key: str) -> bytes:
    """Return the first bytes of a member."""
    # Of a member that is not packed, only these are read.
    return (replace(reader, size=min(reader.size, _HEAD)) if isinstance(reader, Piece) else reader)(key)[:_HEAD]


class Archives:
    """Archives; the key is the path of the member, after that of its archive.

    The path of the archive is left out where the source is a single one.
    """

    def __init__(self, files: Files, wanted: Wanted) -> None:
        self._files = files
        self._wanted = wanted
        self.passed_over = PassedOver()
        self.notes: Sequence[str] = ()
        self.about: frozenset[str] = frozenset()
        """Places of tables about the members; see :mod:`aepipe.sources.formats.about`."""
        if wanted.key is not None and wanted.key not in self._columns:
            raise SourceError(f"{files.given}: no column {wanted.key!r}; it has: {', '.join(self._columns) or 'none'}")

    @property
    def gives(self) -> frozenset[str]:
        """``label`` where there are ``.cls`` files."""
        return frozenset({"label"} if ".cls" in self._beside else ())

    def schema(self) -> pa.Schema:
        """Return the columns of the texts about the items."""
        import pyarrow as pa

        types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
        return pa.schema([(name, types[kind]) for name, kind in self._columns.items()])

    def total(self) -> None:
        """Return None: members are not counted before they are read."""
        return

    def items(self) -> Iterator[Item]:
        """Yield the items in the order of the archives."""
        for found in self._files.claimed(claims, self.passed_over, "not an archive"):
            for group in self._groups(found):
                yield from self._items(group, found)

    def tables(self) -> Iterator[tuple[str, Member]]:
        """Yield the members that have the name of a table about others, with their places."""
        # Shards of WebDataset have their texts beside the items, and there are thousands of them.
        for found in self._files.claimed(claims) if self._wanted.endings and not self._beside else ():
            module = _module(found.place)
            for member in islice(module.members(found), TABLED if module is tar else None):
                refused = isinstance(member.reader, Refused) or self._left_out(member)
                if about.is_table(member.name) and not refused:
                    yield self._prefix(found) + member.name, member

    def _prefix(self, found: Found) -> str:
        return "" if self._files.single else f"{found.place}/"

    def _groups(self, found: Found) -> Iterator[list[Member]]:
        """Yield members that belong together, if there are texts about them; else single ones."""
        members = _module(found.place).members(found)
        if not self._beside:
            return ([member] for member in members)
        return (list(group) for _, group in groupby(members, lambda member: member.stem))

    def _items(self, group: list[Member], found: Found) -> Iterator[Item]:
        """Yield the items of one group; count what is none."""
        prefix = self._prefix(found)
        beside = [member for member in group if member.ending in self._beside and not self._left_out(member)]
        chosen = list[Member]()
        for member in group:
            reason = None if member in beside else self._why_not(member, prefix)
            if reason:
                self.passed_over.add(prefix + member.name, reason)
            elif member not in beside:
                chosen.append(member)
        if not chosen:
            for member in beside:
                self.passed_over.add(prefix + member.name, "a text about no item")
            return
        try:
            label, columns = self._told(beside)
        except ItemError as error:
            label, columns = None, {}
            chosen = [replace(one, reader=Refused(error.reason)) for one in chosen]
        for member in chosen:
            key = columns.get(self._wanted.key) if self._wanted.key else None
            yield Item(
                prefix + member.name if key in (None, "") else str(key),
                f"{found.place}#{member.at}",
                member.reader,
                label,
                columns=columns,
            )

    def _why_not(self, member: Member, prefix: str) -> str | None:
        """Return why a member is no item; None where it is one."""
        if prefix + member.name in self.about:
            return ABOUT
        return self._left_out(member) or self._wanted.refusal(member)

    def _left_out(self, member: Member) -> str | None:
        if _hidden(member.name):
            return HIDDEN
        return EXCLUDED if excluding(self._files.exclude).below(member.name) else None

    def _told(self, beside: Iterable[Member]) -> tuple[str | None, dict[str, object]]:
        """Return label and columns that texts tell.

        Raises:
            ItemError: one cannot be read, or a value is of another type than those before.
        """
        label, raw = _read(beside)
        self._note_others(raw)
        columns = {name: _as(kind, raw.get(name), name) for name, kind in self._columns.items()}
        return label, columns

    def _note_others(self, raw: Mapping[str, object]) -> None:
        for name in raw.keys() - self._columns.keys():
            note = f"column {name!r} is in none of the first {LOOKED_AT} items, and is left out"
            if note not in self.notes:
                self.notes = (*self.notes, note)

    @cached_property
    def _first(self) -> list[list[Member]]:
        """The texts about the first items that have any, without the items."""
        archive = self._files.first(claims)
        if archive is None or not self._wanted.endings:
            return []
        members, found = islice(_module(archive.place).members(archive), 4 * LOOKED_AT), list[list[Member]]()
        for _, group in groupby(members, lambda member: member.stem):
            texts, items = list[Member](), 0
            for member in group:
                if member.ending in BESIDE:
                    texts.append(member)
                else:
                    items += not _hidden(member.name) and not self._wanted.refusal(member)
            found += [texts] if items and texts else []
        return found

    @cached_property
    def _beside(self) -> frozenset[str]:
        """Endings of the texts about items."""
        return frozenset(member.ending for texts in self._first for member in texts)

    @cached_property
    def _columns(self) -> dict[str, type]:
        """Names and types of the columns, by the first items."""
        found: dict[str, type | None] = {}
        for texts in self._first:
            try:
                _, raw = _read(texts)
            except ItemError:  # it is refused when it is an item
                continue
            for name, value in raw.items():
                found[name] = _common(found.get(name), value)
        return {name: kind or str for name, kind in found.items()}


def _read(beside: Iterable[Member]) -> tuple[str | None, dict[str, object]]:
    """Return the label and the values in the texts about one item.

    Raises:
        ItemError: one cannot be read.
    """
    texts = {member.ending: _text(member) for member in beside}
    columns: dict[str, object] = {}
    if ".json" in texts:
        try:
            columns = json.loads(texts[".json"])
        except (ValueError, RecursionError):
            raise ItemError("", "the .json beside it is no JSON") from None
        if not isinstance(columns, dict):
            raise ItemError("", "the .json beside it is no JSON object")
    if ".txt" in texts:
        columns = {(TEXT if CAPTION in columns else CAPTION): texts[".txt"].strip(), **columns}
    label = texts.get(".cls", "").strip()
    return label or None, columns


def _text(member: Member) -> str:
    if isinstance(member.reader, Refused):
        raise ItemError(member.name, f"the {member.ending} beside it: {member.reader.reason}")
    if isinstance(member.reader, Piece) and member.reader.size > _LONGEST:
        raise ItemError(member.name, f"the {member.ending} beside it has more than {_LONGEST >> 20} MB")
    try:
        return member.reader(member.name).decode("utf-8-sig")
    except (ItemError, OSError, UnicodeDecodeError):
        raise ItemError(member.name, f"the {member.ending} beside it is no text in UTF-8") from None


def _common(kind: type | None, value: object) -> type | None:
    """Return a type that has a value, too."""
    if value is None:
        return kind
    own = type(value) if isinstance(value, str | bool | int | float) else str
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        own = float
    if kind in (None, own):
        return own
    return float if {kind, own} == {int, float} else str


def _as(kind: type, value: object, name: str) -> object:
    """Return a value as a column has it.

    Raises:
        ItemError: it is of another type.
    """
    if value is None:
        return None
    if kind is str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        # Half a character, which JSON may have, is no text.
        return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if kind is _common(kind, value):
        return float(value) if kind is float and isinstance(value, int) else value
    raise ItemError("", f"column {name!r} is {type(value).__name__} here, and {kind.__name__} in the items before")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in PurePosixPath(name).parts)


def _module(name: str) -> ModuleType:
    return next((one for one in (zip, mbox) if one.claims(name)), tar)
