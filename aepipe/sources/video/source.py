"""Videos: the items are frames at equal distances in time; ``kind = "video"``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from aepipe.errors import ItemError
from aepipe.sources import base
from aepipe.sources.files import Files, InMemory, Refused
from aepipe.sources.formats.whole_files import files_or_lists
from aepipe.sources.images import source as images
from aepipe.sources.item import Columns, Container, Item
from aepipe.sources.pieces import Pieces, is_alone
from aepipe.sources.video import decode

SUFFIXES = (
    *(
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".3gp",
        ".wmv",
        ".flv",
        ".mpg",
        ".mpeg",
        ".mts",
        ".m2ts",
        ".ogv",
    ),
)


class Options(base.Options):
    """Options under ``[source]``.

    Attributes:
        video: the column of videos, or of paths to them, in a table.
        words: columns that questions in words may name, as of pictures.
    """

    video: str = "video"
    words: base.Several = ()


class Features(images.Features):
    """Options under ``[features]``: those of pictures, and how often a frame is taken.

    Attributes:
        step: seconds from one frame to the next.
    """

    step: Annotated[float, Field(gt=0, le=86_400)] = 1.0


def open_source(options: Options, features: Features, *, base: Path, name: str) -> Video:
    """Return the source; see :func:`aepipe.sources.resolve`."""
    return Video(options, features, base=base, name=name)


class Video(images.Images):
    """A source of videos; see :class:`aepipe.sources.item.Source`.

    Raises:
        SourceError: the path does not exist or holds no videos, a column is missing, or there is no such backbone.
    """

    kind = "video"
    called = "videos"

    def __init__(self, options: Options, features: Features, *, base: Path, name: str) -> None:
        self._step = features.step
        super().__init__(options, features, base=base, name=name)

    def features(self) -> dict[str, Any]:
        """Return what decides a row; ``step`` decides only which rows there are."""
        return super().features() | {"decoder": decode.VERSION}

    def _open_container(self, files: Files, options: base.Options) -> Container:
        column = getattr(options, "video", "video")
        columns = Columns(column, options.key, decode.is_video, given=options.given, option="video")
        whole = files_or_lists(files, SUFFIXES, columns, "a video")
        return _Frames(whole, self._step, alone=is_alone(files, whole))


class _Frames(Pieces):
    """A container of videos, as one of their frames; the key of a frame is ``file@second``."""

    def __init__(self, whole: Container, step: float, *, alone: bool) -> None:
        super().__init__(whole, alone=alone)
        self._step = step

    def total(self) -> None:
        """Return None: the number of frames is known only after all have been decoded."""
        return

    def items(self) -> Iterator[Item]:
        """Yield the frames of each file; a damaged file ends with an item that says so."""
        for item in self._whole.items():
            yield from self._together(item, self._frames(item))

    def _frames(self, item: Item) -> Iterator[Item]:
        """Yield the frames of one file; where it is damaged, the last item says so."""
        if isinstance(item.reader, Refused):
            yield item
            return
        try:
            for second, picture in decode.frames(item.reader, item.key, self._step):
                mark = decode.named(second)
                yield replace(item, key=f"{item.key}@{mark}", place=f"{item.place}#v{mark}", reader=InMemory(picture))
        except ItemError as error:
            yield replace(item, reader=Refused(error.reason))
        except OSError as error:
            yield replace(item, reader=Refused(f"cannot be read: {error.strerror}"))


SNIFFER = base.Sniffer(
    rank=3,
    file=lambda seen: decode.is_video(seen.head),
    texts=lambda texts, _: base.column_of_paths(texts, SUFFIXES),
    option="video",
)


def suggest(path: str, items: Iterable[Item]) -> base.Hints:
    """Return what a recipe for videos should say, after a look at some of their frames."""
    return images.suggest(path, items, called="frames")
