"""Encodings of text: UTF-8, UTF-16 and UTF-32, and old ones that are guessed.

Bytes that are UTF-8, or begin with a byte order mark, are no guess. Others are guessed: first among the encodings of
Latin letters, by the alphabets of single languages; then among those of Cyrillic, Greek, Hebrew and Arabic, by how
often letters are; then by ``charset-normalizer``, which knows the other scripts. (On its own it takes French and much
of German for Central European, and a few words of Greek for Russian.) Where several encodings make sense of a few
words, none is guessed. A guess is to be said: see :func:`notes_of`.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import IO

from aepipe.errors import ExtraError, SourceError
from aepipe.sources import alphabets

UTF8 = "utf-8"
BAD_BYTE = "aepipe-bad-byte"
"""Name of the error handler that keeps each bad byte as a lone surrogate, U+DC00 + byte."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK = 1 << 20
_SAMPLE = 1 << 15
"""Bytes of lines with other letters than ASCII that a guess is made of."""
_LOOK = 1 << 16
_FITS = 0.9
"""Share of the other letters that belong to one language, from which a Latin encoding is taken."""
_WEST = {
    "German": "äöüß",
    "French": "àâæçéèêëîïôœùûü",
    "Spanish": "áéíñóúü",
    "Portuguese": "áâãàçéêíóôõúü",
    "Italian": "àèéìíîòóùú",
    "Nordic": "åäöæøé",
    "Icelandic": "áðéíóúýþæö",
    "Dutch": "éëïóöüèê",
    "Catalan": "àçéèíïóòúü",
}
_CENTRAL = {
    "Polish": "ąćęłńóśźż",
    "Czech": "áčďéěíňóřšťúůýž",
    "Slovak": "áäčďéíĺľňóôŕšťúýž",
    "Hungarian": "áéíóöőúüű",
    "Romanian": "ăâîşţșț",
    "Croatian": "čćđšž",
}
_LATIN: Mapping[str, Mapping[str, str]] = {
    "windows-1252": _WEST,
    "windows-1250": _CENTRAL,
    "windows-1254": {"Turkish": "çğıöşüâîİ"},
    "iso-8859-2": _CENTRAL,
    "windows-1257": {"Lithuanian": "ąčęėįšųūž", "Latvian": "āčēģīķļņšūž", "Estonian": "äõöüšž"},
    "mac-roman": _WEST,
    "cp850": _WEST,
}
"""Encodings of Latin letters, the likeliest first, each with the languages that are written in it."""
_USUAL = "windows-1252"
_OF_THE_WEST = frozenset("".join(_WEST.values()))
_FEW = 4
"""Letters of another script that have to be there for a guess."""
_SMALL = 400
"""Bytes of lines with such letters, up to which several languages may fit by chance."""
_MANY = 64
"""Letters of a script that is not told by its letters, for a guess."""
_ALONE = re.compile("[ñÑ](?![aeiouáéíóúAEIOU])|[õÕ](?![eE])")
"""Letters that do not stand so in Spanish and Portuguese, and are others in Central Europe."""
_ICELANDIC, _SURELY_ICELANDIC = frozenset("ðþý"), frozenset("áéíóúæ")
_WIDE_MARKS = frozenset("。、，：；！？（）「」『』《》・ー…　")
_NO_GUESS = ["utf_7", "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"]
_MARKS_OF_TEXT = frozenset("„“”‚‘’‹›«»–—…·•€£¥§°¡¿©®™´`²³½¼¾µ×±\xa0ªº†‰")
_NAMES = {"shift_jis": "cp932", "euc_jis_2004": "euc_jp", "gbk": "gb18030", "gb2312": "gb18030", "cp1125": "cp866"}


def decode(data: bytes, given: str | None = None) -> tuple[str, str]:
    """Return the text of some bytes, and the encoding that they were read in.

    A byte order mark is no part of the text.

    Args:
        data: all bytes of a text.
        given: the encoding where it is known; else it is told by the bytes.

    Raises:
        ValueError: they are no text, or not in that encoding; the message is the reason.
        ExtraError: they are not UTF-8, and the package that guesses is not installed.
    """
    encoding = given or _marked(data[:4])
    if encoding is None:
        if (wide := _wide(data[:_LOOK])) is None and b"\0" in data[:_LOOK]:
            # Zero bytes are valid UTF-8, but no text has them.
            raise ValueError("not text: it has zero bytes")
        encoding = wide or UTF8
    try:
        return _without_mark(data.decode(encoding)), encoding
    except UnicodeDecodeError as error:
        start = error.start
    except LookupError:
        raise ValueError(f"there is no encoding {encoding!r}") from None
    guess = None if given else guessed(_telling([data]))
    if guess is None:
        raise ValueError(f"not in {encoding.upper()}: byte 0x{data[start]:02x} at {start:,}")
    return data.decode(guess, "replace"), guess


def of_stream(stream: IO[bytes], given: str | None = None) -> str:
    """Return the encoding of a stream; it is read to its end unless its first bytes tell.

    Where no encoding fits, that is UTF-8: then bad bytes are to be reported where they stand.

    Args:
        stream: at its beginning.
        given: the encoding where it is known.

    Raises:
        SourceError: there is no encoding of that name.
        ValueError: there are too few words to tell the encoding.
        ExtraError: the stream is not UTF-8, and the package that guesses is not installed.
    """
    if given:
        return checked(given)
    block = stream.read(_BLOCK)
    known = _marked(block[:4]) or _wide(block[:_LOOK])
    if known:
        return known
    reader, lines, other = codecs.getincrementaldecoder(UTF8)(_handler()), list[bytes](), [0, 0]
    rest = b""
    while block:
        if rest or not block.isascii():
            text = reader.decode(block)
            _count(text, other)
            if other[1]:
                kept, rest = _telling([rest + block]), b""
                lines += [kept] if sum(map(len, lines)) < _SAMPLE else []
        block = stream.read(_BLOCK)
    # A few bad bytes among many letters of UTF-8 are damage, not another encoding.
    return UTF8 if other[0] >= other[1] else guessed(b"".join(lines)) or UTF8


def checked(name: str) -> str:
    """Return the name of an encoding.

    Raises:
        SourceError: there is none of that name.
    """
    try:
        "".encode(name)
        found = codecs.lookup(name).name
    except LookupError:
        raise SourceError(f"encoding {name!r} is not known; there are utf-8, windows-1252, shift_jis, ...") from None
    # The ones without an end take the byte order from a mark, and drop it.
    return {"utf-8": "utf-8-sig"}.get(found, name)


def reader_errors() -> str:
    """Return an error handler for :func:`open`: a bad byte becomes a lone surrogate."""
    return _handler()


def bad_byte(text: str) -> str | None:
    """Return the first byte of a text that could not be decoded, in words; None where all could."""
    if text.isascii():
        return None
    bad = next((letter for letter in text if "\udc00" <= letter <= "\udcff"), None)
    return f"byte 0x{ord(bad) - 0xDC00:02x}" if bad else None


def is_guess(encoding: str) -> bool:
    """Whether an encoding was guessed, as it is neither UTF-8 nor told by a byte order mark."""
    return not encoding.startswith("utf-")


def notes_of(counts: Mapping[str, int]) -> list[str]:
    """Return what users should know of the guesses: ``3 files read as windows-1252; ...``.

    Args:
        counts: files by encoding.
    """
    return [
        f"{count:,} {'file' if count == 1 else 'files'} read as {name}; if that is wrong, say encoding = ... under "
        "[source]"
        for name, count in sorted(counts.items())
        if is_guess(name)
    ]


@lru_cache(64)
def guessed(sample: bytes) -> str | None:
    """Return the likeliest encoding of bytes that are not UTF-8; None where none fits.

    Raises:
        ValueError: there are too few words to tell which of several it is.
        ExtraError: the package that guesses is not installed.
    """
    known = _latin(sample) or _japanese(sample)
    if known:
        return known
    by_letters = alphabets.told(sample)
    if by_letters.sure:
        return by_letters.names[0]
    if by_letters.names:
        raise ValueError(_doubt(by_letters.names))
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise ExtraError("charset-normalizer", "train") from None
    best = from_bytes(sample, cp_exclusion=_NO_GUESS).best()
    if best is None:
        return None
    name = _NAMES.get(best.encoding, best.encoding)
    other = [letter for letter in sample.decode(name, "replace") if not letter.isascii()]
    letters = sum(unicodedata.category(letter)[0] in "LM" or letter in _WIDE_MARKS for letter in other)
    # Letters of Latin scripts have been tried, so what is left of them is chance.
    foreign = sum(letter.isalpha() and letter >= "\u0370" for letter in other)
    fits = foreign >= _FEW and letters >= 0.8 * len(other) and foreign >= 0.5 * len(other)
    if fits and len(other) < _MANY:
        raise ValueError(_doubt([_shown(name)]))
    return _shown(name) if fits else None


def _doubt(names: Sequence[str]) -> str:
    """Return that the encoding cannot be told, and which it may be."""
    return f"its encoding cannot be told, perhaps {' or '.join(names[:3])}; say encoding = ... under [source]"


def _latin(sample: bytes) -> str | None:
    """Return the encoding in which the other letters are those of one Latin language, else of several of the west."""
    shares: dict[str, float] = {}
    for name, languages in _LATIN.items():
        text = sample.decode(name, "replace")
        places = [place for place, letter in enumerate(text) if not letter.isascii() and not _apart(text, place)]
        # In Latin scripts other letters stand among those of ASCII.
        if places and sum(_among(text, place) for place in places) >= 0.5 * len(places):
            # The small letter of a Turkish İ is two characters.
            other = [text[place] if text[place] == "İ" else text[place].lower() for place in places]
            other = _without_others(other, text) if name in {"windows-1252", "mac-roman", "cp850"} else other
            shares[name] = max(sum(one in known for one in other) for known in languages.values()) / len(other)
            if name == _USUAL:
                several = sum(one in _OF_THE_WEST for one in other) / len(other)
    best = max(shares, key=shares.__getitem__, default=None)  # the first of equal ones
    if best and best != _USUAL and shares[best] >= _FITS:
        texts = {sample.decode(name, "replace"): name for name, share in shares.items() if share == shares[best]}
        if len(texts) > 1 and len(sample) < _SMALL:
            raise ValueError(_doubt(list(texts.values())))
    if best and (shares[best] >= _FITS or (best == _USUAL and several >= _FITS)):
        return best
    return None


def _without_others(letters: list[str], text: str) -> list[str]:
    """Return letters of the west, those as no letters that stand where no language of the west has them."""
    strange = {found[0].lower() for found in _ALONE.findall(text)}
    if not _SURELY_ICELANDIC & set(letters):
        strange |= _ICELANDIC
    return ["?" if letter in strange else letter for letter in letters]


def _japanese(sample: bytes) -> str | None:
    """Return the Japanese encoding in which some of the letters are kana, which no other language has."""
    for name in ("cp932", "euc_jp"):
        other = [letter for letter in sample.decode(name, "replace") if not letter.isascii()]
        kana = sum("\u3040" <= letter <= "\u30ff" for letter in other)
        if kana >= max(_FEW, 0.2 * len(other)) and other.count("\ufffd") <= 0.01 * len(other):
            return name
    return None


def _among(text: str, place: int) -> bool:
    """Whether the letter at a place has a letter of ASCII next to it."""
    beside = text[max(place - 1, 0) : place + 2 : 2] if place else text[1:2]
    return any(one.isascii() and one.isalpha() for one in beside)


def _apart(text: str, place: int) -> bool:
    """Whether the character at a place is a sign of its own, not within a word."""
    if text[place] not in _MARKS_OF_TEXT:
        return False
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    return text[place] in "’'·" or not (before.isalpha() and after.isalpha())


def _telling(blocks: Iterable[bytes]) -> bytes:
    """Return the lines that have other bytes than those of ASCII, at most :data:`_SAMPLE` bytes of them."""
    kept, size = list[bytes](), 0
    for block in blocks:
        for line in block.splitlines(keepends=True):
            if size >= _SAMPLE:
                break
            if not line.isascii():
                kept.append(line[:_SAMPLE])
                size += len(kept[-1])
    return b"".join(kept)


def _marked(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _wide(head: bytes) -> str | None:
    """Return UTF-16 without a mark, told by zeros in every other byte; None for other bytes."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if half < 8 or max(even, odd) < 0.7 * half or min(even, odd) > 0.02 * half:
        return None
    name = "utf-16-le" if odd > even else "utf-16-be"
    text = head[: 2 * half].decode(name, "replace")
    return name if all(letter.isprintable() or letter in "\t\r\n" for letter in text) else None


def _without_mark(text: str) -> str:
    return text.removeprefix("\ufeff")


def _count(text: str, other: list[int]) -> None:
    """Add the letters beyond ASCII, and the bad bytes, of a text to the two counts."""
    if not text.isascii():
        beyond = [letter for letter in text if letter > "\x7f"]
        bad = sum("\udc00" <= letter <= "\udcff" for letter in beyond)
        other[0] += len(beyond) - bad
        other[1] += bad


def _handler() -> str:
    """Register the error handler; the name is known to the whole process."""
    codecs.register_error(BAD_BYTE, _as_surrogates)
    return BAD_BYTE


def _as_surrogates(error: UnicodeError) -> tuple[str, int]:
    # Python's own "surrogateescape" refuses bytes below 128, which other encodings can have at a wrong place, too.
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in bad), error.end


def _shown(name: str) -> str:
    """Return the name of an encoding as people write it."""
    return f"windows-{name[2:]}" if name.startswith("cp125") else name.replace("_", "-") if "koi8" in name else name
