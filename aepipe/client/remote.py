"""A collection behind a service, asked as :class:`aepipe.api.Collection` is.

>>> import aepipe
>>> boots = aepipe.connect("http://127.0.0.1:8477", "boots")    # doctest: +SKIP
>>> boots.query("image.png", k=3).to_pandas()                   # doctest: +SKIP

The answers are those that the service's machine would give. Items from outside are read here and sent as bytes; nothing
is searched or encoded here, so neither an index nor a network is loaded.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from os import PathLike
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from aepipe.client.answers import (
    RemoteAnswer,
    RemoteCode,
    RemoteHit,
    RemoteQuestion,
    RemoteResults,
    RemoteRow,
)
from aepipe.client.asking import Asked, as_form, asked_bytes, asked_item, blocks, check_letters
from aepipe.client.labels import RemoteLabelled, labelled
from aepipe.client.wire import Wire
from aepipe.errors import CodeError, FingerprintError, ItemError, NotFoundError, QueryError
from aepipe.words import named, texts_of, words_in

if TYPE_CHECKING:
    from aepipe.codes.bitcodes import BitCodes

logger = logging.getLogger("aepipe.query")

MOST_HITS = 1000
"""Hits on one page of an answer."""
OPTIONS = (
    *("k", "radius", "min_confidence", "bits", "where", "others", "distinct", "fast", "rerank", "oversample"),
    *("plus", "minus", "weight", "hybrid", "partial"),
)
MIXED = ("plus", "minus")
"""Options that are several texts."""
COLLECTIONS = "/v1/collections"


def connect(address: str, name: str | None = None, token: str | None = None) -> RemoteCollection:
    """Connect to a collection behind a service, as ``aepipe serve`` starts one.

    Args:
        address: ``http://HOST:PORT``, ``https://HOST/PREFIX`` or ``unix:/PATH``.
        name: of the collection; needed where the service has several.
        token: of a reader; else ``$AEPIPE_TOKEN``.

    Raises:
        QueryError: it is no address, or the service wants another token.
        NotFoundError: the service has no such collection, or several and none is named.
        ServiceError: nothing answers at the address.

    >>> aepipe.connect("http://127.0.0.1:8477", "boots")    # doctest: +SKIP
    <aepipe collection boots: 70,000 rows, 64 bits, 3f9a0c11d2e4, at http://127.0.0.1:8477>
    """
    wire = Wire(address, token or os.environ.get("AEPIPE_TOKEN"))
    if name is None:
        known = [str(one["name"]) for one in wire.get(COLLECTIONS)["collections"]]
        if len(known) != 1:
            why = f"several collections are in service, choose one with --name: {', '.join(known)}"
            raise NotFoundError(f"{wire.address}: {why if known else 'no release is in service'}")
        name = known[0]
    return RemoteCollection(wire, wire.get(f"{COLLECTIONS}/{quote(name, safe='')}"))


class RemoteCollection:
    """A collection behind a service, as it was when it was connected to.

    Every question goes to that release, also when another one is in service meanwhile; once that release is collected,
    questions are refused, and :func:`connect` gives the new one.

    Args:
        wire: to the service.
        facts: about the collection, as the service tells them.
        bits: compare only the first bits of its codes; None compares all.

    Attributes:
        name: in service.
        fingerprint: of its encoder.
        n_bits: of a code.
        scores: that were measured when the release was made.
        kind: of its source: images, text, table and so on.
    """

    def __init__(self, wire: Wire, facts: Mapping[str, Any], bits: int | None = None) -> None:
        self._wire = wire
        self._facts = facts
        self._bits = bits
        self._columns: tuple[str, ...] | None = None
        self.name: str = facts["name"]
        self.n_bits: int = facts["n_bits"] if bits is None else bits
        shortened = bits is not None and bits < facts["n_bits"]
        self.fingerprint: str = f"{facts['fingerprint']}/{bits}" if shortened else facts["fingerprint"]
        self.scores: dict[str, Any] = facts["scores"]
        self.kind: str = facts["kind"]

    def __len__(self) -> int:
        return int(self._facts["rows"])

    def __repr__(self) -> str:
        release = self._facts["release"][:12]
        return (
            f"<aepipe collection {self.name}: {len(self):,} rows, {self.n_bits} bits, {release}, "
            f"at {self._wire.address}>"
        )

    @property
    def columns(self) -> Sequence[str]:
        """Names of the source's own columns."""
        if self._columns is None:
            rows = self._items(limit="1")["items"]
            snippets = ("snippet",) if any(one["snippet"] is not None for one in rows) else ()
            self._columns = (*snippets, *(name for one in rows for name in one["columns"]))
        return self._columns

    def path_of(self, place: str) -> None:
        """Return None: originals are files of the service's machine."""

    def first_bits(self, bits: int | None) -> RemoteCollection:
        """Return the collection seen through the first bits of its codes; itself for None.

        Raises:
            QueryError: codes have fewer bits.
        """
        if bits is None:
            return self
        if not 1 <= bits <= self._facts["n_bits"]:
            raise QueryError(f"{self.name}: its codes have {self._facts['n_bits']} bits, not {bits!r}")
        return RemoteCollection(self._wire, self._facts, bits)

    def count_where(self, condition: str) -> int:
        """Return how many rows a condition in SQL holds for.

        Raises:
            QueryError: it is not a condition, or takes too long.
        """
        check_letters("where", condition)
        return int(self._items(limit="1", where=condition)["total"])

    def check_rows(self) -> None:
        """Check that the collection can be asked with a row of a table.

        Raises:
            QueryError: it was learned from something else.
        """
        if self.kind != "table":
            raise QueryError(f"{self.name} was learned from {self.kind}, so a row of a table is no question for it")

    def query(
        self,
        *things: Any,  # noqa: ANN401  what aepipe.release.things.Thing is
        keys: Sequence[str] = (),
        ids: Sequence[int] = (),
        codes: Sequence[str] | BitCodes = (),
        text: str | Sequence[str] = (),
        **options: Any,  # noqa: ANN401  those of aepipe.release.search.QueryOptions
    ) -> RemoteResults:
        """Find the rows most like some things; see :meth:`aepipe.api.Collection.query`.

        Args:
            things: paths of files on this machine, words, bytes, pictures, arrays, or rows of a table as a mapping.
            keys: rows of the collection.
            ids: the same, by id.
            codes: in hex, or packed.
            text: words, also where a file has such a name.
            options: those of :class:`aepipe.release.search.QueryOptions`; ``where`` is a condition in SQL. And
                ``plus``, ``minus`` and ``weight``; and ``partial``, for answers without the shards that are silent,
                of which a warning is logged.

        Raises:
            QueryError: nothing is asked, there is no such row or option, or the condition is not SQL.
            ItemError: a thing cannot be read.
            CodeError: a code of another length.
            FingerprintError: a code that another encoder made.
            ServiceError: the service does not answer.
        """
        found = list(self.answers(*things, keys=keys, ids=ids, codes=codes, text=text, **options))
        if not found:
            raise QueryError("nothing is asked: give things, keys, ids or codes")
        for one in found:
            if one.question.failure is not None:
                raise one.question.failure
        return RemoteResults(self.columns, found)

    def answers(
        self,
        *things: Any,  # noqa: ANN401  what aepipe.release.things.Thing is
        keys: Sequence[str] = (),
        ids: Sequence[int] = (),
        codes: Sequence[str] | BitCodes = (),
        text: str | Sequence[str] = (),
        **options: Any,  # noqa: ANN401  those of aepipe.release.search.QueryOptions
    ) -> Iterator[RemoteAnswer]:
        """Yield the answers of :meth:`query` in blocks; a large folder is answered while it is read.

        A thing that cannot be read raises nothing: its answer has no hits, and ``question.failure`` says why.

        Raises:
            QueryError: there is no such row or option, or the condition is not SQL.
            CodeError: a code of another length.
            FingerprintError: a code that another encoder made.
            ServiceError: the service does not answer.
        """
        wanted, words = self._options(options), self._asked_texts(texts_of("text", text))
        alone = not (things or words or len(keys) or len(ids) or len(codes)) and (
            wanted.get("plus") or wanted.get("minus")
        )
        if alone:
            return iter(self._answered([Asked("", "text", "")], wanted))
        rows = [Asked(f"id {one}", "id", int(one)) for one in ids] + [Asked(f"key {one}", "key", one) for one in keys]
        asked = chain(rows, self._asked_codes(codes), words, self._asked_things(things))
        return (answer for block in blocks(asked) for answer in self._answered(block, wanted))

    def encode(self, *things: Any) -> BitCodes:  # noqa: ANN401  what aepipe.release.things.Thing is
        """Return the codes of things, in their order; they carry the collection's fingerprint.

        Raises:
            QueryError: there is no such file, or nothing is given.
            ItemError: a thing cannot be read.
            ServiceError: the service does not answer.
        """
        from aepipe.codes.bitcodes import BitCodes

        found: list[str] = []
        for block in blocks(self._asked_things(things)):
            found += self._encoded(block)
        if not found:
            raise QueryError("nothing is given to encode")
        whole = BitCodes.from_hex(found, self._facts["n_bits"], self._facts["fingerprint"])
        return whole if self._bits is None else whole.prefix(self._bits)

    def label(self, words: Sequence[str]) -> RemoteLabelled:
        """Label each row by the word that it is most like, with a confidence.

        The answer has what that of :meth:`aepipe.api.Collection.label` has, and the keys of the rows.

        Args:
            words: two at least, each a word or a phrase.

        Raises:
            QueryError: there are too few, or the collection answers no words.
            ServiceError: the service does not answer.
        """
        check_letters("label", *words)
        return labelled(words_in("\n".join(words)), self._labels)

    def _labels(self, asked: Mapping[str, Any]) -> Any:  # noqa: ANN401  JSON
        body = json.dumps({**asked, "release": self._facts["release"]}).encode()
        return self._wire.post_until_done(f"{self._path}/labels", body, "application/json")

    def row(self, row_id: int) -> RemoteRow:
        """Return a row by its id.

        Raises:
            NotFoundError: there is no such row.
            ServiceError: the service does not answer.
        """
        return RemoteRow.of(self._wire.get(f"{self._path}/items/{row_id}", self._pinned))

    def thumbnail(self, row_id: int) -> bytes | None:
        """Return a small picture of a row, as JPEG; None where there is nothing to look at.

        Raises:
            ServiceError: the service does not answer.
        """
        try:
            return self._wire.get_bytes(f"{self._path}/items/{row_id}/thumb", [("s", "224"), *self._pinned])
        except (NotFoundError, QueryError):
            return None

    @property
    def _pinned(self) -> list[tuple[str, str]]:
        return [("release", self._facts["release"])]

    def _items(self, **parameters: str) -> Any:  # noqa: ANN401  JSON
        return self._wire.get(f"{self._path}/items", [*parameters.items(), *self._pinned])

    @property
    def _path(self) -> str:
        return f"{COLLECTIONS}/{quote(self.name, safe='')}"

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return options as parameters of the service.

        Raises:
            QueryError: there is no such option, or it cannot be sent.
        """
        unknown = next((name for name in given if name not in OPTIONS), None)
        if unknown is not None:
            raise QueryError(f"{unknown}: no option of a query; there are: {', '.join(OPTIONS)}")
        if not isinstance(given.get("where"), str | None):
            raise QueryError("where: a service takes a condition in SQL, and no ids")
        given = {**given, **{name: [one] for name in MIXED if isinstance(one := given.get(name), str)}}
        check_letters("where", given.get("where") or "")
        for name in MIXED:
            check_letters(name, *(given.get(name) or ()))
        if (given.get("k") or 0) > MOST_HITS:
            raise QueryError(f"k: a service gives at most {MOST_HITS:,} hits of a question, not {given['k']:,}")
        own = {"release": self._facts["release"], **({} if self._bits is None else {"bits": self._bits})}
        said = {name: value for name, value in given.items() if value is not None and value is not False}
        return {**own, **{name: value for name, value in said.items() if name not in MIXED or value}}

    def _asked_codes(self, codes: Sequence[str] | BitCodes) -> list[Asked]:
        own = getattr(codes, "fingerprint", "")
        texts = cast("Iterable[str]", codes.hex() if hasattr(codes, "hex") else codes)
        if own and own != self.fingerprint:
            raise FingerprintError(f"codes of the encoder {own}, and {self.name} has {self.fingerprint}")
        return [Asked(f"code {one}", "code", one) for one in texts]

    def _asked_texts(self, texts: Sequence[str]) -> list[Asked]:
        if texts and "text" not in self._facts["asks"]:
            raise QueryError(f"{self.name} does not answer words, nor can they be added to its questions")
        return [Asked(one, "text", one) for one in texts]

    def _asked_things(self, things: Sequence[Any]) -> Iterator[Asked]:
        """Yield a question for each item in things, read on this machine.

        Raises:
            QueryError: a path does not exist, or a thing is of another type.
        """
        for thing in things:
            from aepipe.sources.arguments import file_bytes, items_named
            from aepipe.sources.asked import are_words, told

            if isinstance(thing, Mapping):
                self.check_rows()
            if isinstance(thing, str) and self.kind != "text" and "text" in self._facts["asks"] and are_words(thing):
                yield Asked(thing, "text", thing)
                continue
            if isinstance(thing, str | PathLike | Mapping):
                text = json.dumps(dict(thing)) if isinstance(thing, Mapping) else str(thing)
                words = "text" in self._facts["asks"]
                for item in items_named(self.kind, [text], self._facts["cut"]):
                    yield asked_item(self.kind, told(item, words=words))
            else:
                name, data = file_bytes(thing)
                try:
                    yield asked_bytes(self.kind, name, data)
                except ItemError as error:
                    yield Asked(name, "bytes", b"", error)

    def _answered(self, block: Sequence[Asked], options: Mapping[str, Any]) -> list[RemoteAnswer]:
        """Ask some questions in one request, and follow the pages of those with more hits.

        Raises:
            QueryError: there is no such row, or an answer has more hits than a service gives.
            CodeError: a code of another length.
        """
        if block[0].failure is not None:
            return [RemoteAnswer(RemoteQuestion(block[0].text, failure=block[0].failure))]
        try:
            found = self._posted("search", block, options)
        except ItemError as error:
            if len(block) > 1:  # too large together
                return [answer for one in block for answer in self._answered([one], options)]
            return [RemoteAnswer(RemoteQuestion(block[0].text, failure=error))]
        self._say_missing(found)
        told = found["answers"]
        for one, answer in zip(block, told, strict=True):
            if answer["error"] is not None and not one.outside:
                raise (CodeError if one.field == "code" else QueryError)(answer["error"])
        return [self._answer(one, answer, options) for one, answer in zip(block, told, strict=True)]

    def _encoded(self, block: Sequence[Asked]) -> list[str]:
        """Return the codes of some questions.

        Raises:
            ItemError: one cannot be read.
        """
        try:
            told = self._posted("encode", block, {})
        except ItemError:
            if len(block) == 1:
                raise
            return [code for one in block for code in self._encoded([one])]  # too large together
        for one, error in zip(block, told["errors"], strict=True):
            if error is not None:
                raise one.failed(error)
        return list(told["codes"])

    def _answer(self, one: Asked, told: Mapping[str, Any], options: Mapping[str, Any]) -> RemoteAnswer:
        if told["error"] is not None:
            return RemoteAnswer(RemoteQuestion(one.text, failure=one.failed(told["error"])))
        hits, after, total = list(told["hits"]), told["next"], told["total"]
        if "k" not in options and ("radius" in options or "min_confidence" in options):
            while after is not None:
                page = self._posted("search", [one], {**options, "after": after})
                self._say_missing(page)
                more = page["answers"][0]
                hits, after = hits + more["hits"], more["next"]
            if len(hits) >= MOST_HITS and len(hits) % MOST_HITS == 0 and total != len(hits):
                raise QueryError(f"{one.text}: more rows than a service lists; give k (--top), or a smaller radius")
        text = named(one.text, options.get("plus", ()), options.get("minus", ()))
        own = {"row_id": one.value} if one.field == "id" else {"data": one.value} if one.field == "bytes" else {}
        code, understood = RemoteCode(told["code"]), tuple(told.get("understood", ()))
        question = RemoteQuestion(text, code, understood=understood, **own)
        return RemoteAnswer(question, [RemoteHit.of(hit) for hit in hits], told["strange"])

    def _say_missing(self, told: Mapping[str, Any]) -> None:
        """Warn of an answer that is a part, since some shards did not answer."""
        if missing := told.get("missing"):
            logger.warning("%s: these hits are a part: shard %s does not answer", self.name, ", ".join(missing))
        if shard := told.get("shard"):
            logger.warning("%s: these hits are a part: this service searches shard %s alone", self.name, shard)

    def _posted(self, what: str, block: Sequence[Asked], options: Mapping[str, Any]) -> Any:  # noqa: ANN401  JSON
        """Send some questions of one sort, and return what is answered.

        Raises:
            ItemError: the only one is an item that cannot be read.
        """
        path = f"{self._path}/{what}"
        options = {"release": self._facts["release"], **options}
        try:
            if block[0].way == "form":
                said = [(name, one) for name, value in options.items() for one in (value if name in MIXED else [value])]
                given = [(name, str(one).lower() if one is True else str(one)) for name, one in said]
                return self._wire.post(path, *as_form(block), given)
            asked = {**options, "queries": [{one.field: one.value} for one in block]}
            return self._wire.post(path, json.dumps(asked).encode(), "application/json")
        except ItemError as error:
            raise block[0].failed(error.reason) from None
