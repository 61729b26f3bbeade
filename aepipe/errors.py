"""Every error that aepipe raises on purpose.

AepipeError
├── RecipeError            a recipe that cannot be run: file, key, what is allowed
├── SourceError            a source that is missing, empty, or too full of unreadable items
├── ItemError              one item that cannot be decoded (quarantined at ingestion, fatal in a query)
├── CodeError              codes of the wrong length, bad hex, pad bits that are not zero
│   └── FingerprintError   codes of two encoders in one operation
├── TrainingError          a loss that is not finite
├── GateError              a new release that is worse than the one in service
├── ExtraError             an optional package that is not installed
├── QueryError             a question that cannot be asked: an unknown id, contradicting options
└── StoreError             anything about the shelf
    ├── NotFoundError      no such release, name or ref
    ├── CorruptError       bytes that differ from what their manifest says
    ├── BusyError          another run holds the same name
    └── FullError          no room left on the disk

A user's mistake raises one of these with the place, the value and what to do; the command line prints it as one line
and exits with status 2. ``assert`` is for our own bugs.
"""

from __future__ import annotations


class AepipeError(Exception):
    """Base of all errors that a user can mend; its text is one line, whatever the names and values in it are."""

    def __init__(self, text: str = "") -> None:
        super().__init__(" ".join(text.splitlines()))


class RecipeError(AepipeError):
    """A recipe that cannot be run; the text names the file, the key and what is allowed."""


class SourceError(AepipeError):
    """A source that is missing, empty, or has too large a share of unreadable items."""


class ItemError(AepipeError):
    """One item that cannot be decoded.

    ``reason`` is short and free of the key, so that a quarantine table can be grouped by it.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


class CodeError(AepipeError):
    """Codes of the wrong length, text that is not hex, or pad bits that are not zero."""


class FingerprintError(CodeError):
    """Codes of two different encoders in one operation; their distances would mean nothing."""


class TrainingError(AepipeError):
    """Training cannot go on: a loss is not finite."""


class GateError(AepipeError):
    """A new release is worse than the one in service, which therefore stays."""


class ExtraError(AepipeError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'aepipe[{extra}]'")


class QueryError(AepipeError):
    """A question that cannot be asked: an unknown id, an option that contradicts another."""


class StoreError(AepipeError):
    """Something is wrong with the shelf."""


class NotFoundError(StoreError):
    """No such release, name or ref on this shelf."""


class CorruptError(StoreError):
    """Bytes on the shelf differ from what their manifest says."""


class BusyError(StoreError):
    """Another run is writing under the same name."""


class FullError(StoreError):
    """There is no room left on the disk."""
