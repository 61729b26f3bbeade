"""Memory of large pictures: measured in processes of their own, bounded for one picture and for many at once."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aepipe.errors import ItemError
from aepipe.recipe import parse
from aepipe.sources import decoder, resolve
from aepipe.sources.images import reading, webp
from aepipe.sources.images.decode import decode, draw

MEASURE = """
import json, resource, sys
from aepipe.sources.images import reading
from aepipe.sources.images.decode import decode
path, warm = sys.argv[1:]
needs = []
taken = reading.ROOM.taken
def noted(wanted):
    needs.append(wanted)
    return taken(wanted)
reading.ROOM.taken = noted
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
decode(open(warm, "rb").read(), key="k", size=(32, 32))
data = open(path, "rb").read()
before = peak()
row = decode(data, key="k", size=(32, 32))
print(json.dumps({"taken": peak() - before, "need": (needs or [0])[-1], "mean": float(row.mean())}))
"""
MEGA = 1_000_000


def measured(data: bytes, small: bytes, folder: Path) -> dict[str, float]:
    """Decode a picture in a process of its own; return the bytes that it took and was allowed, and its mean."""
    for name, content in (("large", data), ("small", small)):
        (folder / name).write_bytes(content)
    command = [sys.executable, "-c", MEASURE, str(folder / "large"), str(folder / "small")]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def flat(mode: str, width: int, height: int) -> Image.Image:
    image = Image.new(mode, (width, height), 40 if mode == "L" else (40,) * len(mode))
    image.paste(200 if mode == "L" else (200,) * len(mode), (0, 0, width // 2, height))
    return image


@pytest.mark.parametrize(
    ("kind", "mode", "width", "height", "options", "most"),
    [
        ("JPEG", "L", 16_000, 12_500, {}, 30),  # 200 megapixels
        ("JPEG", "RGB", 7200, 7000, {"progressive": True}, 200),
        ("PNG", "L", 9000, 9000, {"compress_level": 1}, 110),
        ("TIFF", "L", 16_000, 12_500, {"compression": "packbits"}, 230),
        ("GIF", "L", 7200, 7000, {}, 80),
        ("WebP", "RGB", 7200, 7000, {"method": 0}, 30),
        ("JPEG2000", "L", 5000, 5000, {"tile_size": (1024, 1024)}, 30),
        ("AVIF", "L", 4000, 4000, {"speed": 10}, 180),
    ],
)
def test_memory_is_bounded_and_foreseen(
    kind: str, mode: str, width: int, height: int, options: dict[str, Any], most: int, tmp_path: Path
) -> None:
    data = saved(flat(mode, width, height), kind, **options)
    found = measured(data, saved(flat(mode, 64, 64), kind, **options), tmp_path)
    assert found["taken"] <= most * MEGA
    assert found["taken"] <= 1.2 * found["need"] + 25 * MEGA
    assert 110 <= found["mean"] <= 230


def test_large_pictures_look_as_small_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    large = small.resize((800, 640), Image.Resampling.BICUBIC)
    expected = np.asarray(large.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    monkeypatch.setattr(reading, "LARGE", 1000)
    for kind, options in (("PNG", {}), ("WebP", {"quality": 95}), ("JPEG", {}), ("JPEG2000", {}), ("TIFF", {})):
        found = decode(saved(large, kind, **options), key="k", size=(32, 32))
        assert np.abs(found - expected).max() <= 16
        assert np.abs(found - expected).mean() <= 4


def test_a_large_webp_keeps_its_transparency_and_orientation(monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGBA", (800, 630), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 800, 315))
    data = saved(image, "WebP", lossless=True, exif=exif.tobytes())
    assert webp.can_scale()
    monkeypatch.setattr(reading, "LARGE", 1000)
    found = decode(data, key="k", size=(8, 8))
    assert (found[0, -1] == 255).all()
    assert (found[0, 0] == [200, 0, 0]).all()
    with pytest.raises(ItemError, match=r"truncated|damaged"):
        decode(data[: len(data) // 2], key="k", size=(8, 8))


def test_a_tile_that_would_fill_the_memory_is_refused() -> None:
    tags = {256: 8, 257: 8, 258: 8, 259: 32773, 262: 1, 277: 1, 322: 65_008, 323: 65_008, 324: 8, 325: 2}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0\x0a\0\0\0\x81\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    with pytest.raises(ItemError, match=r"made to take more than 1\.8 GB of memory"):
        decode(data, key="k", size=(8, 8))


def test_pictures_at_once_share_the_memory() -> None:
    room = reading._Room(100 * MEGA)
    held, most, lock = [0], [0], threading.Lock()

    def work(wanted: int) -> None:
        with room.taken(wanted * MEGA):
            with lock:
                held[0] += min(wanted, 100)
                most[0] = max(most[0], held[0])
            threading.Event().wait(0.001)
            with lock:
                held[0] -= min(wanted, 100)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, [30, 50, 70, 400, 20, 100] * 20))
    assert 50 <= most[0] <= 100
    assert room._free == 100 * MEGA


def test_the_limit_is_a_key_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(flat("RGB", 40, 30), "PNG"))
    table = {"name": "a", "source": {"kind": "images", "path": str(tmp_path)}, "layers": [{"net": "dense"}]}
    ordinary = resolve(parse(table, tmp_path / "a.toml"))
    assert "max_megapixels" not in ordinary.features()
    table["source"] = {**table["source"], "max_megapixels": 0.001}  # type: ignore[dict-item]
    narrow = resolve(parse(table, tmp_path / "a.toml"))
    assert narrow.features()["max_megapixels"] == 0.001
    (item,) = narrow.items()
    reason = r"more than 0\.001 megapixels, which max_megapixels under \[source\] can allow"
    with pytest.raises(ItemError, match=reason):
        narrow.row(item.read(), item.key)
    with pytest.raises(ItemError, match=reason):
        decoder("images", narrow.features())(item.read(), "k")


def test_what_a_recipe_allows_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from aepipe.sources.images import decode as module

    monkeypatch.setattr(module, "MAX_PIXELS", 100)
    monkeypatch.setattr(module.thumbnail, "__defaults__", (96, 100))
    data = saved(flat("RGB", 40, 30), "PNG")
    assert draw(data, "k", 20, lambda: {"max_megapixels": 1}).size == (20, 15)
    with pytest.raises(ItemError, match="megapixels"):
        draw(data, "k", 20, dict)
