r"""Fonts: find one that has the letters of a text, and write others as letters that one has.

Pillow's own font, which is always there, has little more than ASCII. For other letters the fonts of this machine are
asked for by fontconfig, in the order that its user prefers; last comes the font that matplotlib brings. Letters that no
font has are written without their accents, or by their number: ``\u5317``, never as an empty box.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import groupby

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

OWN = frozenset(map(chr, range(0x20, 0x7F))) | frozenset("\u00a0\u00ad©«°±´·»‘’“”…‹›⁄™")
"""Letters that Pillow's own font has."""
PATTERN = "sans:weight=80:slant=0"
_FORMAT = "%{file}\\t%{index}\\t%{scalable}\\t%{color}\\t%{charset}\\n"
_SECONDS = 10  # that fontconfig may take; the first time it reads all fonts
_NO_LETTER = "\U0010ffff"
_PLAIN = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D"}
    | {"ł": "l", "Ł": "L", "ı": "i", "þ": "th", "Þ": "Th", "ð": "d", "Ð": "D", "–": "-", "—": "-", "−": "-", "×": "x"}
    | {"•": "*", "→": "->", "←": "<-", "€": "EUR"}
)


@dataclass(frozen=True, slots=True)
class Face:
    """A font in a file.

    Attributes:
        path: of the file; empty is Pillow's own font.
        index: of the font in the file.
        ranges: first and last code points of the letters that it has; None where only drawing tells.
    """

    path: str = ""
    index: int = 0
    ranges: tuple[tuple[int, int], ...] | None = None

    def has(self, letter: str) -> bool:
        """Tell whether the font has a letter."""
        if not self.path:
            return letter in OWN
        if self.ranges is None:
            return _draws(self, letter)
        point = ord(letter)
        return any(first <= point <= last for first, last in self.ranges)


_OWN = Face()


@cache
def faces() -> tuple[Face, ...]:
    """Return the fonts that letters are looked for in, the best first, without Pillow's own."""
    brought = _of_matplotlib()
    found = [*_of_fontconfig(), *([Face(brought)] if brought else [])]
    return tuple(face for face in found if _opens(face))


@cache
def sized(face: Face, pixels: float) -> Font:
    """Return a font in a size."""
    if not face.path:
        return ImageFont.load_default(pixels)
    return ImageFont.truetype(face.path, pixels, index=face.index)


def drawable(text: str) -> str:
    """Return a text in letters that can be drawn: others without accents, or as numbers."""
    text = unicodedata.normalize("NFC", text)
    return text if OWN.issuperset(text) else "".join(map(_drawable, text))


def runs(text: str) -> Iterator[tuple[str, Face]]:
    """Yield the parts of a drawable text, each with the font that has its letters.

    One font for the whole text is preferred, because writing from right to left needs all letters together.
    """
    whole = face_of(text)
    if whole is not None:
        yield text, whole
        return
    chosen, last = list[tuple[str, Face]](), _OWN
    for letter in text:
        # Marks belong to the letter before, and spaces to the word.
        stays = last.has(letter) and (letter.isspace() or unicodedata.category(letter).startswith("M"))
        last = last if stays else _first_with(letter) or _OWN
        chosen.append((letter, last))
    for face, group in groupby(chosen, lambda pair: pair[1]):
        yield "".join(letter for letter, _ in group), face


def face_of(text: str) -> Face | None:
    """Return the best font that has all letters of a text; None where there is none."""
    if OWN.issuperset(text):
        return _OWN
    letters = set(text)
    return next((face for face in faces() if all(map(face.has, letters))), None)


def faces_for(letters: Iterable[str]) -> list[Face]:
    """Return fonts that together have some letters, as far as there are any."""
    wanted, found = set(letters), list[Face]()
    whole = face_of("".join(sorted(wanted)))
    if whole is not None:
        return [whole]
    for letter in sorted(wanted):
        face = _first_with(letter)
        if face is not None and not any(one.has(letter) for one in found):
            found.append(face)
    return found


@cache
def _drawable(letter: str) -> str:
    if _first_with(letter) is not None:
        return letter
    apart = unicodedata.normalize("NFKD", letter).translate(_PLAIN)
    plain = "".join(one for one in apart if not unicodedata.combining(one))
    if plain and OWN.issuperset(plain):
        return plain
    return f"\\u{ord(letter):04x}" if ord(letter) < 1 << 16 else f"\\U{ord(letter):08x}"


@cache
def _first_with(letter: str) -> Face | None:
    """Return the best font that has a letter; None where none has it."""
    if letter in OWN:
        return _OWN
    return next((face for face in faces() if face.has(letter)), None)


def _of_fontconfig() -> Iterator[Face]:
    """Yield the fonts that fontconfig knows, in its order of preference; none where it is not installed."""
    program = shutil.which("fc-match")
    if program is None:
        return
    command = [program, "--sort", "--format", _FORMAT, PATTERN]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return
    for line in os.fsdecode(done.stdout).splitlines():
        path, index, scalable, coloured, letters = (line.split("\t") + [""] * 5)[:5]
        # Instances of one variable font have the same file; their number is above 16 bits.
        if scalable == "True" and coloured != "True" and index.isdecimal() and letters:
            yield Face(path, int(index) & 0xFFFF, tuple(_ranges(letters)))


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges that fontconfig writes as ``20-7e a0 b5-ff``."""
    for found in re.finditer(r"([0-9a-f]+)(?:-([0-9a-f]+))?", text):
        yield int(found[1], 16), int(found[2] or found[1], 16)


def _of_matplotlib() -> str:
    """Return the file of the font that matplotlib brings; empty without matplotlib."""
    spec = find_spec("matplotlib")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = os.path.join(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
        if os.path.isfile(path):
            return path
    return ""


def _opens(face: Face) -> bool:
    try:
        sized(face, 16)
    except (OSError, ValueError):
        return False
    return True


@cache
def _draws(face: Face, letter: str) -> bool:
    # Without shaping, which draws a circle under a mark that the font lacks.
    font = ImageFont.truetype(face.path, 32, index=face.index, layout_engine=ImageFont.Layout.BASIC)
    return bytes(font.getmask(letter)) != bytes(font.getmask(_NO_LETTER))
