"""The library's front: everything that the shell can do to a collection, from Python.

>>> import aepipe
>>> boots = aepipe.open(name="boots")                       # doctest: +SKIP
>>> boots.query("image.png", k=3).to_pandas()               # doctest: +SKIP
>>> boots.add("photos/2026-11/")                            # doctest: +SKIP

The verbs of the command line call these functions, so both give the same answers. To open and to query takes neither
torch nor pyarrow nor Prefect: each method imports what it needs. :mod:`aepipe.runs` makes and renews collections.
Nothing here prints.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, concatenate
from aepipe.errors import QueryError
from aepipe.release import lifecycle
from aepipe.release import query as queries
from aepipe.release.filter import ids_where, rows_named
from aepipe.release.lifecycle import HistoryEntry, VerifyReport
from aepipe.release.prefix import Prefix
from aepipe.release.query import Answer
from aepipe.release.release import Release
from aepipe.release.search import QueryOptions, search_options
from aepipe.release.things import Thing, questions_from_things
from aepipe.release.words import Mixture
from aepipe.report.results import Results
from aepipe.sources.packages import methods_naming_extras
from aepipe.store import places, registry
from aepipe.store.artifacts import Store
from aepipe.words import texts_of

if TYPE_CHECKING:
    from aepipe.pipeline.export.rows import Exported
    from aepipe.pipeline.export.system import Sent
    from aepipe.pipeline.update import Added
    from aepipe.release.collections import Dropped, Listed
    from aepipe.release.diff import Difference
    from aepipe.release.groups import Alike, Groups
    from aepipe.release.label import Labelled
    from aepipe.store.registry import Event

__all__ = ["Collection", "Results", "collections", "open"]

FilePath: TypeAlias = "str | PathLike[str]"


class _Mixed(TypedDict):
    plus: str | Sequence[str]
    minus: str | Sequence[str]
    weight: float | None


@methods_naming_extras
class Collection:
    """A collection, as it was when it was opened.

    What others put into service meanwhile does not change it. :meth:`add`, :meth:`remove`, :meth:`compact`,
    :meth:`promote` and :meth:`rollback` put another release into service under its name, and open it.

    Attributes:
        store: the folder with everything that was made.
        release: the open release: codes, index, items.
    """

    def __init__(self, store: Store, release: Release) -> None:
        self.store = store
        self.release = release

    @property
    def name(self) -> str:
        """Its name in service."""
        return self.release.name

    @property
    def fingerprint(self) -> str:
        """Digest of its encoder; codes of another encoder cannot be compared with its own."""
        return self.release.fingerprint

    @property
    def n_bits(self) -> int:
        """Bits of a code."""
        return self.release.n_bits

    @property
    def scores(self) -> dict[str, Any]:
        """The scores that were measured when the release was made, as ``scores.json`` has them."""
        return self.release.scores

    def __len__(self) -> int:
        return len(self.release.index)

    def __repr__(self) -> str:
        return f"<aepipe collection {self.name}: {len(self):,} rows, {self.n_bits} bits, {self.release.ref.short}>"

    def query(
        self,
        *things: Thing,
        keys: Sequence[str] = (),
        ids: Sequence[int] = (),
        codes: Sequence[str] | BitCodes = (),
        text: str | Sequence[str] = (),
        plus: str | Sequence[str] = (),
        minus: str | Sequence[str] = (),
        weight: float | None = None,
        **options: Unpack[QueryOptions],
    ) -> Results:
        """Find the rows most like some things.

        Hits are in the order of their embeddings where these are kept, with ``fast=True`` in that of their codes.

        Args:
            things: paths of files, words, bytes, pictures, arrays, or rows of a table as a mapping.
            keys: rows of the collection.
            ids: the same, by id.
            codes: in hex, or packed.
            text: words, also where a file has such a name.
            plus: words that are added to each question, or are one alone.
            minus: words that its hits are not to have.
            weight: share of added words in a question with an item, 0..1; 0.5.
            options: ``k``, ``radius``, ``where``, ``fast`` and others; see
                :class:`aepipe.release.search.QueryOptions`.

        Raises:
            QueryError: nothing is asked, there is no such row or option, or the condition is not SQL.
            ItemError: a thing cannot be read.
            CodeError: a code of another length.
            FingerprintError: a code that another encoder made.

        >>> boots.query("image.png", k=3, where="label = 'Boot'")      # doctest: +SKIP
        >>> boots.query(ids=[17], radius=6, others=True).to_pandas()   # doctest: +SKIP
        >>> boots.query("beach.jpg", plus="at night", minus="people")  # doctest: +SKIP
        """
        mixture: _Mixed = {"plus": plus, "minus": minus, "weight": weight}
        found = list(self.answers(*things, keys=keys, ids=ids, codes=codes, text=text, **mixture, **options))
        if not found:
            raise QueryError("nothing is asked: give things, keys, ids or codes")
        queries.raise_failures(one.question for one in found)
        return Results(self.first_bits(options.get("bits")).release, found)

    def answers(
        self,
        *things: Thing,
        keys: Sequence[str] = (),
        ids: Sequence[int] = (),
        codes: Sequence[str] | BitCodes = (),
        text: str | Sequence[str] = (),
        plus: str | Sequence[str] = (),
        minus: str | Sequence[str] = (),
        weight: float | None = None,
        **options: Unpack[QueryOptions],
    ) -> Iterator[Answer]:
        """Yield the answers of :meth:`query` in blocks; a large folder is answered while it is read.

        A thing that cannot be read raises nothing: its answer has no hits, and ``question.failure`` says why.

        Raises:
            QueryError: there is no such row or option, or the condition is not SQL.
            CodeError: a code of another length.
            FingerprintError: a code that another encoder made.
        """
        release = self.first_bits(options.get("bits")).release
        search, mixture = search_options(release, options), Mixture.of(plus, minus, weight)
        texts = texts_of("text", text)
        if mixture and len(codes):
            raise QueryError("a code cannot be mixed with words: ask with the item or the row that it is of")
        asked = chain(
            queries.questions_from_rows(release, ids, keys, mixture),
            queries.questions_from_codes(release, codes),
            queries.questions_from_text(release, texts, mixture),
            questions_from_things(release, things, mixture),
        )
        alone = mixture and not (things or texts or len(keys) or len(ids))
        return queries.answers(release, queries.questions_from_words(release, [], mixture) if alone else asked, search)

    def encode(self, *things: Thing) -> BitCodes:
        """Return the codes of things, in their order; they carry the collection's fingerprint.

        Raises:
            QueryError: there is no such file, or nothing is given.
            ItemError: a thing cannot be read.

        >>> boots.encode("image.png").hex()     # doctest: +SKIP
        ['9f3a62c0d1e4b587']
        """
        questions = list(questions_from_things(self.release, things))
        queries.raise_failures(questions)
        found = [one.code for one in questions if one.code is not None]
        if not found:
            raise QueryError("nothing is given to encode")
        return concatenate(found)

    def first_bits(self, bits: int | None) -> Collection:
        """Return the collection seen through the first bits of its codes; itself for None.

        Raises:
            QueryError: codes have fewer bits.
        """
        return self if bits is None else Collection(self.store, Prefix(self.release, bits))

    def ids_where(self, condition: str) -> NDArray[np.int64]:
        """Return the ids of the rows for which a condition in SQL holds, int64[n], ascending.

        Raises:
            QueryError: it is not a condition, or names a column that does not exist.
            CorruptError: the rows are missing from the store.
        """
        return ids_where(self.release, condition)

    def add(self, *paths: FilePath, replace: bool = False, wait: float = 0) -> Added:
        """Add items at once, without training, and count those added, replaced and unchanged.

        Args:
            paths: files, folders, globs or addresses, of the collection's kind.
            replace: an item whose key is there with other bytes takes the place of that row.
            wait: seconds to wait for a run that is writing.

        Raises:
            QueryError: a key is there with other bytes.
            SourceError: there is nothing of that kind, or too many items are unreadable.
            BusyError: a run is writing under the same name.
            FingerprintError: this version decodes in another way than the collection's encoder expects.

        >>> boots.add("photos/2026-11/").new    # doctest: +SKIP
        24
        """
        from aepipe.pipeline import update

        # What is in service now is changed, and not the open release: another process may have changed it meanwhile.
        with lifecycle.writing(self.store, self.name, wait=wait) as release:
            sources = update.sources_of(release, [os.fspath(path) for path in paths])
            done = update.add(self.store, release, sources, replace=replace)
            if done.release != release.ref:
                registry.promote(self.store, self.name, done.release, why=f"add: {done.summary()}")
        self._reopen()
        return done

    def remove(self, *keys: str, ids: Sequence[int] = (), where: str | None = None, wait: float = 0) -> int:
        """Remove rows from the release in service, at once, and return their number.

        Their bytes leave the store with :meth:`compact`, a run or a refresh, once older releases are collected.

        Args:
            keys: rows by key.
            ids: rows by id.
            where: rows for which this condition in SQL holds.
            wait: seconds to wait for a run that is writing.

        Raises:
            QueryError: there is no such row, none is named, or none would be left.
            BusyError: a run is writing under the same name.

        >>> boots.remove("holidays/IMG_1234.jpg", where="label = 'draft'")    # doctest: +SKIP
        3
        """
        from aepipe.pipeline import update

        with lifecycle.writing(self.store, self.name, wait=wait) as release:
            done = update.remove(self.store, release, rows_named(release, keys, ids=ids, where=where))
            count = len(release) - len(Release.open(self.store, ref=done))
            registry.promote(self.store, self.name, done, why=f"remove: {lifecycle.row_count(count)}")
        self._reopen()
        return count

    def compact(self, *, wait: float = 0) -> bool:
        """Merge additions and removals into one index again; return whether there were any.

        Args:
            wait: seconds to wait for a run that is writing.

        Raises:
            BusyError: a run is writing under the same name.
            CorruptError: something in the store is not what was written.
        """
        from aepipe.pipeline import compact

        with lifecycle.writing(self.store, self.name, wait=wait) as release:
            if release.changed:
                registry.promote(self.store, self.name, compact.compact(self.store, release), why="compact")
        self._reopen()
        return release.changed

    def export(self, target: FilePath, *, bits: int | None = None, embeddings: bool = True) -> Exported:
        """Write the release as Parquet, in place of an earlier export in the folder; or as one file.

        Args:
            target: a folder: missing, empty, or an earlier export; or a file, whose ending says what is written:
                ``.parquet``, ``.arrow``, ``.feather``, ``.csv``, ``.tsv`` or ``.jsonl``.
            bits: write only the first bits of the codes.
            embeddings: false leaves the embeddings out, which takes a fraction of the time.

        Raises:
            QueryError: the folder holds anything else, rows are not written under such an ending, or codes have fewer
                bits.
            CorruptError: something in the store is not what was written.

        >>> boots.export("codes/", bits=32).rows    # doctest: +SKIP
        70000
        """
        from aepipe.pipeline.export.file import ENDINGS, export_file
        from aepipe.pipeline.export.parquet import export

        write = export_file if Path(target).suffix.lower() in ENDINGS and not Path(target).is_dir() else export
        return write(self.store, self.release.ref, Path(target), n_bits=bits, embeddings=embeddings)

    def export_to(
        self,
        system: str,
        *,
        table: str | None = None,
        replace: bool = False,
        bits: int | None = None,
        embeddings: bool = True,
        index: bool = True,
    ) -> Sent:
        """Write the release into a system that others run, as one table.

        A table that is replaced stays until the new one is whole.

        Args:
            system: its address: ``postgresql://...``, ``duckdb:FILE``, ``lancedb:FOLDER``, ``clickhouse://...``,
                ``chdb:FOLDER``, ``qdrant://...``, ``qdrant:FOLDER``, ``opensearch:FOLDER`` or ``milvus:FOLDER``.
            table: its name there; by default that of the collection.
            replace: the table may be there already, and is replaced.
            bits: write only the first bits of the codes.
            embeddings: false leaves the embeddings out, which takes a fraction of the time.
            index: false makes no index for approximate search, where that is a step of its own.

        Raises:
            ExtraError: the package that speaks to the system is not installed.
            QueryError: there is no such system, the table is there already, or the codes have fewer bits.
            ServiceError: the system refuses, or does not answer.
            CorruptError: something in the store is not what was written.

        >>> print(boots.export_to("duckdb:boots.duckdb").question)    # doctest: +SKIP
        """
        from aepipe.pipeline.export.system import Wanted, export_to

        wanted = Wanted(table, replace=replace, n_bits=bits, embeddings=embeddings, index=index)
        return export_to(self.store, self.release.ref, system, wanted)

    def export_encoder(self, file: FilePath) -> tuple[int, ...]:
        """Write the encoder as one ONNX file, and return the shape of its input.

        Raises:
            QueryError: the file cannot be written.
            CorruptError: something in the store is not what was written.
        """
        from aepipe.pipeline.export_onnx import export_graph

        return export_graph(self.store, self.release.ref, Path(file))

    def dedup(
        self,
        radius: int | None = None,
        *,
        alike: Alike | None = None,
        smallest: int = 2,
        out: FilePath | None = None,
        keep: str = "best",
    ) -> Groups:
        """Find groups of rows that are identical, edited copies, or alike in content.

        Args:
            radius: in bits, for rows alike in content; 3 where there is none, and 0 finds equal codes.
            alike: ``identical``, ``copies`` or ``content``; else ``copies`` of pictures, ``content`` with a radius.
            smallest: rows that a group has at least.
            out: also write all groups there, as Parquet, with a mark for each row.
            keep: marked so; see :func:`aepipe.release.keep.order_named`.

        Raises:
            QueryError: there is no such way, the radius is not in 0..K, groups of fewer than 2 rows are asked for, or
                the file cannot be written.
        """
        from aepipe.release import dedup

        return dedup.search(self.release, alike, radius, smallest=smallest, out=out, keep=keep)

    def label(self, words: Sequence[str]) -> Labelled:
        """Label each row by the word that it is most like, with a confidence.

        Args:
            words: two at least, each a word or a phrase.

        Raises:
            QueryError: there are too few, or the collection answers no words.
            CorruptError: something in the store is not what was written.

        >>> photos.label(["a dog", "a cat", "a beach"]).counts()    # doctest: +SKIP
        {'a dog': 812, 'a cat': 1066, 'a beach': 233}
        """
        from aepipe.release.label import label

        return label(self.release, words)

    def diff(self, before: str | None = None, *, k: int = 10, rows: int = 1000) -> Difference:
        """Compare an earlier release with this one: rows, bits and nearest neighbours.

        Args:
            before: the first characters of the earlier release's digest; else the one before that in service.
            k: neighbours of each row.
            rows: rows that are compared at most, drawn at random, the same every time.

        Raises:
            NotFoundError: there is no such release.
            QueryError: several releases start with the text, or k or rows is less than 1.

        >>> boots.diff().overlap    # doctest: +SKIP
        0.93
        """
        from aepipe.release import diff

        old = lifecycle.find(self.store, before) if before else registry.previous(self.store, self.name)
        return diff.compare(Release.open(self.store, ref=old), self.release, k=k, asked=rows)

    def verify(self) -> VerifyReport:
        """Compare every byte of the release with its digests; ``damage`` is empty where all agree.

        Raises:
            CorruptError: the release's own folder is damaged, so its parts are not known.
        """
        return lifecycle.check_release(self.store, self.release.ref)

    def evaluate(self, *, again: bool = False, bits: int | None = None) -> dict[str, Any]:
        """Return the scores of the release and of its baselines, as ``scores.json`` has them.

        Args:
            again: measure now, from the rows and codes in the store; nothing is written.
            bits: measure the first bits of the codes, and baselines of that length.

        Raises:
            CodeError: codes have fewer bits.
            CorruptError: something in the store is not what was written.
        """
        if not again and bits is None:
            return self.scores
        from aepipe.pipeline.score import measure_release

        return measure_release(self.store, self.release, n_bits=bits).to_dict()

    def history(self) -> list[HistoryEntry]:
        """Return every promotion, rollback and refusal under its name, oldest first, with scores."""
        return lifecycle.history(self.store, self.name)

    def promote(self, release: str | None = None, *, why: str = "by hand") -> Event:
        """Verify a release and put it into service; the gate is not asked.

        Args:
            release: the first characters of its digest; else the one that is open here.
            why: the reason, for the log.

        Raises:
            NotFoundError: there is no such release.
            QueryError: several releases start with the text, or it is one of another collection.
            CorruptError: it is damaged.
            BusyError: a run is writing under the same name.
        """
        ref = self.release.ref if release is None else lifecycle.find(self.store, release)
        event = lifecycle.promote(self.store, ref, why=why, name=self.name)
        self._reopen()
        return event

    def rollback(self, *, why: str = "by hand") -> Event:
        """Verify the release before the one in service, and put it back.

        Where nothing can be opened any more, :func:`aepipe.release.lifecycle.rollback` does the same.

        Raises:
            NotFoundError: there was none before.
            CorruptError: it is damaged.
            BusyError: a run is writing under the same name.
        """
        event = lifecycle.rollback(self.store, self.name, why=why)
        self._reopen()
        return event

    def rename(self, name: str, *, wait: float = 0) -> None:
        """Give the collection another name; ids, log and releases stay.

        Recipes and schedules that have the old name are refused from then on, with the new one.

        Raises:
            QueryError: it is no name, or another collection has it.
            BusyError: a run is writing under one of the names.
        """
        from aepipe.release import collections

        collections.rename(self.store, self.name, name, wait=wait)
        self.release = Release.open(self.store, name)

    def drop(self, *, dry_run: bool = False, wait: float = 0) -> Dropped:
        """Remove the collection, all of its releases and what only they need; the source stays.

        Args:
            dry_run: remove nothing, only say what would go.
            wait: seconds to wait for a run that is writing.

        Raises:
            BusyError: a run is writing.
        """
        from aepipe.release import collections

        return collections.drop(self.store, self.name, dry_run=dry_run, wait=wait)

    def _reopen(self) -> None:
        self.release = Release.open(self.store, self.name)


def open(home: FilePath | None = None, name: str | None = None, *, release: str | None = None) -> Collection:
    """Open a collection.

    Args:
        home: the store; else ``$AEPIPE_HOME``, else the nearest ``.aepipe`` from the working directory upwards, else
            the user's; see :mod:`aepipe.store.places`.
        name: of the collection; needed where several are in service.
        release: the first characters of a release's digest, which need not be in service; else the one that is.

    Raises:
        NotFoundError: there is none.
        QueryError: several releases start with the text.
        CorruptError: a part of it is missing or damaged.

    >>> aepipe.open("~/.aepipe", "boots")    # doctest: +SKIP
    <aepipe collection boots: 70,000 rows, 64 bits, 3f9a0c11d2e4>
    """
    store = places.find(name, home)
    return Collection(store, Release.open(store, ref=lifecycle.find(store, release, name)))


def collections(home: FilePath | None = None) -> list[Listed]:
    """Return the collections of the stores that :func:`open` looks at, store by store.

    >>> [one.name for one in aepipe.collections()]    # doctest: +SKIP
    ['boots', 'posts']
    """
    from aepipe.release.collections import listed

    return [one for store in places.looked_at(home) for one in listed(store)]


def open_store(home: FilePath | None = None) -> Store:
    """Return the store in a folder, or the one that collections are made in; nothing is made."""
    return Store(Path(home).expanduser()) if home is not None else Store.locate()
