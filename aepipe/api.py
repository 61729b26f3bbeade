"""A collection as Python sees it: open what is in service, ask, and go on with pandas.

>>> import aepipe
>>> boots = aepipe.open(name="boots")           # doctest: +SKIP
>>> boots.query("image.png", k=3).to_pandas()   # doctest: +SKIP

The verb ``query`` is this with a command line around it: the same questions, the same answers. Nothing of it needs
torch or Prefect.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, concatenate
from aepipe.errors import QueryError
from aepipe.release import query as queries
from aepipe.release.filter import ids_where
from aepipe.release.query import Answer, Hit, Question, SearchOptions, answer, oversampling
from aepipe.release.release import Prefix, Release
from aepipe.store.artifacts import Store

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

Thing: TypeAlias = "str | PathLike[str] | bytes | Image | NDArray[np.generic] | Mapping[str, Any]"
"""A path or words; the bytes of a file; a picture; an array, of pixels or a vector; a row of a table."""


class More(TypedDict, total=False):
    """What else a question may say.

    Attributes:
        where: a condition in SQL that rows fulfil: ``"label = 'Boot' AND year > 2020"``.
        others: a row of the collection is not among its own hits.
        distinct: of rows with equal codes only the first is found.
        rerank: hits in the order of what codes were made from; more are looked at than are wanted.
        bits: so many of the first bits are compared.
    """

    where: str | None
    others: bool
    distinct: bool
    rerank: bool
    bits: int | None


class Results:
    """The answers to one or more questions, in the order asked; what a notebook shows as pictures.

    Iterating gives :class:`aepipe.release.query.Answer`, each with its ``question`` and its ``hits``.
    """

    def __init__(self, release: Release, answers: Sequence[Answer]) -> None:
        self._release = release
        self.answers = tuple(answers)

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    def __getitem__(self, place: int) -> Answer:
        return self.answers[place]

    @property
    def hits(self) -> list[Hit]:
        """All hits, one question after another."""
        return [hit for one in self.answers for hit in one.hits]

    def to_pandas(self) -> pd.DataFrame:
        """Return a line for each hit: the question, rank, distance, what is known of the row, and its own columns."""
        import pandas as pd

        fixed = ("query", "rank", "id", "key", "label", "distance", "similarity", "confidence", "cosine")
        lines: list[dict[str, Any]] = []
        for one in self.answers:
            for hit in one.hits:
                told = (one.question.text, hit.rank, hit.row.id, hit.row.key, hit.row.label)
                measured = (hit.distance, hit.similarity, hit.confidence, hit.cosine)
                lines.append({**hit.row.columns, **dict(zip(fixed, (*told, *measured), strict=True))})
        names = [*fixed, *(name for name in self._release.items.columns if name not in fixed)]
        return pd.DataFrame(lines, columns=names)

    def __repr__(self) -> str:
        lines = []
        for one in self.answers:
            lines.append(f"{one.question.text}: {len(one.hits)} hits")
            lines += [f"  {hit.distance:4} bits  {hit.row.key}  {hit.row.label or ''}".rstrip() for hit in one.hits]
        return "\n".join(lines) or "no questions"

    def _repr_html_(self) -> str:
        from aepipe.report.page import answer_page

        return "".join(answer_page(self._release, one) for one in self.answers)


class Collection:
    """A collection in service, as it was when it was opened.

    Attributes:
        release: what was opened: codes, index, items.
    """

    def __init__(self, release: Release) -> None:
        self.release = release

    @property
    def name(self) -> str:
        """What it is called in service."""
        return self.release.name

    @property
    def fingerprint(self) -> str:
        """Digest of its encoder; codes of another one mean something else."""
        return self.release.fingerprint

    @property
    def n_bits(self) -> int:
        """Bits of a code."""
        return self.release.n_bits

    @property
    def scores(self) -> dict[str, Any]:
        """What was measured of it, as ``scores.json`` has it."""
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
        k: int | None = None,
        radius: int | None = None,
        **more: Unpack[More],
    ) -> Results:
        """Find what is most like some things.

        Args:
            things: paths of files, words, bytes, pictures, arrays, or rows of a table as a mapping.
            keys: rows of the collection.
            ids: the same, by id.
            codes: in hex, or as they are.
            k: most hits of a question: 10, with a radius all.
            radius: only rows at most so many bits away.
            more: ``where``, ``others``, ``distinct``, ``rerank``, ``bits``; see :class:`More`.

        Raises:
            QueryError: nothing is asked, there is no such row, file or option, or the condition is not one.
            ItemError: a thing cannot be read.
            CodeError: a code of another length.
            FingerprintError: a code that another encoder made.
        """
        release, limits = self._limited(k, radius, more)
        questions = list(
            chain(
                queries.questions_from_rows(release, list(ids), list(keys)),
                _codes(release, codes),
                *(self._asked(release, thing) for thing in things),
            )
        )
        if not questions:
            raise QueryError("nothing is asked: give things, keys, ids or codes")
        _raise_failures(questions)
        return Results(release, answer(release, questions, limits))

    def encode(self, *things: Thing) -> BitCodes:
        """Return the codes of things, in their order; they bear the collection's fingerprint.

        Raises:
            QueryError: there is no such file, or nothing is given.
            ItemError: a thing cannot be read.
        """
        questions = [one for thing in things for one in self._asked(self.release, thing)]
        _raise_failures(questions)
        found = [one.code for one in questions if one.code is not None]
        if not found:
            raise QueryError("nothing is given to encode")
        return concatenate(found)

    def _limited(self, k: int | None, radius: int | None, more: More) -> tuple[Release, SearchOptions]:
        """Return the release that is asked, and how much of it is wanted."""
        known = More.__annotations__
        if unknown := sorted(more.keys() - known.keys()):
            raise QueryError(f"no such option of query: {', '.join(unknown)}; these are: k, radius, {', '.join(known)}")
        if k is not None and k < 1:
            raise QueryError(f"the {k} nearest: at least 1 can be asked for")
        where, bits = more.get("where"), more.get("bits")
        allowed = None if where is None else ids_where(self.release, where)
        factor = oversampling(self.release) if more.get("rerank") else None
        limits = SearchOptions(k, radius, factor, allowed, bool(more.get("others")), bool(more.get("distinct")))
        return (self.release if bits is None else Prefix(self.release, bits)), limits

    @staticmethod
    def _asked(release: Release, thing: Thing) -> Iterator[Question]:
        """Return what one thing asks."""
        if isinstance(thing, Mapping):
            return queries.questions_from_paths(release, [json.dumps(dict(thing))])
        if isinstance(thing, str | PathLike):
            return queries.questions_from_paths(release, [str(thing)])
        return queries.questions_from_bytes(release, [_held(thing)])


def open(home: str | PathLike[str] | None = None, name: str | None = None) -> Collection:
    """Open a collection that is in service.

    Args:
        home: the shelf; else ``$AEPIPE_HOME``, else the nearest ``.aepipe`` from the working directory upwards.
        name: of the collection; needed where several are in service.

    Raises:
        NotFoundError: there is none.
        CorruptError: something that belongs to it is missing or damaged.
    """
    store = Store(Path(home).expanduser()) if home is not None else Store.locate()
    return Collection(Release.open(store, name))


def _raise_failures(questions: Sequence[Question]) -> None:
    """Raise why the first of those that cannot be read cannot."""
    for question in questions:
        if question.failure is not None:
            raise question.failure


def _codes(release: Release, codes: Sequence[str] | BitCodes) -> Iterator[Question]:
    """Return what codes ask."""
    if not isinstance(codes, BitCodes):
        return queries.questions_from_codes(release, codes)
    return (Question(f"code {codes[at : at + 1].hex()[0]}", codes[at : at + 1]) for at in range(len(codes)))


def _held(thing: bytes | Image | NDArray[np.generic]) -> tuple[str, bytes]:
    """Return a thing as the bytes of a file, with what to call it."""
    if isinstance(thing, bytes | bytearray):
        return "bytes", bytes(thing)
    stream = io.BytesIO()
    if isinstance(thing, np.ndarray) and (thing.ndim == 1 or thing.dtype.kind == "f"):
        np.save(stream, thing)
        return f"array{list(thing.shape)}", stream.getvalue()
    import PIL.Image

    picture = PIL.Image.fromarray(np.squeeze(thing)) if isinstance(thing, np.ndarray) else thing
    if not isinstance(picture, PIL.Image.Image):
        raise QueryError(f"{type(thing).__name__}: ask with a path, words, bytes, a picture, an array or a mapping")
    picture.save(stream, "PNG")
    return "picture", stream.getvalue()
