"""Recordings: WAV and FLAC files, cut into windows of one length; ``kind = "audio"``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aepipe import recipe
from aepipe.errors import ItemError
from aepipe.sources import base
from aepipe.sources.audio import decode
from aepipe.sources.files import Files, Refused, WholeFile, open_file, pointer_at
from aepipe.sources.formats.path_lists import files_or_lists
from aepipe.sources.item import Columns, Container, Item, Reader
from aepipe.sources.passed_over import PassedOver

SUFFIXES = (".wav", ".wave", ".flac")


class Options(base.Options):
    """Options under ``[source]``.

    Attributes:
        audio: the column of paths, in a CSV list.
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
    """

    rate: Annotated[int, Field(ge=1000, le=192_000)] = 16_000
    window: Annotated[float, Field(gt=0, le=600)] | Literal["whole"] = 1.0
    hop: Annotated[float, Field(gt=0)] | None = None
    bands: Annotated[int, Field(ge=2, le=256)] = 32
    frames: Annotated[int, Field(ge=2, le=2048)] = 32


def open_source(options: Options, features: Features, *, base: Path, name: str) -> Audio:
    """Return the source; see :func:`aepipe.sources.resolve`."""
    return Audio(options, features, base=base, name=name)


class Audio(base.ItemSource):
    """A source of recordings; see :class:`aepipe.sources.item.Source`.

    Raises:
        SourceError: the path does not exist or holds no recordings, or a column is missing.
    """

    kind = "audio"
    called = "recordings"
    dtype = "uint8"

    def __init__(self, options: Options, features: Features, *, base: Path, name: str) -> None:
        self._features = features
        self._decode = decode.decoder(features.model_dump())
        files = Files.at(options.path, base, options.exclude)
        columns = Columns(options.audio, options.key, _is_sound, options.given)
        whole = files_or_lists(files, SUFFIXES, columns, "a recording")
        super().__init__(options, name, files, _Windows(whole, files, features))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, frames, and 1."""
        return (self._features.bands, self._features.frames, 1)

    def features(self) -> dict[str, Any]:
        """Return what decides a row."""
        return {"kind": self.kind, "decoder": decode.VERSION, **self._features.model_dump(mode="json")}

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        """Return the mel spectrogram of a window, uint8[bands, frames, 1]."""
        return self._decode(data, key)


class _Windows:
    """A container of the windows of recordings; the key of a window is ``file@seconds``."""

    def __init__(self, whole: Container, files: Files, features: Features) -> None:
        self._whole = whole
        self._files = files
        self._features = features
        self.gives = whole.gives

    @property
    def passed_over(self) -> PassedOver:
        """Files that are no recordings."""
        return self._whole.passed_over

    def schema(self) -> Any:  # noqa: ANN401  pyarrow has no types
        """Return the columns of the files."""
        return self._whole.schema()

    def total(self) -> int | None:
        """Return the number of windows, where each file is one; else None."""
        return self._whole.total() if self._features.window == "whole" else None

    def items(self) -> Iterator[Item]:
        """Yield the windows of each file; a file that cannot be read is one item that says so."""
        for item in self._whole.items():
            yield from [item] if self._features.window == "whole" else self._windows(item, self._features.window)

    def _windows(self, item: Item, window: float) -> Iterator[Item]:
        """Yield the windows of one file.

        A rest shorter than half a window is left out, unless it is all there is.
        """
        if isinstance(item.reader, Refused):
            yield item
            return
        try:
            seconds = _length(item)
        except ItemError as error:
            yield replace(item, reader=Refused(error.reason))
            return
        hop = self._features.hop or window
        starts = [0.0, *(n * hop for n in range(1, int(seconds / hop) + 1) if seconds - n * hop >= window / 2)]
        for start in starts:
            mark = f"{start:.3f}".rstrip("0").rstrip(".")
            # A place has start and length, so that a window can be read again without the recipe.
            place = f"{item.place}#t{mark}+{window:g}"
            yield replace(item, key=f"{item.key}@{mark}", place=place, reader=_Slice(item.reader, start, window))


@dataclass(frozen=True, slots=True)
class _Slice:
    """Reads a window of a file."""

    whole: Reader
    start: float
    seconds: float

    def __call__(self, key: str) -> bytes:
        return decode.slice_of(self.whole(key), key, self.start, self.seconds)


def _length(item: Item) -> float:
    """Return the length of a recording by its header, in seconds."""
    import soundfile

    assert isinstance(item.reader, WholeFile), "a folder and a list give whole files"
    try:
        with open_file(item.reader.path) as stream:
            return float(soundfile.info(stream).duration)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        why = pointer_at(item.reader.path) or f"not a recording that can be read: {str(error).partition(': ')[2]}"
        raise ItemError(item.key, why) from None
    except OSError as error:
        raise ItemError(item.key, f"cannot be read: {error.strerror}") from None


def _is_sound(head: bytes) -> bool:
    return head.startswith(b"fLaC") or (head[:4] == b"RIFF" and head[8:12] == b"WAVE")


SNIFFER = base.Sniffer(
    rank=2,
    file=lambda seen: _is_sound(seen.head),
    texts=lambda texts, _: base.column_of_paths(texts, SUFFIXES),
    option="audio",
)


def suggest(path: str, items: Iterable[Item]) -> base.Hints:
    """Return what a recipe for recordings should say; see :mod:`aepipe.sources`."""
    seen, _ = base.survey_items(items)
    features = "[features]\nrate = 16000  # samples in a second\nwindow = 1.0  # seconds that an item covers"
    return base.Hints(seen, f"{seen.rows:,} {Audio.called}", features, bounded=True)
