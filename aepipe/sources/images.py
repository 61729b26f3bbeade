"""Images: a folder, a glob, Parquet files, a list of paths, a tar archive or IDX files; ``kind = "images"``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aepipe import recipe
from aepipe.errors import SourceError
from aepipe.sources import RawItem, decode
from aepipe.sources.containers import Columns, Container, open_container
from aepipe.sources.containers.walk import Files

if TYPE_CHECKING:
    import pyarrow as pa

Side = Annotated[int, Field(ge=1, le=4096, strict=True)]


class SplitShare(recipe.Options):
    """A split that the bytes decide.

    Attributes:
        test: the share of items in the test split; equal bytes are in the same one, so no test image is trained on.
    """

    test: Annotated[float, Field(gt=0, lt=1)]


class Options(recipe.Options):
    """Options under ``[source]``.

    Attributes:
        path: a file, a folder or a glob, relative to the recipe; ``~`` is the user's home.
        label: a column; or ``parent``, the name of the folder that the image is in.
        split: a column with ``train`` and ``test``; or ``top``, the name of the topmost folder; or ``{ test = 0.1 }``.
            Without it everything is ``train``.
        image: the column of images, or of paths to them, in Parquet and CSV.
        key: a column with each item's own id; without it the path is the key.
        max_bad_share: the share of unreadable images above which ingestion fails.
        workers: threads to decode with; 0 takes one per processor.
    """

    path: str
    label: str | None = None
    split: str | SplitShare | None = None
    image: str = "image"
    key: str | None = None
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    workers: Annotated[int, Field(ge=0)] = 0


class Features(recipe.Options):
    """Options under ``[features]``.

    Attributes:
        size: height and width of a row, in pixels.
        color: ``gray`` or ``rgb``.
        fit: what becomes of another aspect: ``stretch``, ``crop`` or ``pad``; see :mod:`aepipe.sources.decode`.
    """

    size: Annotated[tuple[Side, Side], Field(strict=False)] = (32, 32)
    color: decode.Color = "rgb"
    fit: decode.Fit = "stretch"


def open_source(options: Options, features: Features, *, base: Path, name: str) -> Images:
    """Return the source; see :func:`aepipe.sources.resolve`."""
    return Images(options, features, base=base, name=name)


class Images:
    """A source of images; see :class:`aepipe.sources.Source`.

    Raises:
        SourceError: the path does not exist or holds no images, or a column is missing.
    """

    kind = "images"
    dtype = "uint8"

    def __init__(self, options: Options, features: Features, *, base: Path, name: str) -> None:
        self.name = name
        self._options = options
        self._features = features
        self._files = Files.at(options.path, base)
        self._container: Container = open_container(self._files, Columns(options.image, options.key))
        self._check_columns()

    @property
    def location(self) -> Path:
        """The folder that places are relative to."""
        return self._files.root

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a row."""
        return (*self._features.size, 1 if self._features.color == "gray" else 3)

    @property
    def max_bad_share(self) -> float:
        """The share of unreadable images above which ingestion fails."""
        return self._options.max_bad_share

    @property
    def workers(self) -> int:
        """Threads to decode with; 0 for one per processor."""
        return self._options.workers

    @property
    def skipped(self) -> int:
        """Files that the last iteration passed over."""
        return self._container.skipped

    def features(self) -> dict[str, Any]:
        """Return what decides a row: the options, the kind, and the version of the decoder."""
        return {"kind": self.kind, "decoder": decode.VERSION, **self._features.model_dump(mode="json")}

    def schema(self) -> pa.Schema:
        """Return the columns that are neither label nor split."""
        import pyarrow as pa

        return pa.schema([field for field in self._container.schema() if field.name not in self._used()])

    def total(self) -> int | None:
        """Return how many images there are, where that is cheap to know."""
        return self._container.total()

    def items(self) -> Iterator[RawItem]:
        """Give the images in the container's order.

        Raises:
            SourceError: there are none, or the container is damaged.
        """
        empty = True
        for item in self._container.items():
            empty = False
            yield self._finished(item)
        if empty:
            raise SourceError(f"{self._files.asked}: no images in it")

    def split(self, item: RawItem, sha256: bytes) -> str:
        """Return the source's own split, or what the bytes decide."""
        share = self._options.split
        if isinstance(share, SplitShare):
            return "test" if int.from_bytes(sha256[:8], "big") < share.test * 2.0**64 else "train"
        return item.split or "train"

    def row(self, data: bytes, key: str) -> NDArray[np.uint8]:
        """Decode one image, uint8[H, W, C]."""
        options = self._features
        return decode.decode(data, key=key, size=options.size, color=options.color, fit=options.fit)

    def _finished(self, item: RawItem) -> RawItem:
        """Fill in label and split, and take their columns out."""
        folders = PurePosixPath(item.place if self._options.key else item.key).parts[:-1]
        label, split = self._options.label, self._options.split
        split = split if isinstance(split, str) else None
        used = self._used()
        return replace(
            item,
            label=_chosen(label, item.columns, item.label, {"parent": folders[-1:]}),
            split=_chosen(split, item.columns, item.split, {"top": folders[:1]}),
            columns={name: value for name, value in item.columns.items() if name not in used},
        )

    def _used(self) -> set[str]:
        """Return the columns that label and split are made of."""
        wanted = {self._options.label} - {"parent"} | {self._options.split} - {"top"}
        return {name for name in wanted if isinstance(name, str)}

    def _check_columns(self) -> None:
        """Check that the columns of label and split are there."""
        names = [*self._container.schema().names, *sorted(self._container.gives)]
        for option, special in (("label", "parent"), ("split", "top")):
            name = getattr(self._options, option)
            if isinstance(name, str) and name != special and name not in names:
                raise SourceError(
                    f"{self._files.asked}: no column {name!r} for {option}; it has: {', '.join(names) or 'none'}. "
                    f"{option} = {special!r} takes a folder's name"
                )


def _chosen(
    option: str | None, columns: Mapping[str, object], natural: str | None, folders: Mapping[str, tuple[str, ...]]
) -> str | None:
    """Return a label or a split: the container's own, a folder's name where the option says so, or a column's value."""
    if option is None:
        return natural
    if option in folders:
        return next(iter(folders[option]), None)
    return _text(columns.get(option, natural))


def _text(value: object) -> str | None:
    """Return a label or a split as text; None for what is missing."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).strip()
