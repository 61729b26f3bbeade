"""Frozen networks below the stack: pixels or text in, features out; and their cache.

The graphs see one item at a time, on one thread and without padding, so the features of an item do not depend on the
items next to it. Several threads may use one network. Legend: H, W sides of a picture, T tokens, F features.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import session
from aepipe.errors import CorruptError
from aepipe.sources.item import Decode
from aepipe.store import layout

GRAPH = layout.Backbone.GRAPH
TOKENIZER = layout.Backbone.TOKENIZER
VERSION = 1
"""Of the artifact of a network; another one makes the artifact anew."""
LONGEST = 256
"""Tokens of a text that are read, including those that mark its beginning and end."""
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Backbone:
    """A network for pictures, float32[1, 3, H, W].

    Its first output is [1, F], or [1, F, h, w], which is averaged.

    Args:
        file: of the graph, ONNX.
        mean: subtracted from the pixels, 0..255: one number, or one for each of red, green and blue.
        scale: that they are then divided by.

    Attributes:
        sha256: of the file, hex.

    Raises:
        CorruptError: the file is no such graph.
    """

    def __init__(self, file: Path, *, mean: Sequence[float], scale: Sequence[float]) -> None:
        try:
            graph = whole_graph(file)
            self._session = session(graph)
            (given,) = self._session.get_inputs()
        except (OSError, RuntimeError, ValueError) as error:
            raise CorruptError(f"{file}: not a network that can be used: {_first_line(error)}") from None
        if len(given.shape) != 4 or given.shape[1] != 3 or given.type != "tensor(float)":
            raise CorruptError(f"{file}: takes {given.type} {given.shape}, and float [1, 3, H, W] is what can be given")
        self.sha256 = _digest_of(graph)
        self._file = file
        self._input = given.name
        self._mean, self._scale = (np.array(one, np.float32).reshape(-1, 1, 1) for one in (mean, scale))

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return the features of uint8[H, W, 3], float16[F], of unit length.

        Raises:
            CorruptError: the network does not take pictures of that size, or its output has another shape.
        """
        channels = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
        prepared = ((channels - self._mean) / self._scale)[None]
        found = _run(self._session, {self._input: prepared}, self._file)
        return _unit(found.mean(axis=(2, 3)) if found.ndim == 4 else found, self._file)


class SentenceEncoder:
    """A network for text, with its tokenizer.

    Its first output is [1, F], or [1, T, F], which is averaged.

    Args:
        folder: with the network and ``tokenizer.json``, as the library tokenizers writes it.
        graph: name of the network's file, ONNX.

    Attributes:
        sha256: of both files, hex.

    Raises:
        CorruptError: one of them cannot be used.
    """

    def __init__(self, folder: Path, graph: str = GRAPH) -> None:
        from tokenizers import Tokenizer

        try:
            network = whole_graph(folder / graph)
            self._session = session(network)
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # the libraries' errors have no base in common
            raise CorruptError(f"{folder}: no sentence encoder: {_first_line(error)}") from None
        self._inputs = [one.name for one in self._session.get_inputs()]
        if strange := set(self._inputs) - set(_INPUTS):
            raise CorruptError(f"{folder / graph}: wants {sorted(strange)}; {', '.join(_INPUTS)} is what can be given")
        # A tokenizer's file may ask for padding, which would make features depend on its length.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)
        self._file = folder / graph
        self.sha256 = _digest_of(network, (folder / TOKENIZER).read_bytes())

    def __call__(self, text: str) -> NDArray[np.float16]:
        """Return the features of a text, float16[F], of unit length.

        Raises:
            CorruptError: the network fails, or its output has another shape.
        """
        tokens = np.array([self._tokenizer.encode(text).ids], np.int64)
        given = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        found = _run(self._session, {name: given[name] for name in self._inputs}, self._file)
        return _unit(found.mean(axis=1) if found.ndim == 3 else found, self._file)


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """A network as a recipe names it.

    Attributes:
        name: of a network that a package brings; empty for one of the user's own.
        files: of one of the user's own, by the names that they have in the store.
        sha256: of these files.
        width: F, features of an item.
        size: height and width of the pictures that it takes; None for a network that reads text.
    """

    name: str
    files: Mapping[str, Path]
    sha256: str
    width: int
    size: tuple[int, int] | None = None

    def inputs(self) -> dict[str, Any]:
        """Return everything that its artifact in a store depends on, for the digest."""
        size = list(self.size) if self.size else None
        return {"stage": "equip", "version": VERSION, "name": self.name, "sha256": self.sha256, "size": size}


class BackboneSource:
    """The part of a source that may have a frozen network; without one it is like any other.

    Attributes:
        backbone: the network whose features are the rows; None where the kind makes rows by itself.
    """

    backbone: BackboneSpec | None = None
    _ref: str = ""
    _sha256: str = ""
    _decode: Decode | None = None
    _cache: FeatureCache | None = None

    def attach(self, folder: Path, ref: str) -> None:
        """Open the network.

        Args:
            folder: with its files.
            ref: its artifact in the store, which becomes a part of the features' description.

        Raises:
            CorruptError: it cannot be used.
        """
        raise NotImplementedError

    def attach_later(self, ref: str, sha256: str, folder: Callable[[], Path]) -> None:
        """Open the network only when an item is decoded that no earlier rows have.

        Args:
            ref: its artifact in the store.
            sha256: of its files, as :meth:`attach` finds it.
            folder: gives the folder of its files.
        """
        self._ref, self._sha256 = ref, sha256

        def decode(data: bytes, key: str) -> NDArray[np.generic]:
            self.attach(folder(), ref)
            assert self._decode is not None
            return self._decode(data, key)

        self._decode = decode

    def use_cache(self, cache: FeatureCache) -> None:
        """Take features from a cache where it has them, and put new ones there."""
        self._cache = cache

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        """Return the row of one item: as the kind makes it, or float16[F] by the network.

        Raises:
            ItemError: the bytes cannot be decoded.
        """
        decode = self._decode
        assert decode is not None, "fitted() or attach() comes first"
        return self._cached(data, lambda: decode(data, key)) if self.backbone else decode(data, key)

    def _cached(self, data: bytes, make: Callable[[], NDArray[np.generic]]) -> NDArray[Any]:
        """Return the features of an item, by its bytes: from the cache, or made and put there."""
        digest = hashlib.sha256(data).digest()
        known = None if self._cache is None else self._cache.get(digest)
        if known is None:
            known = make()
            if self._cache is not None:
                self._cache.put(digest, known)
        return known


class FeatureCache:
    """Features of items on disk, by the digest of the items' bytes.

    So a run that was killed computes no item again when it goes on.

    Two files in the folder are only ever appended to: ``sha256``, 32 bytes an item, and ``features``. What a killed
    process left half written is cut off when they are opened. One process writes at a time; others only read.

    Args:
        folder: made where it is missing.
        width: numbers of an item.
        dtype: of these numbers.

    Attributes:
        writable: this process is the one that writes.
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
        """Return the features of an item; None where the cache has none."""
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


def digest_of(*files: Path) -> str:
    """Return the sha256 over some files, hex."""
    return _digest_of(*(file.read_bytes() for file in files))


def _digest_of(*contents: bytes) -> str:
    digest = hashlib.sha256()
    for data in contents:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def whole_graph(file: Path) -> bytes:
    """Return a graph with all of its weights, also those in files of their own.

    So the store holds, and digests cover, everything that an answer depends on.

    Raises:
        OSError: a file cannot be read.
        CorruptError: its weights lie outside of its folder, behind a link, or are missing; or it is too large for one
            file, which may have 2 GB.
    """
    data = file.read_bytes()
    if b"location" not in data or find_spec("onnx") is None:  # a graph in the store is whole
        return data
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    try:
        model = onnx.load_model_from_string(data)
        names = sorted({_location(tensor) for tensor in _outside(model)})
        for name in names:
            _check_beside(file, name)
        if not names:
            return data
        load_external_data_for_model(model, str(file.parent))
        return bytes(model.SerializeToString(deterministic=True))
    except CorruptError:
        raise
    except Exception as error:  # the library's errors have no base in common
        raise CorruptError(f"{file}: its weights cannot be read: {_first_line(error)}") from None


def _outside(model: Any) -> list[Any]:  # noqa: ANN401  onnx has no types
    """Return the tensors of a graph whose values lie in other files."""
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    return [tensor for tensor in _get_all_tensors(model) if uses_external_data(tensor)]


def _location(tensor: Any) -> str:  # noqa: ANN401
    return next((str(entry.value) for entry in tensor.external_data if entry.key == "location"), "")


def _check_beside(file: Path, name: str) -> None:
    """Refuse weights that do not lie in the folder of their graph.

    Raises:
        CorruptError: they lie elsewhere, or are missing.
    """
    beside = file.parent / name
    inside = beside.parent.resolve().is_relative_to(file.parent.resolve()) and not beside.is_symlink()
    if not name or Path(name).is_absolute() or not inside:
        raise CorruptError(f"{file}: names weights outside of its folder: {name!r}; they have to lie beside it")
    if not beside.is_file():
        raise CorruptError(f"{file}: its weights, {name}, are not beside it; copy that file, too")


def _run(network: Any, inputs: Mapping[str, NDArray[Any]], file: Path) -> NDArray[np.float64]:  # noqa: ANN401
    """Return the first output of a network; ONNX Runtime has no types."""
    try:
        return np.asarray(network.run(None, dict(inputs))[0], np.float64)
    except Exception as error:  # the library's errors have no base in common
        raise CorruptError(f"{file}: {_first_line(error)}") from None


def _unit(found: NDArray[np.float64], file: Path) -> NDArray[np.float16]:
    """Return the features of one item, [1, F], as float16[F] of unit length.

    Raises:
        CorruptError: they have another shape, or are not finite.
    """
    if found.ndim != 2 or len(found) != 1 or not np.isfinite(found).all():
        raise CorruptError(f"{file}: gives {list(found.shape)} for one item, and [1, F] is wanted")
    length = float(np.sqrt(np.square(found).sum()))
    features: NDArray[np.float16] = (found[0] / max(length, 1e-12)).astype(np.float16)
    return features


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _opened(file: Path) -> IO[bytes]:
    # Python has no mode that makes a file and reads and writes anywhere in it, but leaves what is there.
    return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)


def _locked(stream: IO[bytes]) -> bool:
    """Take the lock of the writing process; return False where another has it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _size(stream: IO[bytes]) -> int:
    return os.fstat(stream.fileno()).st_size
