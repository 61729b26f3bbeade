"""What a file is that only has the name of a table."""

from __future__ import annotations

from pathlib import Path

from aepipe.sources import pictures
from aepipe.sources.files import first_bytes, pointer_in

PARQUET, ARROW, SQLITE = b"PAR1", b"ARROW1", b"SQLite format 3\0"
ARRAYS = (b"\x93NUMPY", b"PK")
_HEAD = 1 << 13
_STARTS = {
    b"%PDF-": "a document (PDF)",
    b"{\\rtf": "a document (RTF)",
    b"fLaC": "a recording (FLAC)",
    b"ID3": "a recording (MP3)",
    b"OggS": "a recording (Ogg)",
    b"RIFF": "a recording or a film",
    b"\x1aE\xdf\xa3": "a film (Matroska)",
    PARQUET: "a Parquet file",
    ARROW: "an Arrow file",
    SQLITE: "a database of SQLite",
    b"\x93NUMPY": "an array of numpy",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old file of Office",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzipped file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x7fELF": "a program",
}


def other(path: Path, *own: bytes) -> str:
    """Return what a file is by its first bytes, and what to do.

    Args:
        path: of the file.
        own: first bytes of what it should be.

    Returns:
        Empty where it is what it should be, or that is not known.
    """
    try:
        head = first_bytes(str(path), _HEAD)
    except OSError:
        return ""
    if head.startswith(own):
        return ""
    if not head:
        return "it is empty"
    if reason := pointer_in(head):
        return reason
    what = _called(head)
    return f"it is {what}; give it the ending that belongs to it" if what else ""


def _called(head: bytes) -> str | None:
    """Return what bytes are, with an article."""
    if picture := pictures.format_of(head):
        return f"a picture ({picture})"
    if head[4:8] == b"ftyp":
        return "a film or a recording"
    return next((what for start, what in _STARTS.items() if head.startswith(start)), None)
