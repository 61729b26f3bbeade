"""Folders of networks for pictures: each family gets the pixels that its own library would give it."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from aepipe import recipe as recipes
from aepipe.errors import CorruptError, RecipeError, SourceError
from aepipe.pipeline import resolve
from aepipe.sources import decoder
from aepipe.sources.backbone import GRAPH
from aepipe.sources.images.source import Features, Images, Options
from tests.support.networks import attached, seen, vision, write

SIDE = 8
NORMAL = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
CENTRE = {"do_center_crop": True, "crop_size": {"height": SIDE, "width": SIDE}}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...], str]] = {
    "clip": (
        {**NORMAL, **CENTRE, "size": {"shortest_edge": SIDE}, "resample": 3, "rescale_factor": 1 / 255},
        {"model_type": "clip"},
        ("last_hidden_state", "image_embeds"),
        "image_embeds",
    ),
    "an old clip": (
        {
            **NORMAL,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "do_center_crop": True,
            "crop_size": SIDE,
            "size": 10,
        },
        {"model_type": "clip"},
        ("image_embeds",),
        "image_embeds",
    ),
    "mobileclip": (
        {**CENTRE, "size": {"shortest_edge": 10}, "resample": 2, "do_normalize": False},
        {"model_type": "mobileclip"},
        ("image_embeds",),
        "image_embeds",
    ),
    "siglip": (
        {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": SIDE, "width": 12}, "resample": 3},
        {"model_type": "siglip"},
        ("last_hidden_state", "pooler_output"),
        "pooler_output",
    ),
    "dinov2": (
        {**NORMAL, **CENTRE, "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 9}, "resample": 3},
        {"model_type": "dinov2"},
        ("last_hidden_state", "pooler_output"),
        "pooler_output",
    ),
    "dinov3": (
        {
            **NORMAL,
            "image_processor_type": "DINOv3ViTImageProcessorFast",
            "size": {"height": SIDE, "width": SIDE},
            "resample": 2,
        },
        {"model_type": "dinov3_vit"},
        ("last_hidden_state",),
        "cls",
    ),
    "vit": (
        {**NORMAL, "image_processor_type": "ViTFeatureExtractor", "size": SIDE, "resample": 2},
        {"model_type": "vit"},
        ("last_hidden_state", "pooler_output"),
        "cls",
    ),
    "deit": (
        {**NORMAL, **CENTRE, "size": {"height": 11, "width": 11}, "resample": 3},
        {"model_type": "deit"},
        ("last_hidden_state",),
        "cls",
    ),
    "swin": (
        {**NORMAL, "image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}, "resample": 3},
        {"model_type": "swin"},
        ("last_hidden_state",),
        "mean",
    ),
    "convnext": (
        {
            **NORMAL,
            "image_processor_type": "ConvNextImageProcessor",
            "size": {"shortest_edge": SIDE},
            "crop_pct": 0.8,
            "resample": 3,
        },
        {"model_type": "convnext"},
        ("last_hidden_state", "pooler_output"),
        "pooler_output",
    ),
    "resnet": (
        {
            **NORMAL,
            "feature_extractor_type": "ConvNextFeatureExtractor",
            "size": {"shortest_edge": SIDE},
            "resample": 3,
        },
        {"model_type": "resnet"},
        ("maps",),
        "maps",
    ),
    "mobilevit": (
        {
            **CENTRE,
            "feature_extractor_type": "MobileViTFeatureExtractor",
            "size": {"shortest_edge": 9},
            "do_flip_channel_order": True,
            "resample": 2,
        },
        {"model_type": "mobilevit"},
        ("pooler_output",),
        "pooler_output",
    ),
    "poolformer": (
        {**NORMAL, **CENTRE, "size": {"shortest_edge": SIDE}, "crop_pct": 0.8, "resample": 3},
        {"model_type": "poolformer"},
        ("pooler_output",),
        "pooler_output",
    ),
    "efficientnet": (
        {
            **NORMAL,
            "size": {"height": SIDE, "width": SIDE},
            "rescale_offset": True,
            "include_top": True,
            "rescale_factor": 1 / 127.5,
            "resample": 0,
        },
        {"model_type": "efficientnet"},
        ("pooler_output",),
        "pooler_output",
    ),
    "timm": (
        {},
        {
            "architecture": "x",
            "pretrained_cfg": {
                "input_size": [3, SIDE, SIDE],
                "crop_pct": 0.8,
                "interpolation": "bicubic",
                "mean": [0.5, 0.4, 0.3],
                "std": [0.2, 0.3, 0.4],
            },
        },
        ("logits",),
        "logits",
    ),
}
SHORTEST = {
    "clip": 8,
    "an old clip": 10,
    "mobileclip": 10,
    "dinov2": 9,
    "convnext": 10,
    "resnet": 9,
    "mobilevit": 9,
    "poolformer": 10,
    "timm": 10,
}
FILTERS = {0: Image.Resampling.NEAREST, 2: Image.Resampling.BILINEAR, 3: Image.Resampling.BICUBIC}


def expected_pixels(picture: Image.Image, family: str) -> NDArray[np.float64]:
    """Return float[3, H, W] as the image processors of transformers and timm make it."""
    given = FAMILIES[family][0]
    by = FILTERS[given.get("resample", 3 if family == "timm" else 2)]
    size = given.get("size")
    height, width = (size["height"], size["width"]) if isinstance(size, dict) and "height" in size else (SIDE, SIDE)
    if family in SHORTEST:
        short, long = sorted(picture.size)
        edge = SHORTEST[family]
        longer = int(edge * long / short)
        picture = picture.resize((edge, longer) if picture.width <= picture.height else (longer, edge), by)
        height, width = SIDE, SIDE
    elif family == "deit":
        picture, height, width = picture.resize((11, 11), by), SIDE, SIDE
    else:
        picture = picture.resize((width, height), by)
    left, top = int((picture.width - width) / 2), int((picture.height - height) / 2)
    pixels = np.asarray(picture.crop((left, top, left + width, top + height)), np.float64)
    pixels = pixels * given.get("rescale_factor", 1 / 255) - (1 if given.get("rescale_offset") else 0)
    if given.get("do_normalize", family != "mobilevit"):
        mean, deviation = (given.get(name, NORMAL[name]) for name in ("image_mean", "image_std"))
        pixels = (pixels - mean) / deviation
        pixels = pixels / deviation if given.get("include_top") else pixels
    order = slice(None, None, -1 if given.get("do_flip_channel_order") else 1)
    return np.asarray(pixels.transpose(2, 0, 1)[order], np.float64)


def family(folder: Path, name: str) -> Path:
    """Write the folder of a family."""
    given, config, outputs, _ = FAMILIES[name]
    files = {"config": config, **({"preprocessor_config": given} if given else {})}
    maps = "maps" in outputs
    names = ("last_hidden_state",) if maps else outputs
    vision(folder / "onnx" / "model.onnx", *names, tokens=not maps)
    return write(folder, **files)


def images(folder: Path, backbone: Path | str, **features: object) -> Images:
    (folder / "pictures").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number, shape in enumerate([(17, 23, 3), (31, 12, 3)]):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / "pictures" / f"{number}.png")
    chosen = recipes.options(Features, {"backbone": str(backbone), **features}, "features")
    return Images(Options(path="pictures"), chosen, base=folder, name="p")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_sees_what_its_own_library_shows_it(tmp_path: Path, name: str) -> None:
    source = attached(images(tmp_path, family(tmp_path / "net", name)), tmp_path / "store")
    taken = FAMILIES[name][3]
    output, pooling = ("last_hidden_state", taken) if taken in {"cls", "mean"} else (taken, "")
    see = decoder("images", source.features(), tmp_path / "store")
    for item in source.items():
        data = item.read()
        expected = seen(expected_pixels(Image.open(io.BytesIO(data)).convert("RGB"), name), output, pooling)
        np.testing.assert_allclose(source.row(data, "k").astype(np.float64), expected, atol=2e-3)
        np.testing.assert_array_equal(see(data, "q"), source.row(data, "k"))
    assert output == "maps" or output in source.network_said[0]


def test_a_row_depends_on_its_item_alone(tmp_path: Path) -> None:
    source = attached(images(tmp_path, family(tmp_path / "net", "clip")), tmp_path / "store")
    data = [item.read() for item in source.items()]
    alone = [source.row(one, "k") for one in data]
    with ThreadPoolExecutor(4) as pool:
        for one, row in zip(data * 8, pool.map(lambda one: source.row(one, "k"), data * 8), strict=True):
            np.testing.assert_array_equal(row, alone[data.index(one)])


def test_the_recipe_comes_before_the_files(tmp_path: Path) -> None:
    net = family(tmp_path / "net", "clip")
    source = attached(
        images(
            tmp_path,
            net,
            size=[8, 12],
            resize=[9, 13],
            resample="nearest",
            mean=[10, 20, 30],
            scale=50,
            channels="bgr",
            pooling="mean",
        ),
        tmp_path / "store",
    )
    data = next(source.items()).read()
    picture = Image.open(io.BytesIO(data)).resize((13, 9), Image.Resampling.NEAREST).crop((0, 0, 12, 8))
    prepared = ((np.asarray(picture, np.float64)[..., ::-1] - [10, 20, 30]) / 50).transpose(2, 0, 1)
    expected = seen(prepared, "last_hidden_state", "mean")
    np.testing.assert_allclose(source.row(data, "k").astype(np.float64), expected, atol=2e-3)
    assert source.network_said == (
        "net: onnx/model.onnx, output last_hidden_state (not image_embeds), the mean of the tokens",
        "pictures: 9 x 13 (nearest), centre 8 x 12, bgr, mean 10 20 30, scale 50",
        "from the recipe: channels, mean, pooling, resample, resize, scale, size",
    )
    larger = images(tmp_path, family(tmp_path / "dino", "dinov2"), size=[16, 16])
    assert larger.network_said[1].startswith("pictures: shortest edge 18 (bicubic), centre 16 x 16, rgb, mean 127.5")
    assert "resize" not in attached(images(tmp_path, net, fit="pad"), tmp_path / "padded").features()
    pooler = images(tmp_path, family(tmp_path / "vit", "vit"), pooling="pooler")
    assert "output pooler_output" in pooler.network_said[0]


def test_nothing_read_makes_the_features_of_a_recipe_what_they_were(tmp_path: Path) -> None:
    file = vision(tmp_path / "own.onnx", "image_embeds")
    source = attached(images(tmp_path, file, size=[8, 8]), tmp_path / "store")
    assert source.features() == {
        "kind": "images",
        "decoder": 1,
        "size": [8, 8],
        "color": "rgb",
        "fit": "stretch",
        "backbone": {
            "ref": "backbone/x",
            "sha256": source.features()["backbone"]["sha256"],
            "mean": [127.0],
            "scale": [128.0],
        },
    }
    assert (tmp_path / "store" / GRAPH).read_bytes() == file.read_bytes()
    assert source.network_said == ()


def test_only_the_output_that_is_wanted_is_kept(tmp_path: Path) -> None:
    net = family(tmp_path / "net", "clip")
    source = images(tmp_path, net)
    assert source.backbone is not None
    kept = source.backbone.contents()[GRAPH]
    assert b"first" not in kept
    assert b"first" in (net / "onnx" / "model.onnx").read_bytes()
    other = images(tmp_path, net, output="last_hidden_state")
    assert other.backbone is not None
    assert other.backbone.sha256 != source.backbone.sha256


def test_a_panorama_costs_no_more_than_its_centre(tmp_path: Path) -> None:
    source = attached(images(tmp_path, family(tmp_path / "net", "clip"), size=[224, 224]), tmp_path / "store")
    stream = io.BytesIO()
    Image.new("RGB", (9000, 3), "red").save(stream, "PNG")
    plain = io.BytesIO()
    Image.new("RGB", (300, 300), "red").save(plain, "PNG")
    one, other = (source.row(held.getvalue(), "k").astype(np.float64) for held in (stream, plain))
    np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("name", ["onnx/vision_model.onnx", "vision_model.onnx", "model.onnx", "onnx/model_fp16.onnx"])
def test_the_graph_is_found_where_people_have_it(tmp_path: Path, name: str) -> None:
    net = write(tmp_path / "net", config={}, preprocessor_config=FAMILIES["clip"][0])
    vision(net / name, "image_embeds", half="fp16" in name)
    assert name in images(tmp_path, net).network_said[0]


def test_a_folder_that_is_not_usable_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    net = write(tmp_path / "net", config={"model_type": "clip"})
    (net / "model.safetensors").touch()

    def refused(kind: type[Exception], says: str, **features: object) -> None:
        with pytest.raises(kind, match=says) as caught:
            images(tmp_path, net, **features)
        assert "\n" not in str(caught.value)

    refused(SourceError, r"no model\.onnx in it or in onnx/; model\.safetensors is not executed: export it by")
    vision(net / "onnx" / "model_fp16.onnx", "image_embeds")
    vision(net / "onnx" / "model_int8.onnx", "image_embeds")
    refused(SourceError, r'several graphs .*model_int8\.onnx; say which: graph = "onnx/model_fp16\.onnx"')
    refused(SourceError, r"no graph 'x\.onnx' in it; onnx/model_fp16", graph="x.onnx")
    refused(SourceError, "no graph '../../pictures", graph="../../pictures/0.png")
    chosen = {"graph": "onnx/model_fp16.onnx"}
    refused(SourceError, r"no preprocessor_config\.json in it, which says how", **chosen)
    refused(SourceError, r"no size of pictures in preprocessor_config", mean=1, scale=2, **chosen)
    write(net, preprocessor_config={"size": {"longest_edge": 9}})
    refused(SourceError, r"size = .* is not what is expected", **chosen)
    write(net, preprocessor_config={"size": 8})
    refused(SourceError, r"no image_mean and image_std", **chosen)
    write(net, preprocessor_config={"size": 8, "image_mean": ["a"], "image_std": [1]})
    refused(SourceError, r'image_mean = "a" is not what is expected', **chosen)
    write(net, preprocessor_config={"size": 8, **NORMAL})
    refused(SourceError, r"no output 'x'; allowed: image_embeds", output="x", **chosen)
    (net / "preprocessor_config.json").write_text("{")
    refused(SourceError, r"preprocessor_config\.json: not readable: ", **chosen)
    write(net, preprocessor_config={"size": 8, **NORMAL})
    (net / "onnx" / "model_fp16.onnx").write_bytes(b"x")
    refused(CorruptError, r"not a network that can be used", mean=1, scale=2, size=[8, 8], **chosen)


def test_options_of_networks_are_refused_where_they_say_nothing(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"pooling is an option of a backbone"):
        recipes.options(Features, {"pooling": "cls"}, "features")
    with pytest.raises(RecipeError, match=r"output under .features. is for networks of your own"):
        images(tmp_path, "efficientnet-lite0", output="x")
    with pytest.raises(RecipeError, match=r"graph under .features. names a file in a folder"):
        images(tmp_path, vision(tmp_path / "own.onnx", "image_embeds"), graph="x")


def test_a_recipe_in_a_release_knows_where_its_network_was(tmp_path: Path) -> None:
    fit = {"epochs": 1}
    layers = {"layers": [{"net": {"kind": "dense", "width": 5}, "fit": fit}], "code": {"bits": 8, "fit": fit}}
    table = {"name": "p", "source": {"kind": "images", "path": "x"}, **layers, "finetune": fit}
    (tmp_path / "nets" / "clip").mkdir(parents=True)
    for name, expected in (
        ("nets/clip", str(tmp_path / "nets" / "clip")),
        ("efficientnet-lite2", "efficientnet-lite2"),
    ):
        read = recipes.parse({**table, "features": {"backbone": name}}, tmp_path / "p.toml")
        assert resolve.override(read).features["backbone"] == expected


def test_a_name_of_the_hub_gets_the_way_to_a_folder(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"`optimum-cli export onnx --model openai/clip-vit-base-patch32 FOLDER` makes"
    ):
        images(tmp_path, "openai/clip-vit-base-patch32")
    with pytest.raises(SourceError, match=r"or an ONNX file$"):
        images(tmp_path, "nets/mine.onnx")
