"""Words of texts in all scripts: with combining marks, and without spaces between words.

A word is a run of letters and of the marks on them: the vowel signs of Hindi and Tamil, the points of Arabic, accents
that are characters of their own. Chinese, Japanese, Thai, Lao, Khmer, Burmese and their neighbours write no spaces, so
there each letter with its marks is a word, and so is each pair of neighbours. A text without such letters needs nothing
of this; :func:`concerns` tells at little cost.

Source: Nie, Gao, Zhang and Zhou, "On the use of words and n-grams for Chinese information retrieval", 2000.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple

RULES = 1
"""Changes whenever :func:`words` would cut the same text in another way; it stands among the features of rows."""
LETTERS = 3
"""Letters of an alphabet that say as much as one letter of a script without spaces."""
# Thai and Lao; Burmese; Khmer; Tai Le to Khmer symbols; Lanna; Balinese; signs of Chinese; kana and Bopomofo; their
# extensions; Chinese and Yi; Javanese and Burmese extensions; Tai Viet; Chinese for compatibility; rare kana, rare
# Chinese.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\u3005-\u3007\u3021-\u3029"
    "\u3031-\u3035\u303b\u303c\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf\ua980-\ua9ff"
    "\uaa60-\uaadf\uf900-\ufaff\U0001aff0-\U0001b16f\U00020000-\U000323af"
)
_CHINESE = "[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+"
_STACKS = "\u1039\u17d2"  # in Burmese and Khmer, the next consonant stands below the one before
_DRAWING = "[\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]"  # how letters are drawn and joined, not which
_FIRST_MARK, _LAST_MARK = 0x300, 0x1FFFF

Segment = Callable[[str], list[str]]
"""Returns the words of a run of Chinese letters."""


class _Patterns(NamedTuple):
    """What a text is cut by.

    Attributes:
        tokens: letters, digits and marks that stand together.
        parts: in a token, a run of a script without spaces, or of others.
        letters: in a run, each letter with its marks.
        pieces: in a text, each word with its punctuation.
    """

    tokens: re.Pattern[str]
    parts: re.Pattern[str]
    letters: re.Pattern[str]
    pieces: re.Pattern[str]


def concerns(text: str) -> bool:
    """Tell whether a text has combining marks, or letters of a script without spaces."""
    return not text.isascii() and any(map(_is_special, set(text)))


def spaceless(text: str) -> int:
    """Return the number of letters of scripts without spaces in a text."""
    return 0 if text.isascii() else len(_spaceless_letter().findall(text))


def length(text: str) -> int:
    """Return the length of a text, in letters of an alphabet."""
    return len(text) + (LETTERS - 1) * spaceless(text)


def pieces(text: str) -> Iterator[re.Match[str]]:
    """Yield the words of a text with their punctuation; of a script without spaces, each letter."""
    return _patterns().pieces.finditer(text)


def words(text: str, segment: Segment | None = None, *, digits: bool = False) -> list[str]:
    """Return the words of a text: single letters only of scripts without spaces.

    Args:
        text: in lower case, and normalised, as :func:`aepipe.sources.text.decode.words_of` does.
        segment: cuts runs of Chinese letters; without it they are cut into single letters and pairs.
        digits: they are letters, and one alone is a word; else they part words.
    """
    patterns, found = _patterns(), list[str]()
    parting = "_+" if digits else r"[\d_]+"
    for token in patterns.tokens.findall(re.sub(parting, " ", re.sub(_DRAWING, "", text))):
        for run, word in patterns.parts.findall(token):
            if not run:
                found += [word] if len(word) > 1 or word.isdecimal() else []
            elif segment and re.fullmatch(_CHINESE, run):
                found += segment(run)
            else:
                found += _with_pairs(patterns.letters.findall(run))
    return found


@cache
def segmenter(name: str | None) -> Segment | None:
    """Return what cuts Chinese into words; None for None, else ``jieba``."""
    if name is None:
        return None
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)  # it would write about its dictionary to the terminal
    # As for a search engine: a long word gives the words in it, too.
    return lambda run: list(jieba.cut_for_search(run))


def _with_pairs(letters: list[str]) -> list[str]:
    return letters + [first + second for first, second in pairwise(letters)]


def _is_special(letter: str) -> bool:
    return ord(letter) >= _FIRST_MARK and (_is_mark(letter) or _spaceless_letter().match(letter) is not None)


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter) in ("Mn", "Mc")


@cache
def _spaceless_letter() -> re.Pattern[str]:
    return re.compile(f"[{_SPACELESS}]")


# Made for the first text that needs them, because to look at all letters takes some ten milliseconds.
@cache
def _patterns() -> _Patterns:
    marks, letter = _marks(), f"[{_SPACELESS}]"
    return _Patterns(
        re.compile(rf"\w[\w{marks}]*"),
        re.compile(rf"((?:{letter}[{marks}]*)+)|([^{_SPACELESS}]+)"),
        re.compile(rf"{letter}[{marks}]*(?:(?<=[{_STACKS}]){letter}[{marks}]*)*"),
        re.compile(rf"{letter}[{marks}]*[^\w\s]*|[^\s{_SPACELESS}]+"),
    )


def _marks() -> str:
    """Return all combining marks as ranges, for a class of a regular expression."""
    codes = [code for code in range(_FIRST_MARK, _LAST_MARK) if _is_mark(chr(code))]
    known = set(codes)
    starts = [chr(code) for code in codes if code - 1 not in known]
    ends = [chr(code) for code in codes if code + 1 not in known]
    return "".join(f"{first}-{last}" for first, last in zip(starts, ends, strict=True))
