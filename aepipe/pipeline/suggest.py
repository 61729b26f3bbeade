"""Write a recipe for a collection that has none, each choice with its reason.

The result is the text of a recipe, meant to be kept, read and changed; nothing else is chosen behind it.

Some of the files are looked at, spread over all of them, and the kind of source is told by their first bytes, not by
their names; see :class:`aepipe.sources.base.Sniffer`. The kind gives hints for ``[source]`` and ``[features]``. Layers,
bits and fine-tuning depend on the number of items, not on what they are.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any

import numpy as np

from aepipe import recipe as recipes
from aepipe import sources
from aepipe.errors import ExtraError, ItemError, RecipeError, SourceError, UnclearError
from aepipe.pipeline.places import absolute, name_of, relative
from aepipe.recipe import Choice, LayerRecipe, Recipe
from aepipe.sources import base, given
from aepipe.sources.base import HEAD, LOOKED_AT, Glimpse, Hints, Sniffer
from aepipe.sources.files import EMPTY, Files, Found, first_bytes, pointer_in
from aepipe.sources.formats import archives, clip_retrieval, parquet, records, shards
from aepipe.sources.formats.folder import is_other
from aepipe.sources.item import Given, Source
from aepipe.sources.passed_over import PassedOver, in_words
from aepipe.sources.remote import is_address
from aepipe.sources.source_block import source_block
from aepipe.sources.table import layers as of_tables
from aepipe.sources.unlike_tables import Tables, sorted_out

FILES = 200
"""Files that are looked at to tell the kind of source."""
MEMBERS = 40
"""Members of an archive that are looked at."""
POINTERS = 0.05
"""Share of files that only point to their content, above which no recipe is written."""
CLEAR = 2
"""How many times as many files the kind of a recipe has as any other kind; and they are half of all files at least."""
ABOUT = frozenset(
    ["readme", "license", "licence", "notice", "authors", "changelog", "citation", "contributing", "dataset_infos"]
)
"""Names of texts in the topmost folder that are about all other files."""
STEPS = {"layer": 250, "finetune": 700}
"""Steps of training aimed at; on 6,700 photographs, twice as many added 4 % to mAP@1000."""
EDITED_STEPS = 1400
"""Steps of fine-tuning where rows are edited: no row is seen twice."""
MOST_EPOCHS, MORE_EPOCHS = 40, 400
"""Of any collection, and of one with few rows."""
MOST_NEIGHBOURS, ROWS_OF_A_NEIGHBOUR, FEWEST_NEIGHBOURS = 20, 30, 6
"""Edges of a row in the graph: one for so many rows, within bounds; of few rows, the 20 nearest are of any kind."""
REFRESHES = 5
"""Parts of fine-tuning after each of which a part of the edges is found anew, where rows are edited."""
_IN_CELLS = ("images", "text", "vectors", "audio", "video")  # kinds whose files may lie in the cells of a table
WALKABLE = 100
"""Rows from which bits learn from neighbours (``python -m benchmarks.quality.small``); of fewer, nothing is trained."""
FEW = 1000
"""Rows below which an epoch is so short that training takes more of them."""

PIXELS = (
    "With --pixels they are compared by their colours and shapes, which finds pictures that look alike, and not things"
)
"""What can be done with photographs without the network that sees what is in them."""
_NO_ROWS = "a table without rows"
_UNLABELLED = '[gate]\nmetric = "walk_map"  # without labels, where walks among neighbours lead is the measure'
_LAYER = """[[layers]]
net = {{ kind = "dense", width = {width} }}
likelihood = "{likelihood}"
corruption = {{ kind = "mask", rate = 0.2, rescale = true }}
{fit}"""
_CODE = """[code]
bits = {bits}
binarize = {{ kind = "straight-through", noise = 0.3 }}
threshold = "median"  # each bit is one for half of the rows
corruption = {{ kind = "mask", rate = 0.2, rescale = true }}
objective = {{ kind = "reconstruction", decorrelation = 0.02 }}
{fit}"""
_COMPONENTS = """[[layers]]  # principal components{why}
net = {{ kind = "dense", width = {width}, activation = "linear" }}
objective = {objective}
fit = {{ epochs = 1, batch = 4096 }}"""
_WALKS = """[finetune]  # bits agree where walks among nearest neighbours lead
frozen = 1  # the lowest layer stays as it is
epochs = {epochs}
batch = {batch}
lr = 2e-3
warmup = 50
corruption = {{ kind = "mask", rate = 0.2, rescale = true }}
{objective}"""
_AS_THEY_ARE = """objective = {{ kind = "neighbourhood", whiten = 0.0{more} }}"""
_DRAWS = '[compute]\ndraws = "bits"  # which cells are left out in training is drawn fast, on a CPU'
_EDITED = """edits = {edits}  # as far as the rows bear it

[finetune.objective]
kind = "neighbourhood"
whiten = 0.0
k = {k}
refresh = {refresh}  # codes that edits have taught find better neighbours than rows as they are
scales = [  # all bits learn both, so that the distance of whole codes is right
  {{ resemblance = 0.4, sharpness = 1.3, shared = true, weight = 2.0 }},  # groups
  {{ resemblance = 0.8, sharpness = 2.8, shared = true }},  # near rows within them
]"""
_LINEAR = """[code]  # too few rows to train on: rotated components (ITQ)
bits = {bits}
normalize = false
threshold = "median"  # each bit is one for half of the rows
objective = "itq"
fit = {{ epochs = 1, batch = 4096 }}

[finetune]
epochs = 0"""


@dataclass(slots=True)
class Holding:
    """What a path holds.

    Attributes:
        files: how many there are that can be opened.
        passed_over: those that are never opened, and folders that are not looked into.
        looked_at: files that were looked at.
        kinds: of those that were looked at, by kind of source.
        strangers: those that fit no kind, or cannot be decoded, with the reason.
        beside: those that are about other files: ``1.json`` next to ``1.jpg``, ``README.md`` next to a table.
        columns: that hold the items, in the first table that has one, by kind.
        aside: kinds whose files are about the others where there are others: a table next to pictures.
        headless: a table begins with a row in place of names.
    """

    files: int = 0
    passed_over: PassedOver = field(default_factory=PassedOver)
    looked_at: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    strangers: list[tuple[str, str]] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    aside: frozenset[str] = frozenset()
    beside: int = 0
    headless: bool = False

    @property
    def kind(self) -> str:
        """The kind of source that most of the files are of; empty where they are of none."""
        return next(iter(self.ranked), "")

    @property
    def ranked(self) -> list[str]:
        """The kinds that may be meant, the most frequent first."""
        found = [kind for kind in sorted(self.kinds) if len(self.kinds) == 1 or kind not in self.aside]
        return sorted(found, key=self.kinds.__getitem__, reverse=True)

    def describe(self) -> Iterator[str]:
        """Yield the kinds that were found, and the files of no use with the first names, in words."""
        counts = "; ".join(f"{count:,} x {kind}" for kind, count in self.kinds.most_common())
        yield f"{self.looked_at:,} of {self.files:,} files looked at: {counts or 'of no known kind'}"
        if self.beside:
            yield f"{self.beside:,} of them are about the others: notes, or data of the same name"
        yield from (f"of no use: {in_words(fact)}" for fact in _by_reason(self.strangers).facts())
        yield from (f"passed over: {in_words(fact)}" for fact in self.passed_over.facts())


def suggest(
    path: str,
    *,
    name: str | None = None,
    folder: Path,
    kind: str | None = None,
    settings: Mapping[str, Any] | None = None,
    pixels: bool = False,
) -> tuple[str, str, Holding]:
    """Return the name and the text of a recipe, and what was found at the path.

    Args:
        path: a folder, a glob, an archive or a list, as ``[source] path`` takes it, relative to the working directory.
        name: of the recipe; made of the path where it is None.
        folder: where the recipe is going to lie; paths below it are written relative to it.
        kind: of source that is meant; told by the files where it is None.
        settings: values that are asked for, by key: ``{"source.header": False, "code.bits": 32}``.
        pixels: compare photographs by their pixels where the network that sees what is in them is not installed.

    Raises:
        ExtraError: that network is not installed.
        RecipeError: the name is not one, there is no such kind, or a value that is asked for is wrong.
        SourceError: the path does not exist, or holds nothing that can be learned from.
        UnclearError: there are files of several kinds, or most are of none.
    """
    asked = settings or {}
    own = given.options(asked, "source")
    chosen, held = name or name_of(path), look(path, own)
    if kind is None:
        _check_clear(path, held)
    elif kind not in sources.names():
        raise RecipeError(f"unknown kind {kind!r}; allowed: {', '.join(sources.names())}")
    kind = kind or held.kind
    tables = kind != "text" or records.prevail(_files(path, own))
    column = held.columns.get(kind) if tables else None
    apart = sorted_out(path, _files(path, own), given.tables(own)) if kind == "table" else Tables({})
    if apart.left_out:
        own["exclude"] = [*given.texts(own, "exclude"), *apart.patterns]
        asked = {**asked, "source.exclude": own["exclude"]} if "source.exclude" in asked else asked
    headless = apart.headless if kind == "table" else held.headless and tables
    hints, options = hints_for(kind, path, column, headless=headless, asked=own)
    if hints.lacks and not pixels:
        raise ExtraError(
            *hints.lacks,
            why=f"{path}: {hints.seen}, are photographs, and a network has to see what is in them",
            instead=PIXELS,
        )
    known = {place for place, _ in held.strangers}
    held.strangers += [one for one in (*hints.unreadable, *apart.left_out.items()) if one[0] not in known]
    head = [f"# Derived from {hints.seen}. Yours to change.", f"name = {json.dumps(chosen, ensure_ascii=False)}"]
    blocks = [source_block(hints, kind, relative(path, folder), options, apart.excluded()), hints.features]
    blocks += stack(hints.survey.rows, cells=hints.cells, edits=hints.edits)
    blocks += [] if hints.survey.label() else [_UNLABELLED]
    text = "\n\n".join([head[0], *given.written([head[1], *blocks], asked)]) + "\n"
    # A recipe that does not parse must never be written.
    recipes.parse(tomllib.loads(text), folder / f"{chosen}.toml")
    return chosen, text, held


def look(path: str, asked: Mapping[str, Any] | None = None) -> Holding:
    """Tell what a path holds.

    Args:
        path: a file, a folder or a glob, relative to the working directory.
        asked: options under ``[source]`` that were given: which table, sheet or files are meant.

    Raises:
        SourceError: there is no such path, or no file in it.
    """
    own, sniffers = asked or {}, _sniffers()
    tables = given.tables(own)
    found = Holding(aside=frozenset(kind for kind, sniffer in sniffers.items() if sniffer.aside))
    files = list(_files(path, own).picked(lambda _: None, found.passed_over))
    if not files:
        passed_over = found.passed_over.summary()
        raise SourceError(f"{path}: no files in it{f'; passed over: {passed_over}' if passed_over else ''}")
    found.files, seen = len(files), list[tuple[str, str]]()
    for file in _spread(_telling(files)):
        found.looked_at += 1
        try:
            kind, column = _kind_of(file, sniffers, tables)
        except ItemError as error:
            found.strangers.append((file.place, error.reason))
            continue
        seen.append((file.place, kind))
        if column:
            found.columns.setdefault(kind, column)
        found.headless = found.headless or (tables.header is None and _is_headless(file))
    beside = _beside(files, [place for place, kind in seen if kind == "text"])
    beside = beside if len(beside) < len(seen) else set()
    found.beside = len(beside)
    found.kinds = Counter(kind for place, kind in seen if place not in beside)
    return found


def _files(path: str, asked: Mapping[str, Any]) -> Files:
    """Return the files at a path, without those that are to be left out."""
    return Files.at(path, Path.cwd(), given.texts(asked, "exclude"), given.texts(asked, "root"))


def _spread(files: Sequence[Found]) -> list[Found]:
    """Return some of the files, the same each time, in their order.

    They are drawn, because those of one sort often stand together, and others take turns.
    """
    chosen = sorted(Random(0).sample(range(len(files)), min(FILES, len(files))))
    return [files[number] for number in chosen]


def _beside(files: Sequence[Found], texts: Sequence[str]) -> set[str]:
    """Return the texts that are about other files: of the same name but for the ending, or about all of them."""
    texts = [text for text in texts if not is_other(text)]  # a table of texts is about itself
    if not texts:
        return set()
    others = {name for file in files if is_other(file.place) for name in (file.place, _stem(file.place))}
    # Google writes 1.jpg.supplemental-metadata.json next to 1.jpg.
    return {text for text in texts if {_stem(text), _stem(_stem(text))} & others or _stem(text).lower() in ABOUT}


def _stem(place: str) -> str:
    return os.path.splitext(place)[0]


def _check_clear(path: str, held: Holding) -> None:
    """Check that one kind prevails among the files, and that their content is here.

    Raises:
        SourceError: nothing can be learned from them.
        UnclearError: it is not clear which of them are meant.
    """
    reasons = _by_reason(held.strangers)
    pointers = [fact for fact in reasons.facts() if fact["reason"].startswith("a pointer of ")]
    if pointers and pointers[0]["count"] > POINTERS * held.looked_at:
        raise SourceError(f"{path}: of {held.looked_at:,} files looked at {in_words(pointers[0])}")
    if not held.kind:
        raise SourceError(
            f"{path}: nothing in it that can be learned from: {'; '.join(describe_strangers(held.strangers))}"
        )
    first, *others = held.ranked
    counted = held.looked_at - held.beside - sum(held.kinds[kind] for kind in held.aside - {first})
    second = held.kinds[others[0]] if others else 0
    if held.kinds[first] >= max(CLEAR * second, counted / 2):
        return
    found = ", ".join(f"{held.kinds[kind]:,} of kind {kind}" for kind in held.ranked)
    useless = f"; {in_words(reasons.facts()[0])}" if reasons.total > second else ""
    say = " or ".join(f"--kind {kind}" for kind in held.ranked[:3])
    raise UnclearError(
        f"{path}: of {held.looked_at:,} files looked at there are {found}{useless}. Say which is meant: {say}",
        tuple(held.ranked),
    )


def _by_reason(strangers: Iterable[tuple[str, str]]) -> PassedOver:
    found = PassedOver()
    for place, reason in strangers:
        found.add(place, reason)
    return found


def _telling(files: list[Found]) -> list[Found]:
    """Return the files that tell what a collection holds, without those that describe them."""
    if clip_retrieval.holds(files):
        return list(filter(clip_retrieval.is_vectors, files))
    return [file for file in files if PurePosixPath(file.place).name not in shards.DESCRIPTIONS] or files


def describe_strangers(strangers: Sequence[tuple[str, str]], most: int = 5) -> Iterator[str]:
    """Yield the files that fit no kind, the first of them with their reasons."""
    for place, why in strangers[:most]:
        yield f"{place}: {why}"
    if len(strangers) > most:
        yield f"and {len(strangers) - most:,} more"


def hints_for(
    kind: str,
    path: str,
    column: str | None = None,
    *,
    headless: bool = False,
    asked: Mapping[str, Any] | None = None,
) -> tuple[Hints, Mapping[str, str | bool]]:
    """Return the hints of a kind for a collection, and the options that name its column.

    Args:
        kind: of source.
        path: of the collection, relative to the working directory.
        column: that holds the items, in tables; None where there is none.
        headless: the first line of a table is a row.
        asked: options that were given beside these.

    Raises:
        SourceError: the path does not exist, or holds nothing of the kind that can be read.
    """
    whole = path if is_address(path) else str(absolute(path))
    module = sources.kinds()[kind]
    option = module.SNIFFER.option
    usual = module.Options.model_fields[option].default if option else None
    options: dict[str, str | bool] = {option: column} if option and column and column != usual else {}
    options |= {"header": False} if headless else {}
    # Without options for label and split, the items still have all of their columns.
    read = {"path": whole, **options, **(asked or {})}
    source = _opened(kind, read)
    dates = source.dates
    types = {name: said for name, found in dates.items() if (said := found.said())}
    if types:
        source = _opened(kind, read | {"types": types | read.get("types", {})})
    if source.spans == []:  # a table without a column to learn from raises here
        raise SourceError(f"{path}: no column can be learned from")
    hints: Hints = module.suggest(whole, source.items())
    cells = 0 if source.spans is None else math.prod(source.shape)
    return replace(hints, left_out=source.left_out, cells=cells, dates=dates), options


def _opened(kind: str, options: dict[str, Any]) -> Source:
    """Return a source that no recipe names yet."""
    layers = (LayerRecipe(net=Choice(kind="dense")),)
    return sources.resolve(Recipe(name="derived", source=Choice(kind=kind, options=options), layers=layers))


def _sniffers() -> dict[str, Sniffer]:
    return dict(sorted(((kind, module.SNIFFER) for kind, module in sources.kinds().items()), key=_rank))


def _rank(entry: tuple[str, Sniffer]) -> int:
    return entry[1].rank


def _kind_of(file: Found, sniffers: Mapping[str, Sniffer], said: Given) -> tuple[str, str]:
    """Return the kind of a file, and the column that holds the items; empty for whole files.

    Raises:
        ItemError: it fits none; the reason is the one to tell users.
    """
    if archives.claims(file.place):
        return _kind_in(file, sniffers), ""
    head = _head(file)
    reason = pointer_in(head)
    if reason:
        raise ItemError(file.place, reason)
    table = records.name_by_content(file.place, head)
    seen, why = Glimpse(file.place, head, bool(table)), ""
    for kind, sniffer in sniffers.items():
        try:
            if sniffer.file(seen):
                base.refuse_paths(seen, sniffers)
                return kind, ""
        except ItemError as error:
            why = why or error.reason  # the first, as text says no to all that is none
    if not table:
        raise ItemError(file.place, why or "of no known kind")
    try:
        return _kind_of_table(Path(file.path), table, sniffers, said)
    except ExtraError as error:
        raise ItemError(file.place, str(error)) from None
    except (SourceError, OSError, EOFError, zlib.error) as error:
        raise ItemError(file.place, str(error).partition(": ")[2]) from None


def _kind_in(file: Found, sniffers: Mapping[str, Sniffer]) -> str:
    """Return the kind of most of the members of an archive; texts beside others are about those.

    Raises:
        ItemError: it is damaged, or its members fit no kind.
    """
    found = Counter[str]()
    try:
        for member, head in archives.heads(file, MEMBERS):
            seen = Glimpse(member.name, head, bool(records.name_by_content(member.name, head)))
            found.update(kind for kind in [_kind_of_file(seen, sniffers)] if kind)
    except SourceError as error:
        raise ItemError(file.place, str(error).partition(": ")[2]) from None
    others = Counter({kind: count for kind, count in found.items() if kind != "text"})
    best = others if 4 * others.total() >= found.total() else found
    if not best:
        raise ItemError(file.place, "an archive with nothing of a known kind in it")
    return best.most_common(1)[0][0]


def _head(file: Found) -> bytes:
    """Return the first bytes of a file."""
    try:
        head = first_bytes(file.path, HEAD)
    except OSError as error:
        raise ItemError(file.place, f"cannot be read: {error.strerror}") from None
    if not head:
        raise ItemError(file.place, EMPTY)
    return head


def _kind_of_table(path: Path, name: str, sniffers: Mapping[str, Sniffer], said: Given) -> tuple[str, str]:
    """Return the kind and the column of a table, by types of columns, else by their texts.

    Args:
        path: of the file.
        name: whose ending tells the format.
        sniffers: of all kinds.
        said: what was given of tables.

    Raises:
        SourceError: it cannot be read, or has no rows.
    """
    columns = records.columns(path, name, said) if records.is_typed(name) else ()
    for column in columns:
        cells = records.first_cells(path, column, said.select)
        kind = next((kind for kind, sniffer in sniffers.items() if sniffer.column(column, cells)), None)
        if kind or (kind := _kind_of_bytes(column.name, cells, sniffers)):
            return kind, column.name
    rows = _first_rows(path, name, said)
    if not rows:
        trouble = next((line.trouble for line in records.read(path, name, said)), None)
        raise SourceError(f"{path}: {f'none of its first rows can be read: {trouble}' if trouble else _NO_ROWS}")
    # The first row has all columns; a cell may be missing in others.
    texts = {name: [text for row in rows if (text := _as_text(row.get(name))) is not None] for name in rows[0]}
    answers = ((kind, sniffer.texts(texts, len(rows))) for kind, sniffer in sniffers.items())
    return next((kind, column) for kind, column in answers if column is not None)


def _as_text(value: object) -> str | None:
    """Return a text, also one that stands in a column of bytes; None for other values."""
    if isinstance(value, bytes) and b"\0" not in value:
        value = value.decode("utf-8", "replace")
        return None if "\ufffd" in value else value
    return value if isinstance(value, str) else None


def _kind_of_bytes(name: str, cells: Sequence[object], sniffers: Mapping[str, Sniffer]) -> str | None:
    """Return the kind of the files in a column of bytes; None where they are of none.

    Raises:
        SourceError: they are of a kind that is read from files only.
    """
    files = [data for cell in cells if (data := parquet.split_cell(cell)[0])]
    found = Counter(_kind_of_file(Glimpse("", data[:HEAD]), sniffers) for data in files)
    kind = max(found, key=found.__getitem__) if found else None
    if kind == "text":  # the texts of all columns are compared
        return None
    if kind and kind not in _IN_CELLS:
        raise SourceError(
            f": column {name!r} holds files of kind {kind}, which are read from a folder: write them there"
        )
    return kind


def _kind_of_file(seen: Glimpse, sniffers: Mapping[str, Sniffer]) -> str | None:
    """Return the kind of a whole file; None where it is of none."""
    for kind, sniffer in sniffers.items():
        try:
            if sniffer.file(seen):
                return kind
        except ItemError:
            continue
    return None


def _first_rows(path: Path, name: str, said: Given) -> list[dict[str, Any]]:
    """Return the first rows of a table, but for those that cannot be read."""
    found: list[dict[str, Any]] = []
    for line in records.read(path, name, said):
        if not line.trouble:
            found.append(line.record)
        if line.number >= LOOKED_AT:
            break
    return found


def _is_headless(file: Found) -> bool:
    """Whether a file is a table whose first line is a row."""
    return records.holds(file) and records.is_headless(Path(file.path), file.place)


def stack(rows: int, *, cells: int = 0, edits: str = "") -> list[str]:
    """Return the blocks from the lowest layer to fine-tuning.

    Args:
        rows: of the collection.
        cells: of a row of a table; 0 for what is no table.
        edits: a change of whole rows that leaves them of their kind, as a recipe writes it; empty where none is known.
    """
    bits = 64 if rows < 200_000 else 128
    # Of few rows, the last components hold single rows; a short question has nothing in common with them.
    width = int(np.clip(rows // 3, 1, 256))
    if rows < WALKABLE:
        if cells:
            return [of_tables.components(cells), of_tables.LINEAR.format(bits=bits)]
        plain = _COMPONENTS.format(width=width, why="", objective='{ kind = "components", whiten = 0.0 }')
        return [plain, _LINEAR.format(bits=bits)]
    why = ", half whitened: small differences count, too"
    components = _COMPONENTS.format(width=width, why=why, objective='"components"')
    batch, most = _batch(rows), MORE_EPOCHS if rows < FEW else MOST_EPOCHS
    steps = STEPS | ({"finetune": EDITED_STEPS} if edits else {})
    epochs = {part: int(np.clip(round(count * batch / rows), 1, most)) for part, count in steps.items()}
    fit = f"fit = {{ epochs = {epochs['layer']}, batch = {batch}, warmup = 50 }}"
    k = int(np.clip(rows // ROWS_OF_A_NEIGHBOUR, FEWEST_NEIGHBOURS, MOST_NEIGHBOURS))
    if cells:
        return of_tables.blocks(bits, cells, fit=fit, epochs=epochs["finetune"], batch=batch, k=k)
    if edits:
        objective = _EDITED.format(edits=edits, k=k, refresh=max(1, epochs["finetune"] // REFRESHES))
    else:
        objective = _AS_THEY_ARE.format(more="" if k == MOST_NEIGHBOURS else f", k = {k}")
    # Edits teach what a deeper stack can learn.
    widths = [max(1024, 2 * bits), *([max(512, 2 * bits)] if edits else [])]
    return [
        components,
        *(_LAYER.format(width=width, likelihood="gaussian", fit=fit) for width in widths),
        _CODE.format(bits=bits, fit=fit),
        _WALKS.format(epochs=epochs["finetune"], batch=batch, objective=objective),
        _DRAWS,
    ]


def _batch(rows: int) -> int:
    if rows < FEW:  # the other rows of a batch are what a row is told from
        return 64
    # Fewer rows in a step where there are few, so that an epoch has a fair number of steps.
    return next((batch for batch in (512, 128) if rows >= 40 * batch), 32)
