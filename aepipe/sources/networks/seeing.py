"""How a network wants to see pictures, as its folder says it.

Read are ``preprocessor_config.json`` and ``config.json``.

Legend: H, W sides of the pictures that it takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aepipe.errors import SourceError
from aepipe.sources.networks.folder import Folder, number, table, with_pooler
from aepipe.sources.networks.graph import POOLED

FILE = "preprocessor_config.json"
LARGEST = 4096
"""Pixels of a side that pictures are brought to at most."""
FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Filters for resizing, in the order of Pillow's numbers, which the files of networks have."""
_OUTPUTS = ("image_embeds", "pooler_output", "last_hidden_state")
_NO_POOLER = ("vit", "deit", "vit_msn")
"""Networks whose ``pooler_output`` is often untrained; their first token is taken."""
_FIRST = (*_NO_POOLER, "beit", "data2vec-vision", "clip", "clip_vision_model", "dinov2", "dinov2_with_registers")
_FIRST_TOKEN = frozenset((*_FIRST, "dinov3_vit", "chinese_clip", "metaclip_2"))
"""Networks whose first token stands for the picture; of others, all are averaged."""
_SHORTEST = ("CLIP", "ConvNext", "Bit", "LevitImage", "MobileNetV", "ChineseCLIP")
"""Beginnings of the types whose ``size``, where it is one number, is that of the shortest edge."""


@dataclass(frozen=True, slots=True)
class Seeing:
    """How a network sees pictures.

    Attributes:
        output: that has the features.
        pooling: how tokens or maps become one vector.
        size: H, W of the pictures that go in.
        resize: what pictures are brought to before their centre is taken: the shortest edge, or both sides; None where
            that is ``size``.
        resample: the filter, one of :data:`FILTERS`.
        mean: subtracted from the pixels, 0..255.
        scale: that they are then divided by.
        channels: ``rgb`` or ``bgr``.
        said: what was read, in words.
    """

    output: str
    pooling: str
    size: tuple[int, int]
    resize: int | tuple[int, int] | None
    resample: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    channels: str
    said: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Folder, chosen: Mapping[str, Any]) -> Seeing:
        """Read the files of a folder.

        Args:
            folder: of the network.
            chosen: what the recipe says in place of them, by the names of the attributes; and ``fit``.

        Raises:
            SourceError: something is missing, with its name.
        """
        chosen = with_pooler(chosen)
        given = _given(folder)
        if not given and not {"mean", "scale"} <= chosen.keys():
            raise SourceError(
                f"{folder.path}: no {FILE} in it, which says how pictures are prepared: copy it from where the network "
                "is from, or say size, mean and scale under [features]"
            )
        resize, size = _chosen_sizes(folder, given, chosen)
        mean, scale = _normal(folder, given) if not {"mean", "scale"} <= chosen.keys() else ((), ())
        found = cls(
            output=folder.output(chosen.get("output"), _outputs(folder.sort, chosen)),
            pooling=chosen.get("pooling", "cls" if folder.sort in _FIRST_TOKEN else "mean"),
            size=size,
            resize=resize,
            resample=chosen.get("resample", _filter(given)),
            mean=tuple(chosen.get("mean", mean)),
            scale=tuple(chosen.get("scale", scale)),
            channels=chosen.get("channels", "bgr" if given.get("do_flip_channel_order") else "rgb"),
        )
        return replace(found, said=found._told(folder, chosen))

    def _told(self, folder: Folder, chosen: Mapping[str, Any]) -> tuple[str, ...]:
        """Return what was read, in words."""
        tokens = f", {POOLED[self.pooling]}" if self.output == "last_hidden_state" else ""
        height, width = self.size
        first = _stretched(self.size, chosen.get("fit")) if self.resize is None else _stretched(self.resize)
        centre = "" if self.resize in {None, self.size} else f", centre {height} x {width}"
        mean, scale = (" ".join(f"{one:.6g}" for one in ones) for ones in (self.mean, self.scale))
        how = f"{first} ({self.resample}){centre}, {self.channels}, mean {mean}, scale {scale}"
        own = sorted(chosen.keys() & set(self.__slots__))
        said = [f"{folder.path.name}: {folder.said(self.output)}{tokens}", f"pictures: {how}"]
        said += [f"from the recipe: {', '.join(own)}"] if own else []
        if self.output.startswith("logits"):
            said.append("it has only the scores of a classifier; an export with --task feature-extraction has features")
        return tuple(said)


def _outputs(sort: str, chosen: Mapping[str, Any]) -> Sequence[str]:
    """Return the outputs that may have the features of a network of a sort, the best first."""
    if "pooling" in chosen:  # what is pooled are tokens
        return ("last_hidden_state",)
    return [name for name in _OUTPUTS if name != "pooler_output" or sort not in _NO_POOLER]


def _chosen_sizes(
    folder: Folder, given: Mapping[str, Any], chosen: Mapping[str, Any]
) -> tuple[int | tuple[int, int] | None, tuple[int, int]]:
    """Return what pictures are brought to, and the size that goes in, by the recipe or by the files.

    Raises:
        SourceError: neither says a size.
    """
    resize, size = _sizes(folder, given)
    if "size" in chosen:
        resize, size = _grown(resize, size, chosen["size"]), chosen["size"]
    if size is None:
        raise SourceError(f"{folder.path}: no size of pictures in {FILE}; say size = [224, 224] under [features]")
    return chosen.get("resize") if {"fit", "resize"} & chosen.keys() else resize, size


def _given(folder: Folder) -> dict[str, Any]:
    """Return what the folder says of pictures, under the names of transformers; empty where it says nothing."""
    given = folder.settings(FILE)
    if not given:
        given = table(folder.settings("processor_config.json").get("image_processor"))
    timm = table(folder.config.get("pretrained_cfg"))
    if given or not timm:
        return given
    sizes = timm.get("input_size") or [3, 224, 224]
    height, width = _sides(sizes[1:] if isinstance(sizes, list) else sizes, "input_size")
    share = number(timm.get("crop_pct") or 0.875, "config.json", "crop_pct", 0.01, 100)
    filters = timm.get("interpolation")
    sides = {"height": int(height / share), "width": int(width / share)}
    squashed = timm.get("crop_mode") == "squash"
    return {
        "size": sides if squashed else {"shortest_edge": int(min(height, width) / share)},
        "crop_size": {"height": height, "width": width},
        "do_center_crop": True,
        "resample": FILTERS.index(filters) if filters in FILTERS else 3,
        "image_mean": timm.get("mean"),
        "image_std": timm.get("std"),
    }


def _sizes(folder: Folder, given: Mapping[str, Any]) -> tuple[int | tuple[int, int] | None, tuple[int, int] | None]:
    """Return what pictures are brought to, and the size of the centre that is taken."""
    kind, size = _kind(given), given.get("size")
    crop = _sides(given["crop_size"], "crop_size") if given.get("do_center_crop") and "crop_size" in given else None
    shortest = size.get("shortest_edge") if isinstance(size, dict) else None
    if isinstance(size, int) and (crop or kind.startswith(_SHORTEST)):
        shortest = size
    if shortest is None:
        sides = _sides(size, "size") if size is not None else _of_graph(folder)
        return (sides, crop) if crop else (None, sides)
    edge = int(number(shortest, FILE, "size", 1, LARGEST))
    usual = 224 / 256 if kind.startswith(("ConvNext", "Levit")) else 1
    share = number(given.get("crop_pct") or usual, FILE, "crop_pct", 0.01, 100)
    if kind.startswith("ConvNext"):  # its own rule: what is large is not cut
        return (int(edge / share), (edge, edge)) if edge < 384 else (None, (edge, edge))
    return int(edge / share), crop or (edge, edge)


def _kind(given: Mapping[str, Any]) -> str:
    """Return the name of the program that prepares pictures in transformers."""
    return str(given.get("image_processor_type") or given.get("feature_extractor_type") or "")


def _of_graph(folder: Folder) -> tuple[int, int] | None:
    """Return the size that the graph has fixed, or that ``config.json`` names; None where neither says one."""
    shapes = [shape for shape in folder.ends[0].values() if len(shape) == 4]
    if shapes and all(isinstance(one, int) and one > 0 for one in shapes[0][2:]):
        return int(shapes[0][2]), int(shapes[0][3])
    size = folder.part("vision_config").get("image_size")
    return None if size is None else _sides(size, "image_size")


def _sides(value: object, key: str) -> tuple[int, int]:
    """Return height and width, which may be one number, a pair, or named.

    Raises:
        SourceError: they are none of these.
    """
    if isinstance(value, dict) and {"height", "width"} <= value.keys():
        value = [value["height"], value["width"]]
    sides = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2:
        raise SourceError(f"{FILE}: {key} is not one size; say size = [224, 224] under [features]")
    height, width = (int(number(one, FILE, key, 1, LARGEST)) for one in sides)
    return height, width


def _grown(
    resize: int | tuple[int, int] | None, size: tuple[int, int] | None, wanted: tuple[int, int]
) -> int | tuple[int, int] | None:
    """Return what pictures are brought to where another size is wanted: larger in the same measure."""
    if resize is None or size is None:
        return None
    if isinstance(resize, int):
        return round(resize * min(wanted) / min(size))
    return round(resize[0] * wanted[0] / size[0]), round(resize[1] * wanted[1] / size[1])


def _normal(folder: Folder, given: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and scale of pixels in 0..255.

    Raises:
        SourceError: the file does not say them.
    """
    said = given.get("rescale_factor") or 1 / 255
    factor = number(said, FILE, "rescale_factor", 1e-9) if given.get("do_rescale", True) else 1.0
    # Of pixels in -1..1, the network's own mean is 1 higher.
    shift = 1.0 if given.get("rescale_offset") else 0.0
    if not given.get("do_normalize", not _kind(given).startswith("MobileViT")):
        return (shift / factor,), (1 / factor,)
    mean, deviation = given.get("image_mean"), given.get("image_std")
    if mean is None or deviation is None:
        raise SourceError(f"{folder.path}: no image_mean and image_std in {FILE}; say mean and scale under [features]")
    means, scales = (one if isinstance(one, list) else [one] for one in (mean, deviation))
    if not {len(means), len(scales)} <= {1, 3}:
        raise SourceError(f"{folder.path}: image_mean and image_std in {FILE} are not of three channels")
    means = [number(one, FILE, "image_mean") for one in means]
    scales = [number(one, FILE, "image_std", 1e-9) for one in scales]
    twice = bool(given.get("include_top"))  # EfficientNet divides once more, where it has its classifier
    return tuple((one + shift) / factor for one in means), tuple(one ** (1 + twice) / factor for one in scales)


def _filter(given: Mapping[str, Any]) -> str:
    number = given.get("resample", 2)
    return FILTERS[number] if isinstance(number, int) and 0 <= number < len(FILTERS) else "bilinear"


def _stretched(size: int | tuple[int, int], fit: str | None = None) -> str:
    if isinstance(size, int):
        return f"shortest edge {size}"
    return f"{size[0]} x {size[1]}" + (f" by {fit}" if fit else "")
