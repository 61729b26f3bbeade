"""Answer queries: encode items, search, describe the hits.

A question is an item from outside (a file, words, bytes, a row of a table), a row of the collection, or a code. Items
are decoded and encoded as those of the collection were, and searched by :mod:`aepipe.release.search`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice, repeat

import numpy as np
from numpy.typing import NDArray

from aepipe import sources
from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import Encoding, why_lost
from aepipe.errors import FingerprintError, ItemError, QueryError
from aepipe.release.asked_rows import why_not_asked
from aepipe.release.release import Release
from aepipe.release.search import Found, Hit, Question, SearchOptions, hits_of, search
from aepipe.release.unusual import figures_of, is_judged, unusual
from aepipe.release.words import NOTHING, Mixture, advice, answers_words, features_of, is_in_words, meaning_of, mixed
from aepipe.sources.arguments import items_named
from aepipe.sources.asked import STDIN, not_utf8, told, words_in
from aepipe.sources.item import Decode, Item, asking
from aepipe.store.segments import ids_of
from aepipe.words import Meaning

AT_ONCE = 256
"""Questions that are encoded and searched together; a large folder is answered while it is read."""

SNIPPET, SHOWN = "snippet", 120
"""The column with the text of an item, and the letters of it that are shown; a passage has more of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A question and its hits, nearest first.

    ``strange`` says why the question is unlike the collection; None where it is not.
    """

    question: Question
    hits: list[Hit]
    strange: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """What an answer is made of: the rows of a question, before they are looked up.

    Attributes:
        question: with its code.
        found: its rows, nearest first.
        confidence: of each row; None where that was not measured for such a question.
        strange: why the question is unlike the collection; None where it is not.
    """

    question: Question
    found: Found
    confidence: Sequence[float] | None = None
    strange: str | None = None


def raise_failures(questions: Iterable[Question]) -> None:
    """Raise the first failure among some questions.

    Raises:
        ItemError: an item could not be read.
    """
    for question in questions:
        if question.failure is not None:
            raise question.failure


def questions_from_paths(release: Release, texts: Sequence[str], mixture: Mixture = NOTHING) -> Iterator[Question]:
    """Read and encode items: files, all of a folder, words, a row as JSON, ``-`` for stdin.

    Args:
        release: that is asked.
        texts: as people write them.
        mixture: words that are added to each.

    Raises:
        QueryError: a path does not exist, or words are added and the collection answers none.
        FingerprintError: this version decodes in another way than the release's encoder expects.
    """
    for in_words, some in groupby(texts, lambda text: is_in_words(release, text)):
        yield from (questions_from_words if in_words else _questions_from_files)(release, list(some), mixture)


def questions_from_words(release: Release, texts: Sequence[str], mixture: Mixture = NOTHING) -> Iterator[Question]:
    """Encode words for a collection that is not of documents.

    Args:
        release: that is asked.
        texts: each is a question; without any, the mixture is one.
        mixture: words that are added to each.

    Raises:
        QueryError: the collection answers no words.
        CorruptError: a network fails.
    """
    meanings = [mixed(release, meaning_of(release, text), mixture) for text in texts]
    if not texts:
        texts, meanings = [""], [mixed(release, None, mixture)]
    yield from _of_meanings(release, [Question(mixture.named(text)) for text in texts], meanings)


def questions_from_text(release: Release, texts: Sequence[str], mixture: Mixture = NOTHING) -> Iterator[Question]:
    """Encode words, also where a file has such a name.

    Raises:
        QueryError: the collection answers no words, or none can be added to its questions.
    """
    if not texts:
        return
    if release.all_parts("words") or not answers_words(release):
        yield from questions_from_words(release, texts, mixture)
        return
    for bad, some in groupby(texts, not_utf8):
        if bad:
            yield from (Question(text, failure=ItemError(text, bad)) for text in some)
        else:
            yield from questions_from_bytes(release, [(text, text.encode()) for text in some], mixture)


def _of_meanings(release: Release, asked: Sequence[Question], meanings: Sequence[Meaning]) -> Iterator[Question]:
    """Encode what words have a part in."""
    # Rows are of this precision, and a question goes through the encoder as a row does.
    found = release.encoder.encode(np.stack([one.features for one in meanings]).astype(np.float16))
    for place, (question, meaning) in enumerate(zip(asked, meanings, strict=True)):
        whole = found.codes[place : place + 1]
        code, embedding, logits = whole.prefix(release.n_bits), found.embedding[place], found.logits[place]
        yield replace(question, code=code, embedding=embedding, whole=whole, meaning=meaning, logits=logits)


def _questions_from_files(release: Release, texts: Sequence[str], mixture: Mixture) -> Iterator[Question]:
    decode = decoder(release)
    block: list[Question] = []
    words = answers_words(release)
    for item in items_named(release.encoder.card.source, texts, release.recipe.get("features")):
        question = _as_meant(release, _read(told(item, words=words, advice="" if words else advice(release))))
        if question.words and release.all_parts("words"):  # out of a pipe
            yield from _encoded(release, block, decode, mixture)
            yield from questions_from_words(release, [question.text], mixture)
            block = []
            continue
        block.append(question)
        if len(block) == AT_ONCE:
            yield from _encoded(release, block, decode, mixture)
            block = []
    yield from _encoded(release, block, decode, mixture)


def _as_meant(release: Release, question: Question) -> Question:
    """Return a question as it is meant: words for pictures that came out of a pipe; a misspelt row is a failure."""
    kind = release.encoder.card.source
    if kind == "table" and question.text.startswith("{"):
        wrong = why_not_asked(release, question.data.decode("utf-8", "replace"))
        return question if wrong is None else replace(question, failure=ItemError(question.text, wrong))
    if question.text != STDIN or not (release.all_parts("words") or sources.has_pictures(kind)):
        return question
    words = words_in(question.data)
    if words is None:
        return question
    if release.all_parts("words"):
        return replace(question, text=words, data=words.encode())
    why = "words, and no file; this collection is asked with files, or with its own rows by --key or --id"
    return replace(question, failure=ItemError(STDIN, f"{why}{advice(release)}"))


def questions_from_bytes(
    release: Release, named: Sequence[tuple[str, bytes]], mixture: Mixture = NOTHING
) -> Iterator[Question]:
    """Encode items given as bytes, each with a name for messages.

    Raises:
        QueryError: words are added to them, and the collection answers none.
        FingerprintError: this version decodes in another way than the release's encoder expects.
    """
    if named:
        asked = [Question(name, data=held) for name, held in named]
        yield from _encoded(release, asked, decoder(release), mixture)


def questions_from_rows(
    release: Release, ids: Sequence[int], keys: Sequence[str], mixture: Mixture = NOTHING, *, embedded: bool = True
) -> Iterator[Question]:
    """Look up the codes of rows of the collection; with words added, they are encoded.

    Args:
        release: that is asked.
        ids: of rows.
        keys: of further rows.
        mixture: words that are added to each.
        embedded: embeddings are wanted, too, where they are kept.

    Raises:
        QueryError: there is no such id or key.
    """
    if not ids and not keys:
        return
    named = [(f"id {row_id}", row_id) for row_id in ids] + [(f"key {key}", release.id_of(key)) for key in keys]
    wanted = [row_id for _, row_id in named]
    if mixture:
        release.items.check(ids_of(wanted))
        meanings = [mixed(release, Meaning(features), mixture) for features in features_of(release, wanted)]
        asked = [Question(mixture.named(text), row_id=row_id) for text, row_id in named]
        yield from _of_meanings(release, asked, meanings)
        return
    codes = release.whole.codes_of(wanted)
    kept = embedded and release.segments.width is not None
    embeddings: Iterable[NDArray[np.int8] | None] = repeat(None)
    if kept:
        embeddings = release.segments.embeddings_of(np.array(wanted, np.int64))
    for place, ((text, row_id), embedding) in enumerate(zip(named, embeddings, strict=False)):
        whole = codes[place : place + 1]
        yield Question(text, whole.prefix(release.n_bits), row_id=row_id, embedding=embedding, whole=whole)


def questions_from_codes(release: Release, codes: Sequence[str] | BitCodes) -> Iterator[Question]:
    """Ask with codes, in hex or packed.

    Raises:
        CodeError: a text is not hex, or has another length than the release's codes.
    """
    # Packed codes keep the fingerprint that they came with, so those of another encoder are refused.
    if isinstance(codes, BitCodes):
        for place, text in enumerate(codes.hex()):
            yield Question(f"code {text}", codes[place : place + 1])
        return
    for text in codes:
        yield Question(f"code {text}", BitCodes.from_hex([text], release.n_bits, release.fingerprint))


def check_pixels(release: Release) -> None:
    """Check that a release was learned from the pixels of pictures.

    Raises:
        QueryError: it was not.
    """
    card = release.encoder.card
    pictures = sources.has_pictures(card.source)
    if not pictures or len(card.shape) != 3:
        seen = "the features of a network" if pictures else card.source
        raise QueryError(f"{release.name} was learned from {seen}, not from pixels: there is nothing to draw")


def decoded_items(
    release: Release, paths: Sequence[str], ids: Sequence[int], keys: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.generic] | ItemError]]:
    """Yield pictures and originals of rows as they go into the encoder, each with its name.

    Args:
        release: whose encoder decides how they are decoded.
        paths: pictures from outside.
        ids: rows of the collection.
        keys: the same, by key.

    Raises:
        QueryError: there is no such id or key, a path does not exist, or the release was not learned from images.
        FingerprintError: this version decodes in another way than the release's encoder expects.
    """
    from aepipe.release.originals import original

    check_pixels(release)
    decode = decoder(release)
    for row in release.describe([*ids, *(release.id_of(key) for key in keys)]):
        try:
            question = Question(row.key, data=original(release, row.place))
        except ItemError as error:
            question = Question(row.key, failure=error)
        yield row.key, _decoded(question, decode)
    for item in items_named(release.encoder.card.source, paths, release.recipe.get("features")):
        yield item.key, _decoded(_read(item), decode)


def decoder(release: Release) -> Decode:
    """Return the function that decodes items as those of the collection were decoded.

    Raises:
        FingerprintError: this version decodes in another way than the release's encoder expects.
    """
    card = release.encoder.card
    current = sources.version(card.source)
    if card.features.get("decoder", current) != current:
        raise FingerprintError(
            f"{release.name} was made with version {card.features['decoder']} of the decoder of {card.source}, this is "
            f"version {current}: codes would not match; make a new release with `aepipe run`"
        )
    return sources.decoder(card.source, card.features, release.folder("encoder"))


def answers(release: Release, questions: Iterable[Question], options: SearchOptions) -> Iterator[Answer]:
    """Answer questions in blocks; the first answers come while other questions are still read.

    Raises:
        QueryError: re-ranking is asked for, and a code came without its embedding.
    """
    # An iterator, because questions are read while answers are printed.
    asked = iter(questions)
    while block := list(islice(asked, AT_ONCE)):
        yield from answer(release, block, options)


def answer(release: Release, questions: Sequence[Question], options: SearchOptions) -> list[Answer]:
    """Search for all questions at once; those without a code get no hits.

    Raises:
        As :func:`ranked`.
    """
    if options.hybrid:
        from aepipe.release.hybrid import check_asked, known_by_words

        check_asked(questions)
        questions = [known_by_words(release, question) for question in questions]
    found = ranked(release, [question for question in questions if question.code is not None], options)
    told = iter(zip(found, hits_of(release, [(one.found, one.confidence) for one in found]), strict=True))
    return [_told(release, *next(told)) if one.code is not None else Answer(one, []) for one in questions]


def ranked(release: Release, questions: Sequence[Question], options: SearchOptions) -> list[Ranked]:
    """Search for all questions at once, and tell what their rows are worth.

    Rows are not looked up.

    Args:
        release: that is searched.
        questions: with their codes.
        options: which rows, and in which order.

    Raises:
        QueryError: re-ranking is asked for, and a code came without its embedding; or a confidence, and it is words, of
            which none was measured; or hits by words, too, and a code has none.
    """
    if options.least is not None and (bare := next((one for one in questions if one.meaning), None)):
        raise QueryError(f"{bare.text}: what hits of words are worth was not measured: leave out --min-confidence")
    found = list(_searched(release, questions, options) if questions else [])
    judged = zip(questions, found, unusual(release, questions, found, options), strict=True)
    return [_worth(release, one, rows, _strange(one, reason, options), options) for one, rows, reason in judged]


def _strange(question: Question, reason: str | None, options: SearchOptions) -> str | None:
    """Return why a question is unlike the collection, where its codes give a reason; None where it is not."""
    if question.meaning:
        return question.meaning.far
    # Hits by their words alone are rows that have them, whatever the code of no words is near to.
    return None if options.hybrid and question.words and question.embedding is None else reason


def _told(release: Release, one: Ranked, hits: list[Hit]) -> Answer:
    return Answer(one.question, _with_excerpts(release, one.question, hits), one.strange)


def _searched(release: Release, asked: Sequence[Question], options: SearchOptions) -> Iterator[Found]:
    if not options.hybrid:
        return search(release, asked, options)
    from aepipe.release.fulltext import opened
    from aepipe.release.hybrid import fused

    return fused(release, opened(release.store, release.whole), asked, options)


def _worth(release: Release, question: Question, found: Found, strange: str | None, options: SearchOptions) -> Ranked:
    """Return the rows of a question with their confidence, without those that have too little.

    What is unlike the collection has none: nothing that was measured holds for it. And what was measured of ranks and
    distances holds for hits by code alone.
    """
    known = None if strange or options.hybrid or question.meaning else release.confidence
    curve = known.curve(words=question.words, where=options.where is not None) if known else None
    if curve is None:
        return Ranked(question, found if options.least is None else found.at([]), None, strange)
    assert known is not None, "it has the curve"
    measures = zip(found.distances.tolist(), found.cosines or repeat(None), strict=False)
    sure = [round(known.of_hit(curve, rank, *one), 6) for rank, one in enumerate(measures, 1)]
    if options.least is None:
        return Ranked(question, found, sure, strange)
    kept = [place for place, one in enumerate(sure) if one >= options.least]
    return Ranked(question, found.at(kept), [sure[place] for place in kept], strange)


def _with_excerpts(release: Release, question: Question, hits: list[Hit]) -> list[Hit]:
    """Return hits that show the sentence of their passage that fits the question; other hits as they are."""
    texts = [hit.row.columns.get(SNIPPET) or "" for hit in hits]
    if max(map(len, texts), default=0) <= SHOWN:
        return hits
    kind = release.encoder.card.source
    if question.row_id is not None:
        asked = release.describe([question.row_id])[0].columns.get(SNIPPET) or ""
    else:
        asked = sources.readable(kind, question.data, question.text)
    shown = [sources.excerpt(kind, text, asked) if len(text) > SHOWN else text for text in texts]
    rows = [replace(hit.row, columns={**hit.row.columns, SNIPPET: text}) for hit, text in zip(hits, shown, strict=True)]
    return [replace(hit, row=row) for hit, row in zip(hits, rows, strict=True)]


def _read(item: Item) -> Question:
    try:
        return Question(item.key, data=item.read())
    except ItemError as error:
        return Question(item.key, failure=error)


def _encoded(
    release: Release, block: Sequence[Question], decode: Decode, mixture: Mixture = NOTHING
) -> Iterator[Question]:
    """Decode and encode items; one for which that cannot be done keeps its place, with the reason."""
    decoded = [_decoded(question, decode) for question in block]
    if mixture:
        yield from _encoded_with_words(release, block, decoded, mixture)
        return
    found = _codes(release, block, decoded)
    good = [item for item in decoded if not isinstance(item, ItemError)]
    places = iter(range(len(good)))
    if found is not None:
        items = np.stack(good)
        judged = is_judged(release)
        # Only releases of older versions are judged by how well their items are decoded.
        decoder = None if judged else release.decoder
        errors = decoder.errors(items, found.codes).tolist() if decoder else [None] * len(good)
        read = [one for one, item in zip(block, decoded, strict=True) if not isinstance(item, ItemError)]
        figures = figures_of(release, items, found, read)
    for question, item in zip(block, decoded, strict=True):
        if isinstance(item, ItemError):
            yield replace(question, failure=item)
            continue
        assert found is not None
        place = next(places)
        whole, embedding = found.codes[place : place + 1], found.embedding[place]
        code = whole.prefix(release.n_bits)
        yield replace(
            question, code=code, embedding=embedding, error=errors[place], whole=whole, figures=figures[place]
        )


def _codes(
    release: Release, block: Sequence[Question], decoded: list[NDArray[np.generic] | ItemError]
) -> Encoding | None:
    """Encode what was decoded; an item that has no code becomes the reason. None where nothing is left."""
    places = np.array([n for n, item in enumerate(decoded) if not isinstance(item, ItemError)], np.int64)
    if not len(places):
        return None
    items = np.stack([item for item in decoded if not isinstance(item, ItemError)])
    found = release.encoder.encode(items)
    lost = found.lost()
    for place, item in zip(places[lost].tolist(), items[lost], strict=True):
        decoded[place] = ItemError(block[place].text, why_lost(item))
    return None if lost.all() else found[~lost] if lost.any() else found


def _encoded_with_words(
    release: Release, block: Sequence[Question], decoded: Sequence[NDArray[np.generic] | ItemError], mixture: Mixture
) -> Iterator[Question]:
    """Encode features of items with words added; one that could not be decoded keeps its place, with the reason."""
    for question, item in zip(block, decoded, strict=True):
        if isinstance(item, ItemError):
            yield Question(question.text, failure=item)
            continue
        named = replace(question, text=mixture.named(question.text))
        yield from _of_meanings(release, [named], [mixed(release, Meaning(item.astype(np.float32)), mixture)])


def _decoded(question: Question, decode: Decode) -> NDArray[np.generic] | ItemError:
    """Decode one item, or return why it cannot be decoded."""
    if question.failure is not None:
        return question.failure
    try:
        return (asking(decode) if question.words else decode)(question.data, question.text)
    except ItemError as error:
        return error
