"""A frozen network below the stack: decoded pixels in, the features of a row out.

The graph sees one picture at a time, on one thread: so a picture's features do not depend on those beside it. Several
threads may each show it a picture. Legend: H, W sides of a picture, F features.
"""

# (from sentences.py) A sentence encoder below the stack: text in, the features of a row out.
# (from sentences.py)
# (from sentences.py) The graph sees one text at a time, on one thread, and no padding: so its features do not depend on what stands beside.

# (from feature_cache.py) Features of items by their bytes, kept on the disk: a run that was killed goes on, and no item is looked at twice.
# (from feature_cache.py)
# (from feature_cache.py) Files in the folder, both only ever appended to: ``sha256``, 32 bytes an item, and ``features``. What a killed process
# (from feature_cache.py) left half written is cut off when they are opened. One process writes at a time; others do without.

# (from seeing.py) Sources whose items a frozen network looks at, below the stack.

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import session
from aepipe.errors import CorruptError
from aepipe.store import layout

GRAPH = layout.Backbone.GRAPH


class Backbone:
    """A network whose input is float32[1, 3, H, W], and whose first output is [1, F], or [1, F, h, w] to be averaged.

    Args:
        file: of the graph, ONNX.
        mean: taken from the pixels, 0..255: one number, or one for each of red, green and blue.
        scale: what they are then divided by.

    Attributes:
        sha256: of the file, hex.

    Raises:
        CorruptError: the file is no such graph.
    """

    def __init__(self, file: Path, *, mean: Sequence[float], scale: Sequence[float]) -> None:
        try:
            self._session = session(file.read_bytes())
            (given,) = self._session.get_inputs()
        except (OSError, RuntimeError, ValueError) as error:
            raise CorruptError(f"{file}: not a network that can be used: {str(error).splitlines()[0]}") from None
        if len(given.shape) != 4 or given.shape[1] != 3 or given.type != "tensor(float)":
            raise CorruptError(f"{file}: takes {given.type} {given.shape}, and float [1, 3, H, W] is what can be given")
        self.sha256 = digest_of(file)
        self._file = file
        self._input = given.name
        self._mean, self._scale = (np.array(one, np.float32).reshape(-1, 1, 1) for one in (mean, scale))

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return the features of uint8[H, W, 3], float16[F], of unit length.

        Raises:
            CorruptError: the network does not take pictures of that size, or gives something else.
        """
        channels = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
        prepared = ((channels - self._mean) / self._scale)[None]
        try:
            found = np.asarray(self._session.run(None, {self._input: prepared})[0], np.float64)
        except Exception as error:  # the library's errors have no base in common
            raise CorruptError(f"{self._file}: {str(error).splitlines()[0]}") from None
        if found.ndim == 4:
            found = found.mean(axis=(2, 3))
        return unit(found, self._file)


def unit(found: NDArray[np.float64], file: Path) -> NDArray[np.float16]:
    """Return the features of one item, [1, F], as float16[F] of unit length.

    Raises:
        CorruptError: they are none; the text names the file of the network.
    """
    if found.ndim != 2 or len(found) != 1 or not np.isfinite(found).all():
        raise CorruptError(f"{file}: gives {list(found.shape)} for one item, and [1, F] is wanted")
    length = float(np.sqrt(np.square(found).sum()))
    features: NDArray[np.float16] = (found[0] / max(length, 1e-12)).astype(np.float16)
    return features


def digest_of(*files: Path) -> str:
    """Return the sha256 over some files, hex."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


TOKENIZER = layout.Backbone.TOKENIZER
LONGEST = 256
"""Tokens of a text that are read, with those that mark its beginning and end."""
_KNOWN = ("input_ids", "attention_mask", "token_type_ids")


class Sentences:
    """A network whose first output is [1, F], or [1, T, F] to be averaged, and its tokenizer.

    Args:
        folder: with the network and ``tokenizer.json``, as the library tokenizers has it.
        graph: name of the network's file, ONNX.

    Attributes:
        sha256: of both files, hex.

    Raises:
        CorruptError: one of them cannot be used.
    """

    def __init__(self, folder: Path, graph: str = GRAPH) -> None:
        from tokenizers import Tokenizer

        try:
            self._session = session((folder / graph).read_bytes())
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # the libraries' errors have no base in common
            raise CorruptError(f"{folder}: no sentence encoder: {str(error).splitlines()[0]}") from None
        self._inputs = [one.name for one in self._session.get_inputs()]
        if strange := set(self._inputs) - set(_KNOWN):
            raise CorruptError(f"{folder / graph}: wants {sorted(strange)}; {', '.join(_KNOWN)} is what can be given")
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)
        self._file = folder / graph
        self.sha256 = digest_of(self._file, folder / TOKENIZER)

    def __call__(self, text: str) -> NDArray[np.float16]:
        """Return the features of a text, float16[F], of unit length.

        Raises:
            CorruptError: the network gives something else.
        """
        tokens = np.array([self._tokenizer.encode(text).ids], np.int64)
        given = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        try:
            found = np.asarray(self._session.run(None, {name: given[name] for name in self._inputs})[0], np.float64)
        except Exception as error:  # the library's errors have no base in common
            raise CorruptError(f"{self._file}: {str(error).splitlines()[0]}") from None
        return unit(found.mean(axis=1) if found.ndim == 3 else found, self._file)


class FeatureCache:
    """The features of many items.

    Args:
        folder: is made where it is missing.
        width: numbers of an item.
        dtype: of them.
    """

    def __init__(self, folder: Path, *, width: int, dtype: str) -> None:
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._bytes = width * self._dtype.itemsize
        self._lock = Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._digests, self._features = (_opened(folder / name) for name in ("sha256", "features"))
        self.writable = _locked(self._digests)
        count = min(_size(self._digests) // 32, _size(self._features) // self._bytes)
        if self.writable:
            self._digests.truncate(32 * count)
            self._features.truncate(self._bytes * count)
        self._digests.seek(0)
        held = self._digests.read(32 * count)
        self._places = {held[32 * i : 32 * i + 32]: i for i in range(count)}
        self._next = count

    def __len__(self) -> int:
        return len(self._places)

    def get(self, sha256: bytes) -> NDArray[Any] | None:
        """Return the features of an item, None where it was never looked at."""
        place = self._places.get(sha256)
        if place is None:
            return None
        data = os.pread(self._features.fileno(), self._bytes, place * self._bytes)
        return np.frombuffer(data, self._dtype) if len(data) == self._bytes else None

    def put(self, sha256: bytes, features: NDArray[Any]) -> None:
        """Keep the features of an item."""
        if not self.writable:
            return
        with self._lock:
            if sha256 in self._places:
                return
            # The digest comes last: a digest without features would be a lie.
            os.pwrite(self._features.fileno(), features.astype(self._dtype).tobytes(), self._next * self._bytes)
            os.pwrite(self._digests.fileno(), sha256, self._next * 32)
            self._places[sha256] = self._next
            self._next += 1

    def close(self) -> None:
        """Let others write."""
        self._digests.close()
        self._features.close()


def _opened(file: Path) -> IO[bytes]:
    """Open a file for reading and writing, without emptying it."""
    return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)


def _locked(stream: IO[bytes]) -> bool:
    """Say whether this process may write."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _size(stream: IO[bytes]) -> int:
    """Return the bytes of a file."""
    return os.fstat(stream.fileno()).st_size


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """A network as a recipe names it.

    Attributes:
        name: of a network that a package brings; empty for one of the user's own.
        files: of one of the user's own, by the name that they bear on the shelf.
        sha256: of these.
        width: F, features of an item.
    """

    name: str
    files: Mapping[str, Path]
    sha256: str
    width: int


class BackboneSource:
    """What such a source has beside what all sources have; without ``backbone`` it is like any other."""

    backbone: BackboneSpec | None = None
    _ref: str = ""
    _cache: FeatureCache | None = None

    def equip(self, folder: Path, ref: str) -> None:
        """Take the network, and what the shelf calls it.

        Raises:
            CorruptError: it cannot be used.
        """
        raise NotImplementedError

    def remember(self, cache: FeatureCache) -> None:
        """Take features from a cache, and put new ones there."""
        self._cache = cache

    def _remembered(self, data: bytes, look: Callable[[], NDArray[np.generic]]) -> NDArray[Any]:
        """Return the features of an item, by its bytes, from the cache where they are there."""
        digest = hashlib.sha256(data).digest()
        known = None if self._cache is None else self._cache.get(digest)
        if known is None:
            known = look()
            if self._cache is not None:
                self._cache.put(digest, known)
        return known
