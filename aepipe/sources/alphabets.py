"""Old encodings of Cyrillic, Greek, Hebrew and Arabic, told by their letters.

Of a few words several may make sense; then nobody should guess, and :func:`told` says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_LETTERS = {
    "Russian": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",
    "Ukrainian": "оанивтеірслкудмпзябьгчйхцєжюїшщфґ",
    "Belarusian": "аінекрсвотлдмпуяызьбгцшжчйхўэюёф",
    "Bulgarian": "аоиетнрсвлкпдмзъгубчшцйжяхщюьф",
    "Serbian": "аоиенртсјувкдмплзбгшчцћжхљњђфџ",
    "Greek": "αοιετσνηυρπκμλςωγδίόάήέχθύφβώξζψϊϋΐΰ",
    "Hebrew": "יוהלאתשרבמנםקדעחפכגטןסצזךץף",
    "Arabic": "اليمونرتبةعدسفهكقأحجشطصخإىذزئضغءثؤظآ",
}
"""The letters of languages, the most frequent first."""
_CYRILLIC = ("Russian", "Ukrainian", "Belarusian", "Bulgarian", "Serbian")
_ENCODINGS: Mapping[str, tuple[str, ...]] = {
    "windows-1251": _CYRILLIC,
    "koi8-r": ("Russian", "Bulgarian"),
    "koi8-u": ("Ukrainian",),
    "cp866": ("Russian", "Belarusian", "Bulgarian"),
    "iso8859_5": _CYRILLIC,
    "mac_cyrillic": _CYRILLIC,
    "windows-1253": ("Greek",),
    "iso8859_7": ("Greek",),
    "windows-1255": ("Hebrew",),
    "iso8859_8": ("Hebrew",),
    "windows-1256": ("Arabic",),
    "iso8859_6": ("Arabic",),
}
NAMES = frozenset(_ENCODINGS)
_FALLS = 8.5
"""The letter after so many others is a third as frequent."""
_STRANGE, _MIXED, _CAPITAL = -12.0, -5.0, -0.7
_SENSE = -4.2
"""Likelihood of a letter, on average, from which words make sense: in e-folds."""
_LEAST = 4
"""Letters that tell something."""
_SURE = 4.0
"""By so many e-folds the likeliest encoding has to be likelier than any that gives another text."""
_OPEN, _WITHIN = frozenset("„“‚‘‹«–—€£§№\u00a0"), frozenset("’‘\u00ad")
_SIGNS = _OPEN | _WITHIN | frozenset("”›»…·•°©®™")
_WORD = re.compile(r"[A-Za-z\x80-\U0010ffff]+")
_RARE = {"mac_cyrillic": -10.0, "iso8859_8": -3.0, "iso8859_6": -3.0}
"""How much less likely an encoding is than others, before its bytes are seen."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the bytes tell.

    Attributes:
        names: of the encodings in which they make sense, the likeliest first; those that give the same text count as
            one.
        sure: the first is much likelier than the others.
    """

    names: tuple[str, ...]
    sure: bool


def told(sample: bytes) -> Told:
    """Return the encodings in which bytes make sense; none for other bytes."""
    scores: dict[str, float] = {}
    texts: dict[str, str] = {}
    for name, languages in _ENCODINGS.items():
        text = sample.decode(name, "replace")
        count = sum(map(len, _words(text)))
        best = max(_likelihood(text, language) for language in languages) + _RARE.get(name, 0.0)
        if text not in texts.values() and count >= _LEAST and best >= _SENSE * count:
            scores[name], texts[name] = best, text
    names = sorted(scores, key=scores.__getitem__, reverse=True)
    sure = len(names) == 1 or (len(names) > 1 and scores[names[0]] - scores[names[1]] >= _SURE)
    return Told(tuple(names), sure)


def _likelihood(text: str, language: str) -> float:
    """Return how likely the words of a text are in a language, in e-folds; words that come up again count once."""
    ranks = {letter: rank for rank, letter in enumerate(_LETTERS[language])}
    return sum(_word(word, ranks) for word in _words(text))


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text) if any(not one.isascii() and one not in _SIGNS for one in word)}


def _word(word: str, ranks: Mapping[str, int]) -> float:
    """Return how likely a word is."""
    found = 0.0
    for before, letter, after in zip(" " + word, word, word[1:] + " ", strict=False):
        if letter in _SIGNS:
            inside, starts = before.isalpha() and after.isalpha(), not before.isalpha() and after.isalpha()
            found += _STRANGE * ((inside and letter not in _WITHIN) or (starts and letter not in _OPEN))
            continue
        if letter.isascii():
            found += _MIXED
            continue
        rank = ranks.get(letter.lower())
        found += _STRANGE if rank is None else -rank / _FALLS - math.log(_FALLS)
        # Capitals begin words, or make them up.
        found += _MIXED * (letter.isupper() and before.islower())
    return found + _CAPITAL * len(word) * (len(word) > 3 and word.isupper())
