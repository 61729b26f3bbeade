"""The frozen encoder: decoded items in, codes and embeddings out. It makes every code.

The graph has a fixed batch of B rows and runs on one thread; a shorter batch is filled with zeros. So every row goes
through the same arithmetic in the same order, and its bits depend neither on the other rows of its batch nor on its
place among them. For many rows, several threads each call the same graph.

Embeddings describe a row more finely than its code; they are kept as signed bytes. Rows are compared by the cosine of
their angle, which does not depend on their lengths. So each row is scaled to the range of a byte by itself, and no
scale is kept.

Legend: N rows, H width of the embedding, K bits, B rows per call of the graph.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BIT_ORDER, BitCodes
from aepipe.errors import CorruptError

GRAPH = "encoder.onnx"
CARD = "encoder.json"
DECODER = "decoder.onnx"
FILE = "embedding.npy"
DECODED = 256
"""Items that the decoder rebuilds in one call."""
REMEDY = "`aepipe verify` lists the damage"
LARGEST = 127
"""The largest absolute value of a quantized row."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """Codes of N rows, and the float vectors behind them.

    Attributes:
        codes: N codes of K bits.
        embedding: float32[N, H], the mean of the last layer below the bits, or of the lowest one, lifted.
        logits: float32[N, K], the distance of each bit above its threshold.
    """

    codes: BitCodes
    embedding: NDArray[np.float32]
    logits: NDArray[np.float32]

    def __getitem__(self, some: NDArray[np.bool_]) -> Encoding:
        """Return a part, by a mask."""
        return Encoding(self.codes[some], self.embedding[some], self.logits[some])

    def lost(self) -> NDArray[np.bool_]:
        """Say which items have no code, bool[N].

        The graph gives numbers for them that are not finite.
        """
        known: NDArray[np.bool_] = np.isfinite(self.embedding).all(axis=1, keepdims=True) & ~np.isnan(self.logits)
        return np.asarray(~known.all(axis=1))


@dataclass(frozen=True, slots=True)
class Card:
    """Facts about the graph that stand outside of it; all are part of the fingerprint.

    Attributes:
        source: kind of source; its decoder makes the graph's input.
        features: that decoder's options.
        shape: of one decoded item.
        n_bits: K.
        batch: B.
        dtype: of one decoded item: ``uint8``, where 255 stands for 1, or a kind of float.
        bit_order: see :mod:`aepipe.codes.bitcodes`.
    """

    source: str
    features: dict[str, Any]
    shape: tuple[int, ...]
    n_bits: int
    batch: int
    dtype: str = "uint8"
    bit_order: str = BIT_ORDER


class Encoder:
    """A frozen graph with its card.

    Attributes:
        fingerprint: sha256 over the bytes of the graph (preprocessing, weights, thresholds) and of the card.
        card: facts about the graph.
    """

    def __init__(self, graph: bytes, card: bytes, file: str = GRAPH) -> None:
        self._file = file
        self.fingerprint = fingerprint(graph, card)
        self.card = _read_card(card)
        self._session = session(graph)

    @classmethod
    def open(cls, folder: Path) -> Encoder:
        """Open the encoder of a model folder.

        Raises:
            CorruptError: a file is missing or is not an encoder.
        """
        try:
            return cls((folder / GRAPH).read_bytes(), (folder / CARD).read_bytes(), str(folder / GRAPH))
        except FileNotFoundError as error:
            raise CorruptError(f"{error.filename}: missing; {REMEDY}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"{folder / CARD}: corrupt: {error}; {REMEDY}") from None
        except RuntimeError as error:
            raise CorruptError(f"{folder / GRAPH}: corrupt: {str(error).splitlines()[0]}; {REMEDY}") from None

    @property
    def n_bits(self) -> int:
        """K."""
        return self.card.n_bits

    @property
    def width(self) -> int:
        """H."""
        shape: list[int] = next(one.shape for one in self._session.get_outputs() if one.name == "embedding")
        return shape[1]

    def encode(self, items: NDArray[np.generic], *, threads: int = 1) -> Encoding:
        """Encode decoded items.

        Args:
            items: [N, *shape] of the card's dtype, as the source's decoder gives them.
            threads: batches that are encoded at the same time; the result does not depend on it.

        Raises:
            ValueError: the items have another shape.
            CorruptError: the graph cannot be computed.
        """
        if items.shape[1:] != self.card.shape:
            raise ValueError(f"items of shape {items.shape[1:]}: this encoder takes {self.card.shape}")
        starts = range(0, len(items), self.card.batch)
        if threads == 1 or len(starts) <= 1:
            parts = [self._run(items[i : i + self.card.batch]) for i in starts]
        else:
            with ThreadPoolExecutor(threads) as pool:
                parts = list(pool.map(lambda i: self._run(items[i : i + self.card.batch]), starts))
        # Without items, the graph still gives the widths of the empty results.
        parts = parts or [self._run(items)]
        codes = BitCodes.from_bits(np.concatenate([bits for _, _, bits in parts]), self.fingerprint)
        embedding = np.concatenate([embedding for embedding, _, _ in parts])
        return Encoding(codes, embedding, np.concatenate([logits for _, logits, _ in parts]))

    def _run(self, items: NDArray[np.generic]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
        """Encode at most B items; return embedding, logits and bits of each."""
        n = len(items)
        given = np.zeros((self.card.batch, *self.card.shape), np.uint8 if self.card.dtype == "uint8" else np.float32)
        given[:n] = items
        embedding, logits, bits = _computed(self._session, ["embedding", "logits", "bits"], given, self._file)
        return embedding[:n], logits[:n], bits[:n]


class Decoder:
    """A frozen graph that rebuilds items from their codes; no code depends on it."""

    def __init__(self, graph: bytes, file: str = DECODER) -> None:
        self._file = file
        self._session = session(graph)

    @classmethod
    def open(cls, folder: Path) -> Decoder | None:
        """Open the decoder of a model folder; None in models of old versions, which have no decoder.

        Raises:
            CorruptError: the file is not a decoder.
        """
        file = folder / DECODER
        try:
            return cls(file.read_bytes(), str(file)) if file.exists() else None
        except RuntimeError as error:
            raise CorruptError(f"{file}: corrupt: {str(error).splitlines()[0]}; {REMEDY}") from None

    def errors(self, items: NDArray[np.generic], codes: BitCodes) -> NDArray[np.float32]:
        """Return the distance of items from their decoded codes, float32[N].

        It is the root mean square over the cells of an item.


        Args:
            items: [N, *shape], as they go into the encoder; missing cells (NaN) do not count.
            codes: of these items.

        Raises:
            CorruptError: the graph cannot be computed, or gives other items.
        """
        bits = codes.unpack()
        parts = [np.empty(0, np.float32)]
        for start in range(0, len(items), DECODED):
            (rebuilt,) = _computed(self._session, ["items"], bits[start : start + DECODED], self._file)
            given = scaled(items[start : start + DECODED].reshape(len(bits[start : start + DECODED]), -1))
            if rebuilt.size != given.size:
                raise CorruptError(f"{self._file}: corrupt: it gives items of shape {rebuilt.shape[1:]}; {REMEDY}")
            # A missing cell has no error; an item without any cell must not divide by zero.
            known, off = np.isfinite(given), rebuilt.reshape(given.shape) - np.nan_to_num(given)
            parts.append(np.sqrt(np.square(off * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)))
        return np.concatenate(parts)


def why_lost(item: NDArray[np.generic]) -> str:
    """Return why an item has no code, see :meth:`Encoding.lost`."""
    if np.isnan(item.astype(np.float32)).any():
        return "a value is missing; only a net that says `holes = true` reads rows with missing values"
    return "its numbers are too large for the encoder"


def quantize(embedding: NDArray[np.float32]) -> NDArray[np.int8]:
    """Scale float32[N, H] to int8[N, H]; the largest absolute value of each row becomes 127."""
    scale = np.abs(embedding).max(axis=1, keepdims=True, initial=0)
    return np.rint(embedding * (LARGEST / np.where(scale > 0, scale, 1))).astype(np.int8)


def cosines(
    query: NDArray[np.generic], rows: NDArray[np.generic], lengths: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return the cosines between a vector and rows, float32[N]; 0 for a zero vector.

    Args:
        query: [H].
        rows: [N, H].
        lengths: float32[N], of the rows, as :func:`lengths_of` returns them, where they are known.
    """
    one, others = query.astype(np.float32), rows.astype(np.float32, copy=False)
    # A zero vector has no angle, so its cosine is set to 0 and not computed.
    lengths = np.linalg.norm(one) * (lengths_of(others) if lengths is None else lengths)
    products = others @ one
    found: NDArray[np.float32] = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return found


def lengths_of(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the length of each row of [N, H], float32[N]."""
    found: NDArray[np.float32] = np.linalg.norm(rows.astype(np.float32, copy=False), axis=1)
    return found


def scaled(items: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return decoded items as inputs of a network: bytes scaled to 0..1, floats as they are."""
    return items.astype(np.float32) * np.float32(1 / 255) if items.dtype == np.uint8 else items.astype(np.float32)


def _computed(graph: Any, names: list[str], given: NDArray[np.generic], file: str) -> list[Any]:  # noqa: ANN401
    """Return the outputs of an open graph, which has one input.

    Raises:
        CorruptError: it cannot be computed.
    """
    try:
        found: list[Any] = graph.run(names, {graph.get_inputs()[0].name: given})
    except Exception as error:  # the library's own errors have no base in common
        raise CorruptError(f"{file}: corrupt: {str(error).partition(chr(10))[0][:200]}; {REMEDY}") from None
    return found


CUDA = "CUDAExecutionProvider"


def has_cuda() -> bool:
    """Whether the installed onnxruntime can use a graphics card of NVIDIA's."""
    import onnxruntime

    return CUDA in onnxruntime.get_available_providers()


def session(graph: bytes, *, cuda: bool = False) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Open a graph on one thread.

    Args:
        graph: ONNX.
        cuda: on a graphics card, where onnxruntime can use one.

    Raises:
        RuntimeError: it cannot be read.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # the library reads it at its import
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread: sums in another order could flip a bit near its threshold.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, too
    try:
        providers = [*([CUDA] if cuda and has_cuda() else []), "CPUExecutionProvider"]
        return onnxruntime.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # the library's own errors have no base in common
        raise RuntimeError(str(error)) from None


def fingerprint(graph: bytes, card: bytes) -> str:
    """Return the digest over an encoder's two files."""
    return hashlib.sha256(hashlib.sha256(graph).digest() + hashlib.sha256(card).digest()).hexdigest()


def write_card(folder: Path, card: Card) -> None:
    """Write the card into the folder of the graph."""
    fields = {name: getattr(card, name) for name in Card.__slots__}
    (folder / CARD).write_text(json.dumps(fields, sort_keys=True), encoding="utf-8")


def _read_card(card: bytes) -> Card:
    """Read a card from :func:`write_card`."""
    fields = json.loads(card)
    found = Card(**{**fields, "shape": tuple(fields["shape"])})
    if found.bit_order != BIT_ORDER:
        raise ValueError(f"bit order {found.bit_order!r}, this version reads {BIT_ORDER!r}")
    return found
