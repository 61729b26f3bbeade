"""Leave files and folders out by patterns, as a ``.gitignore`` has them."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from aepipe.errors import SourceError

DEFAULT = (
    "@eaDir",
    "@Recycle",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "__MACOSX",
    ".DS_Store",
    ".thumbnails",
    "Thumbs.db",
    "thumbs.db",
    "desktop.ini",
)
"""Left out of every source: thumbnails and bins of disks and systems. ``exclude = ["!*"]`` has none of them."""
_WILD = re.compile(r"(\*+|\?|\\.|\[[!^]?\]?(?:\[:\w*:\]|\\.|[^\]\\])*\])", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_IN_SET = re.compile(r"\[:(?P<named>\w*):\]|\\(?P<escaped>.)|(?P<other>--|[\[&~|])", re.DOTALL)
_NAMED = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "digit": "0-9",
    "lower": "a-z",
    "punct": re.escape(string.punctuation),
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
"""Sets of letters by the names of POSIX: ``[[:digit:]]``."""
_ANY_FOLDERS = "**"


class Exclude:
    r"""Patterns of files and folders that are left out; the last one that matches decides.

    A pattern without ``/`` matches names at any depth, any other the path from the source. ``*`` and ``?`` stand for
    letters of one name, ``**`` for any folders, ``[a-z]``, ``[!a-z]`` and ``[[:digit:]]`` for one letter, and a letter
    after ``\`` for itself. With ``/`` at its end it matches folders only, and with ``!`` before it takes back what
    others leave out. What lies below a folder that is left out is left out, too.

    Args:
        patterns: after those of :data:`DEFAULT`.

    Raises:
        SourceError: one is no pattern.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        rules = [pattern for pattern in (*DEFAULT, *patterns) if pattern.strip("!/")]
        self._rules = [_Rule.of(kept, list(group)) for kept, group in groupby(rules, _keeps)][::-1]

    def __call__(self, place: str) -> bool:
        """Tell whether one file or folder is left out by itself.

        Args:
            place: relative to the source, with ``/`` at the end for a folder.
        """
        place = place if place.isascii() else unicodedata.normalize("NFC", place)
        name = place[place.rfind("/", 0, -1) + 1 :]
        for rule in self._rules:
            if name in rule.plain or (rule.names and rule.names.fullmatch(name)):
                return not rule.kept
            if rule.paths and rule.paths.fullmatch(place):
                return not rule.kept
        return False

    def below(self, place: str) -> bool:
        """Tell whether a file is left out, by itself or by a folder that it lies in."""
        cuts = [at + 1 for at, letter in enumerate(place[:-1]) if letter == "/"]
        return any(self(place[:cut]) for cut in cuts) or self(place)


@lru_cache(64)
def excluding(patterns: tuple[str, ...]) -> Exclude:
    """Return the patterns, ready to match."""
    return Exclude(patterns)


@dataclass(frozen=True, slots=True)
class _Rule:
    """Neighbouring patterns of one sort, so that a name is looked at once in the usual case.

    Attributes:
        kept: they take files back.
        plain: names without wildcards, as files and as folders.
        names: matches other names; None where there are none.
        paths: matches paths from the source; None where there are none.
    """

    kept: bool
    plain: frozenset[str]
    names: re.Pattern[str] | None
    paths: re.Pattern[str] | None

    @classmethod
    def of(cls, kept: bool, patterns: list[str]) -> _Rule:
        """Sort some patterns."""
        paths = [pattern for pattern in patterns if _is_path(pattern)]
        plain = [pattern for pattern in patterns if not set(pattern.removeprefix("!")) & set("*?[/\\")]
        bare = [unicodedata.normalize("NFC", pattern.removeprefix("!")) for pattern in plain]
        names = [pattern for pattern in patterns if pattern not in paths and pattern not in plain]
        return cls(kept, frozenset((*bare, *(f"{name}/" for name in bare))), _joined(names), _joined(paths))


def _keeps(pattern: str) -> bool:
    return pattern.startswith("!")


def _is_path(pattern: str) -> bool:
    return "/" in pattern.removeprefix("!").rstrip("/")


def _joined(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """Return one expression that matches what any of the patterns does; None where there are none."""
    text = "|".join(map(_checked, patterns))
    return re.compile(text, re.DOTALL) if text else None


def _checked(pattern: str) -> str:
    """Return the expression of a pattern.

    Raises:
        SourceError: it is none.
    """
    try:
        text = _regex(pattern)
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise SourceError(f"exclude: {pattern!r} under [source] is no pattern: {error}") from None
    return text


def _regex(pattern: str) -> str:
    """Return the expression of a pattern; it takes at most a time that grows as the square of a path's length.

    Where something follows at the first place that it can, any later place is as good for what comes after it, and is
    not tried: else each wildcard would multiply the time by the length.
    """
    body = unicodedata.normalize("NFC", pattern.removeprefix("!").removeprefix("/"))
    body = _ESCAPED.sub(lambda found: "/" if found[1] == "/" else found[0], body)
    end = "/" if body.endswith("/") else "/?"
    first, *others = body.rstrip("/").split("/")
    if not others:
        return _name(first) + end
    text, names, after_any = "", list[str](), False
    for name in (first, *others):
        if name != _ANY_FOLDERS:
            names.append(_name(name))
            continue
        below = "".join(f"{one}/" for one in names)
        text += f"(?>(?:.*?/)??{below})" if after_any else below
        names, after_any = [], True
    if not names:
        return text + ".+" + end
    return text + ("(?:.*/)?" if after_any else "") + "/".join(names) + end


def _name(pattern: str) -> str:
    """Return the expression of what stands between two ``/``; several ``*`` are as one, and no name is empty."""
    if pattern and not pattern.strip("*"):
        return "[^/]+"
    parts = [""]
    for piece in _WILD.split(pattern):
        if piece.startswith("*"):
            parts.append("")
        else:
            parts[-1] += _piece(piece)
    first, *middle = parts
    last = middle.pop() if middle else None
    return first + "".join(f"(?>[^/]*?{one})" for one in middle) + ("" if last is None else f"[^/]*{last}")


def _piece(text: str) -> str:
    """Return the expression of a wildcard that stands for one letter, of an escaped letter, or of plain text."""
    if text == "?":
        return "[^/]"
    if text.startswith("\\") and len(text) > 1:
        return re.escape(text[1:])
    if text.startswith("[") and text.endswith("]") and len(text) > 2:
        turned = text[1] in "!^"
        return "(?!/)[" + ("^" if turned else "") + _IN_SET.sub(_in_set, text[1 + turned : -1]) + "]"
    if text.endswith("\\"):
        raise re.error("a \\ at its end stands before nothing")
    return re.escape(text)


def _in_set(found: re.Match[str]) -> str:
    """Return a part of a set as Python writes it, which keeps some letters for operations on sets."""
    if found["named"] is not None:
        if found["named"] not in _NAMED:
            raise re.error(f"[:{found['named']}:] is no set of letters; there are: {', '.join(_NAMED)}")
        return _NAMED[found["named"]]
    return r"-\-" if found["other"] == "--" else re.escape(found["escaped"] or found["other"])
