"""Types of requests: none of them can name a file, an address or stdin."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Annotated, Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import msgspec
import msgspec.inspect
from msgspec import UNSET, Meta, UnsetType

from aepipe.serve.problems import BadRequestError

MOST_QUERIES, MOST_UPLOADS = 10_000, 64
"""Questions of one request, and those among them that bring bytes."""
MOST_HITS = 1000

Name: TypeAlias = Annotated[str, Meta(max_length=4096)]
Words: TypeAlias = Annotated[str, Meta(max_length=1 << 20)]
Condition: TypeAlias = Annotated[str, Meta(max_length=4096)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Crop: TypeAlias = tuple[Share, Share, Share, Share]
"""Left, top, width and height of a part of the upright picture, each as a share of its side."""
Asked = TypeVar("Asked", bound=msgspec.Struct)


class Query(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One question; exactly one of its fields is given, besides ``crop`` and ``name``.

    Attributes:
        id: a row of the collection.
        key: the same, by its key.
        code: a code, in hex.
        text: words, for collections that answer words.
        vector: of the collection's width, for collections of vectors.
        row: names and values, for tables.
        data: a file; ``bytes`` in JSON, as base64.
        handle: an earlier upload, as its answer named it; kept for ten minutes.
        crop: only this part of the picture, of ``bytes``, ``id`` or ``key``.
        name: what messages call the upload.
    """

    id: Number | UnsetType = UNSET
    key: Name | UnsetType = UNSET
    code: Name | UnsetType = UNSET
    text: Words | UnsetType = UNSET
    vector: Annotated[list[float], Meta(max_length=65_536)] | UnsetType = UNSET
    row: dict[str, str | float | int | bool | None] | UnsetType = UNSET
    data: bytes | UnsetType = msgspec.field(default=UNSET, name="bytes")
    handle: Name | UnsetType = UNSET
    crop: Crop | UnsetType = UNSET
    name: Name = ""

    def __post_init__(self) -> None:
        if sum([value is not UNSET for value in self._values()]) != 1:
            given = ", ".join(kind for kind, _ in self._given()) or "none"
            raise ValueError(f"exactly one of {', '.join(KINDS)} is wanted, not {given}")
        if self.crop is not UNSET:
            if self.kind not in {"id", "key", "bytes"}:
                raise ValueError("crop is a part of a picture: of bytes, id or key")
            left, top, width, height = self.crop
            if min(width, height) <= 0 or left + width > 1 + 1e-9 or top + height > 1 + 1e-9:
                raise ValueError("crop has to lie inside of the picture: left, top, width, height from 0 to 1")

    @property
    def kind(self) -> str:
        """The name of the field that is given."""
        # Asked several times for each request: the most frequent kind is told without looking at the others.
        return "id" if self.id is not UNSET else next(kind for kind, _ in self._given())

    @property
    def said(self) -> list[str]:
        """The texts in it, which its error may repeat."""
        row = json.dumps(self.row) if isinstance(self.row, dict) else ""
        return [one for one in (self.key, self.code, self.text, self.handle, self.name, row) if isinstance(one, str)]

    def _given(self) -> Iterator[tuple[str, object]]:
        return ((kind, value) for kind, value in zip(KINDS, self._values(), strict=True) if value is not UNSET)

    def _values(self) -> tuple[object, ...]:
        return self.id, self.key, self.code, self.text, self.vector, self.row, self.data, self.handle


KINDS = ("id", "key", "code", "text", "vector", "row", "bytes", "handle")
"""Fields of a query, one of which it has."""
ASKED = frozenset({"id", "key", "code", "text", "handle"})
"""Those that an address may hold."""


class Options(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, eq=False):
    """Which hits are wanted; the names are those of ``aepipe query``.

    Nobody changes them once they are read.

    Attributes:
        k: most hits of a question; 10, with a radius at most 1,000.
        radius: only rows within this distance, in bits.
        min_confidence: only rows at distances with at least this probability of the query's kind.
        bits: compare only the first bits of the codes.
        others: leave a row out of its own hits.
        distinct: of rows with equal codes find only the first.
        fast: leave hits in the order of their codes.
        rerank: order hits by their embeddings, or say why that cannot be done.
        oversample: re-rank this many times more hits than are wanted.
        hybrid: of documents: fuse hits by code with those by their words.
        plus: words that are added to each question, of collections that answer words.
        minus: words that hits are not to have.
        weight: share of the added words in a question, 0..1; 0.5.
        label: only rows with one of these labels.
        split: only rows of one of these splits.
        where: only rows for which this condition in SQL holds.
        columns: of the source, given with each hit; else all.
        after: where an earlier answer ended: its ``next``; the release of that answer goes on.
        release: the first characters of a digest, at least 12; else the release in service.
        partial: where shards are silent, answer without them, and say so; else as the service was started.
    """

    k: Annotated[int, Meta(ge=1, le=MOST_HITS)] | None = None
    radius: Annotated[int, Meta(ge=0, le=1 << 16)] | None = None
    min_confidence: Share | None = None
    bits: Annotated[int, Meta(ge=1, le=1 << 16)] | None = None
    others: bool = False
    distinct: bool = False
    fast: bool = False
    rerank: bool | None = None
    oversample: Annotated[int, Meta(ge=1, le=1000)] | None = None
    hybrid: bool = False
    plus: list[Name] = []
    minus: list[Name] = []
    weight: Share | None = None
    label: list[Name] = []
    split: list[Name] = []
    where: Condition | None = None
    columns: list[Name] = []
    after: Name | None = None
    release: Annotated[str, Meta(pattern="^[0-9a-f]{12,64}$")] | None = None
    partial: bool | None = None


class SearchRequest(Options):
    """Questions, and which hits are wanted.

    Attributes:
        queries: each with its own answer; without any, ``plus`` and ``minus`` are one question.
    """

    queries: Annotated[list[Query], Meta(max_length=MOST_QUERIES)] = []

    def __post_init__(self) -> None:
        if not (self.queries or self.plus or self.minus):
            raise ValueError("nothing is asked: queries, plus and minus are empty")
        uploads = sum(one.data is not UNSET for one in self.queries)
        if uploads > MOST_UPLOADS:
            raise ValueError(f"{uploads} queries bring bytes; {MOST_UPLOADS} of a request may")


class ItemsRequest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Which rows of a collection are listed.

    Attributes:
        after: the ``next`` of an earlier answer.
        limit: most rows.
        label: only rows with one of these labels.
        split: only rows of one of these splits.
        where: only rows for which this condition in SQL holds.
        order: by id, or in an order drawn at random.
        seed: of the drawn order.
        columns: of the source, given with each row; else all.
        release: as for a search.
    """

    after: Name | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_HITS)] = 50
    label: list[Name] = []
    split: list[Name] = []
    where: Condition | None = None
    order: Annotated[str, Meta(pattern="^(id|random)$")] = "id"
    seed: Annotated[int, Meta(ge=0, le=(1 << 32) - 1)] = 0
    columns: list[Name] = []
    release: Annotated[str, Meta(pattern="^[0-9a-f]{12,64}$")] | None = None


REPEATED = frozenset({"id", "key", "code", "text", "handle", "label", "split", "columns", "point", "plus", "minus"})
"""Parameters that may come several times."""
_FLAGS = {"": True, "1": True, "true": True, "0": False, "false": False}
_POWERS = re.compile(r"-?[0-9]+[.eE][0-9.eE+-]*", re.ASCII)
"""Whole numbers as nobody writes them: ``1e0``."""
_LONE = re.compile(r"surrogate|truncated")
"""What msgspec says of half a letter beyond the first 65,536, among others."""
_SHORT = re.compile(r"\.[0-9]+|[0-9]+\.", re.ASCII)
"""Numbers as people write them, and JSON does not: ``.3``."""


def from_json(body: bytes, kind: type[Asked]) -> Asked:
    """Read a body of JSON.

    Raises:
        BadRequestError: it is not JSON, not of that type, or has a key twice; the error names the place.
    """
    try:
        found = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise BadRequestError.of(error) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise BadRequestError(_fault(error, body)) from None
    # Numbers stay text: only keys are looked at.
    json.loads(body, object_pairs_hook=_once, parse_int=str, parse_float=str)
    return found


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Check that an object has no key twice: of two values, one would not be heard.

    Raises:
        BadRequestError: it has.
    """
    if len(pairs) > 1 and len(names := {name for name, _ in pairs}) < len(pairs):
        twice = next(name for name in names if sum(name == one for one, _ in pairs) > 1)
        raise BadRequestError(f"the key {twice[:80]!r} comes twice in an object", f"/{twice[:80]}")


def _fault(error: Exception, body: bytes) -> str:
    """Return why a body cannot be read; half a letter, which JSON can write and no text can hold, by its name."""
    if not body.strip():
        return "the body is empty"
    if _LONE.search(str(error)):
        try:
            lone = _lone_in(json.loads(body))
        except (ValueError, RecursionError):
            lone = ""
        if lone:
            return f"\\u{ord(lone):04x} in a text is half of a letter, without its other half"
    return f"the body is not JSON: {error}"


def _lone_in(value: object) -> str:
    """Return the first surrogate without its pair in a value of JSON; empty where there is none."""
    text = json.dumps(value, ensure_ascii=False)
    return next((letter for letter in text if "\ud800" <= letter <= "\udfff"), "")


def from_parameters(pairs: list[tuple[str, str]], kind: type[Asked]) -> Asked:
    """Read the parameters of a URL.

    Raises:
        BadRequestError: a parameter is unknown, comes twice, or has a wrong value.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in REPEATED:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise BadRequestError(f"the parameter {name} comes twice", f"/{name}")
        else:
            found[name] = value
    for name in _flags_of(kind) & found.keys():
        found[name] = _FLAGS.get(found[name].lower(), found[name])
    for name in _numbers_of(kind) & found.keys():
        _check_whole(name, found[name])
    for name in _shares_of(kind) & found.keys():
        if _SHORT.fullmatch(found[name]):
            found[name] = float(found[name])
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequestError.of(error) from None


@lru_cache(256)
def options_of(pairs: tuple[tuple[str, str], ...]) -> Options:
    """Return the options in the address of a search: the same object for the same parameters.

    Raises:
        As :func:`from_parameters`.
    """
    return from_parameters(list(pairs), Options)


def _check_whole(name: str, text: str) -> None:
    """Check that a number is not written with a point or a power; the type says what else is wrong with it.

    Raises:
        BadRequestError: it is.
    """
    if _POWERS.fullmatch(text):
        raise BadRequestError(f"{name}: a whole number is wanted, not {text[:80]!r}", f"/{name}")


@cache
def _numbers_of(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields of a type that are whole numbers."""
    read = msgspec.inspect.type_info(kind)
    assert isinstance(read, msgspec.inspect.StructType)
    types = {field.name: getattr(field.type, "types", (field.type,)) for field in read.fields}
    whole = (msgspec.inspect.IntType, msgspec.inspect.NoneType)
    return frozenset(name for name, ones in types.items() if all(isinstance(one, whole) for one in ones))


@cache
def _shares_of(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields of a type that are shares."""
    return frozenset(field.name for field in msgspec.structs.fields(kind) if field.type in (Share, Share | None))


@cache
def _flags_of(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields of a type that are true or false; asked once, since that takes longer than a search may."""
    return frozenset(field.name for field in msgspec.structs.fields(kind) if field.type in (bool, bool | None))


def pairs_of(query: bytes) -> list[tuple[str, str]]:
    """Return names and values of the parameters in an address."""
    text = query.decode("latin-1")
    if "%" in text or "+" in text:
        return parse_qsl(text, keep_blank_values=True)
    # Nothing is escaped in most addresses; then this is the same, in a third of the time.
    named = (part.partition("=") for part in text.split("&") if part)
    return [(name, value) for name, _, value in named]


def queries_of(pairs: list[tuple[str, str]]) -> tuple[list[Query], list[tuple[str, str]]]:
    """Return the questions among the parameters of a URL, and the other parameters.

    Raises:
        BadRequestError: a question is malformed.
    """
    crops = [value for name, value in pairs if name == "crop"]
    found, rest = [], []
    for name, value in pairs:
        if name in ASKED:
            if name == "id":
                _check_whole(name, value)
            crop = {"crop": crop_of(crops[0])} if crops and name in {"id", "key"} else {}
            found.append(from_dict({name: value, **crop}))
        elif name != "crop":
            rest.append((name, value))
    return found, rest


def from_dict(given: dict[str, Any]) -> Query:
    """Return a question of values that may be text.

    Raises:
        BadRequestError: it is malformed.
    """
    try:
        return msgspec.convert(given, Query, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequestError.of(error) from None


def crop_of(text: str) -> list[float]:
    """Return the four numbers of a ``crop``.

    Raises:
        BadRequestError: it has other than four numbers.
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != 4:
        raise BadRequestError("crop: four numbers from 0 to 1 are wanted: left,top,width,height", "/crop")
    return found
