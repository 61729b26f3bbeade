"""The words of all documents of a release, for BM25, in an index of tantivy's.

It is made when it is first asked. Like a map, it is a segment whose inputs name its release: it is found by them, and
no release refers to it. Words are cut as those of rows are, so it knows all scripts; digits belong to words here, so
that part numbers, error codes and years are found. The scores are Robertson's and
Spärck Jones's BM25, as tantivy computes them.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe import sources
from aepipe.errors import ExtraError, ItemError, NotFoundError, QueryError, RecipeError, SourceError
from aepipe.log import step
from aepipe.release.originals import original
from aepipe.release.release import Release
from aepipe.sources.item import Item
from aepipe.sources.text.decode import terms_of
from aepipe.store import artifacts, layout
from aepipe.store.artifacts import Ref, Store

VERSION = 2
EXTRA = "hybrid"
MEMORY = 50_000_000
"""Bytes that the writer of an index takes."""
BLOCK = 1024
MOST_WORDS = 256
"""Distinct words of a question that are looked up: those of a whole document are cut off there."""
_LOCKS = ".tantivy-*.lock"


class FullText:
    """The index, opened.

    Args:
        folder: of tantivy's files. Where it cannot be written to, a copy of it is opened, as its readers leave a lock.

    Raises:
        ExtraError: tantivy is not installed.
    """

    def __init__(self, folder: Path) -> None:
        tantivy = _tantivy()
        try:
            self._index = tantivy.Index.open(str(folder))
        except Exception:  # the library raises ValueError, and OSError by another name
            self._copy = tempfile.TemporaryDirectory()
            self._index = tantivy.Index.open(shutil.copytree(folder, Path(self._copy.name) / "index").as_posix())
        self._searcher = self._index.searcher()

    def search(self, text: str, most: int, where: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return the ids of the documents with the highest BM25 for a text, int64[n].

        Args:
            text: the question.
            most: ids.
            where: that may be found; None for all.
        """
        tantivy = _tantivy()
        words = list(dict.fromkeys(terms_of(text)))[:MOST_WORDS]
        terms = [
            (tantivy.Occur.Should, tantivy.Query.term_query(self._index.schema, layout.FullText.TEXT, word))
            for word in words
        ]
        if not terms:
            return np.zeros(0, np.int64)
        asked = tantivy.Query.boolean_query(terms)
        if where is not None:
            rows = tantivy.Query.term_set_query(self._index.schema, layout.FullText.ID, where.tolist())
            parts = [(tantivy.Occur.Must, one) for one in (asked, tantivy.Query.boost_query(rows, 0.0))]
            asked = tantivy.Query.boolean_query(parts)
        hits = self._searcher.search(asked, most).hits
        return np.array([self._searcher.doc(place)[layout.FullText.ID][0] for _, place in hits], np.int64)


def ref_of(release: Ref) -> Ref:
    """Return where the index of a release lies, whether it was made or not."""
    return artifacts.ref_of("segment", _inputs_of(release))


def can_be_asked(release: Release) -> bool:
    """Whether words can be looked up: a collection has documents, and tantivy is installed."""
    return sources.has_text(release.recipe["source"]["kind"]) and find_spec("tantivy") is not None


def opened(store: Store, release: Release) -> FullText:
    """Open the full-text index of a release; make it where it is missing.

    Raises:
        ExtraError: tantivy is not installed.
        QueryError: the release is not of documents, or all of their originals are gone.
        FullError: the disk is full.
        StoreError: the store cannot be written.
    """
    _tantivy()
    if not sources.has_text(release.recipe["source"]["kind"]):
        raise QueryError(f"{release.name}: words are looked up in documents, and this collection has none")
    with contextlib.suppress(NotFoundError):
        return FullText(store.path(ref_of(release.ref)) / layout.FullText.INDEX)
    with store.draft("segment") as draft:
        folder = draft.path / layout.FullText.INDEX
        folder.mkdir()
        count = _write(release, folder)
        if not count:
            raise QueryError(f"{release.name}: no original is left in {release.items.root} to take words from")
        for lock in folder.glob(_LOCKS):
            lock.unlink()
        ref = draft.finish(_inputs_of(release.ref), {"kind": "fulltext", "documents": count})
    return FullText(store.path(ref) / layout.FullText.INDEX)


def text_reader(release: Release) -> Callable[[bytes, str], str]:
    """Return what gives the text of a document, of a mail without headers and quotations."""
    from aepipe.sources.text.decode import body_of

    card = release.encoder.card
    mail = int(card.features.get("mail", 0))

    def read(data: bytes, key: str) -> str:
        text = sources.readable(card.source, data, key)
        return body_of(text, mail) if mail and text else text

    return read


def _write(release: Release, folder: Path) -> int:
    """Write the words of all documents; return how many documents there are."""
    tantivy = _tantivy()
    schema = tantivy.SchemaBuilder()
    schema.add_integer_field(layout.FullText.ID, stored=True, indexed=True)
    # Words are cut before: tantivy only parts them.
    schema.add_text_field(layout.FullText.TEXT, stored=False, tokenizer_name="whitespace", index_option="freq")
    writer = tantivy.Index(schema.build(), path=str(folder)).writer(MEMORY, 1)
    count = 0
    for row_id, text in _texts(release):
        document = tantivy.Document()
        document.add_integer(layout.FullText.ID, row_id)
        document.add_text(layout.FullText.TEXT, " ".join(terms_of(text)))
        writer.add_document(document)
        count += 1
    writer.commit()
    writer.wait_merging_threads()
    return count


def _texts(release: Release) -> Iterator[tuple[int, str]]:
    """Yield the id and the text of each document whose original is still there.

    Documents are read in the order of their source, because one of many in a file takes as long as all of them. What
    was added from elsewhere is read one by one.
    """
    read, ids = text_reader(release), np.asarray(release.items.ids)
    blocks = (release.describe(ids[start : start + BLOCK]) for start in range(0, len(ids), BLOCK))
    left = {row.key: row for block in blocks for row in block}
    for done, item in enumerate(_items(release)):
        row = left.get(item.key)
        with contextlib.suppress(ItemError):
            if row is not None:
                yield row.id, read(item.read(), item.key)
                del left[item.key]
        step("full text", min(done, len(ids)), len(ids))
    for row in left.values():
        with contextlib.suppress(ItemError):
            yield row.id, read(original(release, row.place), row.key)
    step("full text", len(ids), len(ids))


def _items(release: Release) -> Iterator[Item]:
    """Yield the items of the source of a release as far as it is still there."""
    from aepipe import recipe as recipes

    with contextlib.suppress(SourceError, RecipeError):
        yield from sources.resolve(recipes.parse(release.recipe, Path("recipe"))).items()


def _inputs_of(release: Ref) -> dict[str, Any]:
    return {"stage": "fulltext", "version": VERSION, "release": str(release)}


def _tantivy() -> Any:  # noqa: ANN401  a module
    """Return the library.

    Raises:
        ExtraError: it is not installed.
    """
    if find_spec("tantivy") is None:
        raise ExtraError("tantivy", EXTRA, why="words are looked up in all documents")
    import tantivy

    return tantivy
