"""Recordings, cut into windows of one length; ``kind = "audio"``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from pydantic import Field, model_validator

from aepipe import recipe
from aepipe.errors import ExtraError, ItemError
from aepipe.sources import base
from aepipe.sources.audio import decode, networks
from aepipe.sources.audio.reading import NOT_A_NUMBER, Recording, is_recording, not_read, recording
from aepipe.sources.backbone import GRAPH, BackboneSource
from aepipe.sources.files import Files, InMemory, Refused
from aepipe.sources.formats.whole_files import files_or_lists
from aepipe.sources.item import Columns, Container, Item, Reader
from aepipe.sources.networks.graph import Pooling, Provider, check_provider, digest_of, named
from aepipe.sources.pieces import Pieces, is_alone
from aepipe.sources.streams import kept, opened
from aepipe.sources.video.decode import EXTRAS

SUFFIXES = (
    *(".wav", ".wave", ".rf64", ".w64", ".bwf", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".m4b", ".aac"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".wma", ".mka", ".weba", ".amr", ".wv", ".ape", ".tta"),
)
SHORT = 1 << 19
"""Samples of a window up to which those of one file are held in memory, where it can only be decoded in one pass."""


BY_FFMPEG = (".m4a", ".m4b", ".aac", ".mka", ".weba", ".wma", ".amr", ".wv", ".ape", ".tta")
"""Endings of recordings that libsndfile does not read."""


class Options(base.Options):
    """Options under ``[source]``.

    Attributes:
        audio: the column of recordings, or of paths to them, in a table.
    """

    audio: str = "audio"


class Features(recipe.Options):
    """Options under ``[features]``.

    Attributes:
        rate: samples in a second; recordings are resampled to it, and half of it is the highest frequency in a row.
        window: seconds that an item covers; a longer file is several items. ``whole`` makes one item of each file.
        hop: seconds from one window to the next; without it, windows follow each other without gaps.
        bands: mel bands of a row, from low to high frequencies.
        frames: steps in time of a row.
        backbone: a frozen network whose features of the raw sound are the rows, in place of bands and frames: a folder
            as Optimum writes it, or an ONNX file of your own; paths are relative to the recipe. A folder says the rate
            and what the options below say, and each of them that is set comes before it.
        normalize: bring each recording to mean 0 and variance 1 before the network hears it.
        pooling: how the steps of the network become one vector: ``cls``, ``mean``, ``max``, ``last``, ``weighted``, or
            ``pooler``, its own.
        output: of the network, that has the features.
        graph: the file in the folder of the network.
        provider: what the network runs on: ``cpu``, or ``cuda`` for a graphics card, with onnxruntime-gpu. Features of
            a card differ in their last digits, so they are others for the store.
        words: what answers questions in words, as for pictures; see :mod:`aepipe.words`.
    """

    rate: Annotated[int, Field(ge=1000, le=192_000)] = 16_000
    window: Annotated[float, Field(gt=0, le=600)] | Literal["whole"] = 1.0
    hop: Annotated[float, Field(gt=0)] | None = None
    bands: Annotated[int, Field(ge=2, le=256)] = 32
    frames: Annotated[int, Field(ge=2, le=2048)] = 32
    backbone: str | None = None
    normalize: bool | None = None
    pooling: Pooling | None = None
    output: str | None = None
    graph: str | None = None
    provider: Provider = "cpu"
    words: str | None = None

    @model_validator(mode="after")
    def _agree(self) -> Features:
        """Refuse options that say nothing."""
        said = [name for name in OF_NETWORK if getattr(self, name) is not None]
        if self.backbone is None and said:
            raise ValueError(f"{said[0]} is an option of a backbone; allowed: backbone beside it")
        if self.words and self.backbone is None:
            raise ValueError("words need the features of a network; allowed: with a backbone")
        return self

    def network(self) -> dict[str, Any]:
        """Return what the recipe sets of the network's options, by their names."""
        rate = {"rate": self.rate} if "rate" in self.model_fields_set else {}
        return rate | {name: value for name in OF_NETWORK if (value := getattr(self, name)) is not None}


OF_NETWORK = ("normalize", "pooling", "output", "graph")
"""Options that only a network has."""


def open_source(options: Options, features: Features, *, base: Path, name: str) -> Audio:
    """Return the source; see :func:`aepipe.sources.resolve`."""
    return Audio(options, features, base=base, name=name)


class Audio(BackboneSource, base.ItemSource):
    """A source of recordings; see :class:`aepipe.sources.item.Source`.

    Raises:
        SourceError: the path does not exist or holds no recordings, a column is missing, or there is no such backbone.
    """

    kind = "audio"
    called = "recordings"

    def __init__(self, options: Options, features: Features, *, base: Path, name: str) -> None:
        self._features, network = features, features.backbone
        check_provider(features.provider)
        self._network = network and networks.named(network, features.network(), base, features.window)
        self.backbone = self._network.spec if self._network else None
        self._decode = None if self.backbone else decode.decoder(features.model_dump())
        files = Files.at(options.path, base, options.exclude, options.root)
        _check_packages(files)
        columns = Columns(options.audio, options.key, is_recording, not_read, options.given, "audio")
        whole = files_or_lists(files, SUFFIXES, columns, "a recording")
        super().__init__(options, name, files, _Windows(whole, features, alone=is_alone(files, whole)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands, frames, and 1; or the number of features of a network."""
        return (self.backbone.width,) if self.backbone else (self._features.bands, self._features.frames, 1)

    @property
    def dtype(self) -> str:
        """Bytes for spectrograms, short floats for features."""
        return "float16" if self.backbone else "uint8"

    def attach(self, folder: Path, ref: str) -> None:
        """Open the network; see :meth:`BackboneSource.attach`."""
        self._ref, self._sha256 = ref, digest_of(folder / GRAPH)
        self._decode = decode.decoder(self.features(), folder)

    def features(self) -> dict[str, Any]:
        """Return what decides a row; bands and frames are there to draw recordings, too."""
        options = self._features.model_dump(mode="json", exclude={"backbone", "provider", "words", *OF_NETWORK})
        found = {"kind": self.kind, "decoder": decode.VERSION, **options}
        if not self._network:
            return found
        hearing = self._network.hearing
        network = {"ref": self._ref, "sha256": self._sha256, **hearing.to_json(), **named(self._features.provider)}
        return {**found, "rate": hearing.rate, "backbone": network}


def _check_packages(files: Files) -> None:
    """Check that what the files need by their names is installed.

    Raises:
        ExtraError: it is not.
    """
    if find_spec("av") is None and any(found.place.lower().endswith(BY_FFMPEG) for found in files):
        raise ExtraError("av", EXTRAS["av"])


class _Windows(Pieces):
    """A container of the windows of recordings; the key of a window is ``file@seconds``."""

    def __init__(self, whole: Container, features: Features, *, alone: bool) -> None:
        super().__init__(whole, alone=alone)
        self._features = features

    def total(self) -> int | None:
        """Return the number of windows, where each file is one; else None."""
        return self._whole.total() if self._features.window == "whole" else None

    def items(self) -> Iterator[Item]:
        """Yield the windows of each file; a file that cannot be read is one item that says so."""
        for item in self._whole.items():
            if self._features.window == "whole":
                yield item
            else:
                yield from self._together(item, self._windows(item, self._features.window))

    def _windows(self, item: Item, window: float) -> Iterator[Item]:
        """Yield the windows of one file; where it is damaged or cut off, the last item says so.

        A rest shorter than half a window is left out, unless it is all there is.
        """
        if isinstance(item.reader, Refused):
            yield item
            return
        try:
            with opened(item.reader, item.key) as stream:
                yield from self._of(stream, item, window)
        except ItemError as error:
            yield replace(item, reader=Refused(error.reason))
        except OSError as error:
            yield replace(item, reader=Refused(f"cannot be read: {error.strerror}"))

    def _of(self, stream: BinaryIO, item: Item, window: float) -> Iterator[Item]:
        """Yield the windows of an open file."""
        with recording(stream, item.key) as found:
            placed = found.is_whole or window * found.rate > SHORT
        # Opened anew, because a damaged file cannot be read from its beginning on after its end.
        with recording(stream, item.key) as found:
            if placed:
                yield from self._placed(replace(item, reader=kept(item.reader, stream)), found, window)
            else:
                yield from self._passed(item, found, window)

    def _placed(self, item: Item, found: Recording, window: float) -> Iterator[Item]:
        """Yield windows that are read later, each by its place."""
        frames = found.frames if found.is_whole else sum(map(len, found.blocks()))
        seconds, hop = (frames or 0) / found.rate, self._features.hop or window
        if not seconds:
            raise ItemError(item.key, "nothing recorded in it")
        for number in range(int(seconds / hop) + 1):
            if seconds - number * hop >= window / 2 or number == 0:
                start = round(number * hop, 3)
                yield _window(item, start, window, decode.Slice(item.reader, start, window))

    def _passed(self, item: Item, found: Recording, window: float) -> Iterator[Item]:
        """Yield the windows of a file that can only be decoded from its beginning on."""
        empty = True
        for start, samples in found.windows(window, self._features.hop or window):
            empty = False
            reader: Reader = InMemory(decode.wav_of(samples, found.rate))
            if not np.isfinite(samples).all():
                reader = Refused(NOT_A_NUMBER)
            yield _window(item, start, window, reader)
        if empty:
            raise ItemError(item.key, "nothing recorded in it")


def _window(item: Item, start: float, seconds: float, reader: Reader) -> Item:
    """Return one window of a file."""
    mark = f"{start:.3f}".rstrip("0").rstrip(".")
    # A place has start and length, so that a window can be read again without the recipe.
    return replace(item, key=f"{item.key}@{mark}", place=f"{item.place}#t{mark}+{seconds:g}", reader=reader)


SNIFFER = base.Sniffer(
    rank=2,
    file=lambda seen: is_recording(seen.head, seen.name),
    texts=lambda texts, _: base.column_of_paths(texts, SUFFIXES),
    option="audio",
)


def suggest(path: str, items: Iterable[Item]) -> base.Hints:
    """Return what a recipe for recordings should say; see :mod:`aepipe.sources`."""
    seen, _ = base.survey_items(items)
    features = "[features]\nrate = 16000  # samples in a second\nwindow = 1.0  # seconds that an item covers"
    return base.Hints(seen, f"{seen.rows:,} {Audio.called}", features)
