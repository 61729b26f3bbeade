"""Items that belong to none of the collections of :mod:`benchmarks.quality.confidence`: other data, drawings, noise.

Each function yields the bytes of ``count`` items, always the same ones.
"""

from __future__ import annotations

import gettext
import io
import json
import string
import wave
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Make = Callable[[int], Iterator[bytes]]

SMALL, LARGE = 28, 160
RATE, SECONDS = 8000, 0.5
FONTS = Path("/usr/share/fonts")
CATALOGUES = ("/usr/share/vim/vim90/lang/{}/LC_MESSAGES/vim.mo", "/usr/share/locale/{}/LC_MESSAGES/*.mo")
LETTERS = string.ascii_letters + string.digits


def picture(pixels: Pixels) -> bytes:
    """Return pixels as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def digits(count: int, size: int = SMALL) -> Iterator[bytes]:
    """Yield handwritten digits, of scikit-learn."""
    from sklearn.datasets import load_digits

    for one in load_digits().images[:count]:
        small = Image.fromarray((one * (255 / 16)).astype(np.uint8))
        yield picture(np.array(small.resize((size, size), Image.Resampling.BILINEAR)))


def letters(count: int, size: int = SMALL, text: int = 1) -> Iterator[bytes]:
    """Yield letters in the fonts of this machine, white on black where they are small."""
    rng = np.random.default_rng(1)
    fonts = sorted(path for path in FONTS.rglob("*") if path.suffix in {".ttf", ".otf"})
    made = 0
    while made < count:
        font = ImageFont.truetype(str(fonts[rng.integers(len(fonts))]), int(size * rng.uniform(0.5, 0.9) / text**0.5))
        drawn = Image.new("L", (size, size), 0 if text == 1 else 255)
        words = "\n".join("".join(rng.choice(list(LETTERS), text)) for _ in range(text))
        ImageDraw.Draw(drawn).text((size * 0.2, 0), words, fill=255 if text == 1 else 0, font=font)
        if np.asarray(drawn).std() > 1:
            made += 1
            yield picture(np.asarray(drawn))


def cifar(count: int, file: Path) -> Iterator[bytes]:
    """Yield photographs of CIFAR-10 in grey, 28 x 28."""
    with np.load(file) as held:
        data, offset = held["test_jpeg"], held["test_offset"]
    for at in np.random.default_rng(2).permutation(len(offset) - 1)[:count]:
        one = Image.open(io.BytesIO(data[offset[at] : offset[at + 1]].tobytes())).convert("L")
        yield picture(np.asarray(one.resize((SMALL, SMALL))))


def clothes(count: int, images: Pixels) -> Iterator[bytes]:
    """Yield articles of Fashion-MNIST, enlarged."""
    for one in images[:count]:
        yield picture(np.asarray(Image.fromarray(one).resize((LARGE, LARGE))))


def noise(count: int, size: int = SMALL, channels: int = 1) -> Iterator[bytes]:
    """Yield noise."""
    rng = np.random.default_rng(3)
    for _ in range(count):
        yield picture(rng.integers(0, 256, (size, size, channels), np.uint8).squeeze())


def drawings(count: int) -> Iterator[bytes]:
    """Yield drawings of lines, circles and boxes on white."""
    rng = np.random.default_rng(4)
    for _ in range(count):
        drawn = Image.new("RGB", (LARGE, LARGE), "white")
        pen = ImageDraw.Draw(drawn)
        for _ in range(rng.integers(3, 12)):
            (a, b), (c, d) = np.sort(rng.integers(0, LARGE, (2, 2)), axis=0).tolist()
            red, green, blue = rng.integers(0, 256, 3).tolist()
            shape = ("line", "ellipse", "rectangle")[rng.integers(3)]
            if shape == "line":
                pen.line((a, b, c, d), (red, green, blue))
            else:
                draw = pen.ellipse if shape == "ellipse" else pen.rectangle
                draw((a, b, c, d), None, (red, green, blue), int(rng.integers(1, 5)))
        yield picture(np.asarray(drawn))


def foreign(
    count: int, languages: tuple[str, ...] = ("de", "fr", "es", "it", "pl", "fi", "ru", "vi")
) -> Iterator[bytes]:
    """Yield texts of some sentences in other languages, from the translations of programs on this machine."""
    rng = np.random.default_rng(5)
    held = {one: _sentences(one) for one in languages}
    known = [sentences for sentences in held.values() if len(sentences) > 100]
    for number in range(count):
        sentences = known[number % len(known)]
        yield " ".join(rng.choice(sentences, 8)).encode()


def _sentences(language: str) -> list[str]:
    found: list[str] = []
    for pattern in CATALOGUES:
        for file in sorted(Path("/").glob(pattern.format(language)[1:])):
            with suppress(UnicodeDecodeError), file.open("rb") as stream:
                catalogue = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]
                found += [text for text in catalogue.values() if len(text) > 40 and "%" not in text]
    return found


def babble(count: int) -> Iterator[bytes]:
    """Yield words of random letters."""
    rng = np.random.default_rng(6)
    for _ in range(count):
        lengths = rng.integers(3, 10, 60)
        yield " ".join("".join(rng.choice(list(string.ascii_lowercase), n)) for n in lengths).encode()


def shuffled(count: int, texts: list[str]) -> Iterator[bytes]:
    """Yield words that are drawn at random from all words of some texts, each word as often as any other."""
    rng = np.random.default_rng(7)
    words = sorted({word for text in texts for word in text.lower().split() if word.isalpha() and len(word) > 2})
    for _ in range(count):
        yield " ".join(rng.choice(words, 80)).encode()


def cells(rows: NDArray[np.float64], names: list[str]) -> Iterator[bytes]:
    """Yield rows of numbers as JSON."""
    for row in rows:
        yield json.dumps(dict(zip(names, row.tolist(), strict=True))).encode()


def digit_rows(count: int) -> NDArray[np.float64]:
    """Return handwritten digits of 16 numbers each, 0 to 15, [count, 16]."""
    from sklearn.datasets import load_digits

    pixels = load_digits().images[:count].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    return np.asarray((pixels * 15 / 16).round().reshape(-1, 16))


def uniform_rows(count: int) -> NDArray[np.float64]:
    """Return rows of 16 numbers from 0 to 15, each as likely as any other, [count, 16]."""
    return np.random.default_rng(8).integers(0, 16, (count, 16)).astype(np.float64)


def mixed_rows(count: int, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows whose cells come from different rows, so that only their combination is unusual, [count, D]."""
    rng = np.random.default_rng(9)
    return np.stack([rng.choice(column, count) for column in rows.T], axis=1)


def recording(samples: NDArray[np.float64]) -> bytes:
    """Return samples from -1 to 1 as a WAV file."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return stream.getvalue()


def hiss(count: int) -> Iterator[bytes]:
    """Yield recordings of noise, white to brown."""
    rng = np.random.default_rng(10)
    n = int(RATE * SECONDS)
    for _ in range(count):
        spectrum = np.fft.rfft(rng.normal(size=n)) / np.maximum(np.arange(n // 2 + 1), 1) ** rng.uniform(0, 1)
        sound = np.fft.irfft(spectrum, n)
        yield recording(sound / np.abs(sound).max() * rng.uniform(0.2, 0.9))


def tones(count: int) -> Iterator[bytes]:
    """Yield chords and gliding tones."""
    rng = np.random.default_rng(11)
    time = np.arange(int(RATE * SECONDS)) / RATE
    for _ in range(count):
        starts, ends = rng.uniform(80, 1500, (2, int(rng.integers(1, 5))))
        bend = rng.random() < 0.5
        turns = starts[:, None] * time + (ends - starts)[:, None] * time**2 * bend
        sound = np.sin(2 * np.pi * turns).mean(axis=0) * np.exp(-time * rng.uniform(0, 8))
        yield recording(sound * rng.uniform(0.2, 0.9))
