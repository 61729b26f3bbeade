"""The frozen encoder: decoded items in, codes out. One implementation makes every code, at night and in a query.

Legend: N rows, H width of the embedding, K bits, B rows per call of the graph.

The graph has a fixed batch of B rows and runs on one thread; a shorter batch is filled with zeros. So every row goes
through the same arithmetic in the same order, and its bits depend neither on the rows beside it nor on where it stands.
Many rows are encoded by several threads that each call the same graph.
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

from aepipe.bits import BIT_ORDER, BitCodes
from aepipe.errors import CorruptError

GRAPH = "encoder.onnx"
CARD = "encoder.json"


@dataclass(frozen=True, slots=True)
class Card:
    """What must be known beside the graph; all of it is part of the fingerprint.

    Attributes:
        source: kind of source whose decoder makes the graph's input.
        features: that decoder's options.
        shape: of one decoded item.
        n_bits: K.
        batch: B.
        bit_order: see :mod:`aepipe.bits`.
    """

    source: str
    features: dict[str, Any]
    shape: tuple[int, ...]
    n_bits: int
    batch: int
    bit_order: str = BIT_ORDER


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """Codes of N rows, and the float vectors they were made from.

    Attributes:
        codes: N codes of K bits.
        embedding: float32[N, H], the mean of the last layer below the bits.
        logits: float32[N, K], how far each bit is above its threshold.
    """

    codes: BitCodes
    embedding: NDArray[np.float32]
    logits: NDArray[np.float32]


class Encoder:
    """A frozen graph with its card.

    Attributes:
        fingerprint: sha256 over the bytes of the graph (preprocessing, weights, thresholds) and of the card.
        card: what must be known beside the graph.
    """

    def __init__(self, graph: bytes, card: bytes) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported
        import onnxruntime

        self.fingerprint = fingerprint(graph, card)
        self.card = _read_card(card)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    @classmethod
    def open(cls, folder: Path) -> Encoder:
        """Open the encoder of a model folder.

        Raises:
            CorruptError: a file is missing or is not an encoder.
        """
        try:
            return cls((folder / GRAPH).read_bytes(), (folder / CARD).read_bytes())
        except FileNotFoundError as error:
            raise CorruptError(f"{error.filename}: missing; `aepipe verify` lists what is damaged") from None
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"{folder / CARD}: corrupt: {error}") from None
        except RuntimeError as error:  # what onnxruntime raises for a graph it cannot read
            raise CorruptError(f"{folder / GRAPH}: corrupt: {str(error).splitlines()[0]}") from None

    @property
    def n_bits(self) -> int:
        """K."""
        return self.card.n_bits

    def encode(self, items: NDArray[np.uint8], *, threads: int = 1) -> Encoding:
        """Encode decoded items.

        Args:
            items: uint8[N, *shape], as the source's decoder gives them.
            threads: how many batches are encoded at a time; the result does not depend on it.

        Raises:
            ValueError: the items have another shape.
        """
        if items.shape[1:] != self.card.shape:
            raise ValueError(f"items of shape {items.shape[1:]}: this encoder takes {self.card.shape}")
        starts = range(0, len(items), self.card.batch)
        if threads == 1 or len(starts) <= 1:
            parts = [self._run(items[i : i + self.card.batch]) for i in starts]
        else:
            with ThreadPoolExecutor(threads) as pool:
                parts = list(pool.map(lambda i: self._run(items[i : i + self.card.batch]), starts))
        parts = parts or [self._run(items)]
        codes = BitCodes.from_bits(np.concatenate([bits for _, _, bits in parts]), self.fingerprint)
        embedding = np.concatenate([embedding for embedding, _, _ in parts])
        return Encoding(codes, embedding, np.concatenate([logits for _, logits, _ in parts]))

    def _run(self, items: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
        """Encode at most B items: embedding, logits and bits of each."""
        n = len(items)
        if n < self.card.batch:
            items = np.concatenate([items, np.zeros((self.card.batch - n, *self.card.shape), np.uint8)])
        embedding, logits, bits = self._session.run(["embedding", "logits", "bits"], {"items": items})
        return embedding[:n], logits[:n], bits[:n]


def fingerprint(graph: bytes, card: bytes) -> str:
    """Return the digest of an encoder's two files."""
    return hashlib.sha256(hashlib.sha256(graph).digest() + hashlib.sha256(card).digest()).hexdigest()


def write_card(folder: Path, card: Card) -> None:
    """Write the card beside the graph."""
    fields = {name: getattr(card, name) for name in Card.__slots__}
    (folder / CARD).write_text(json.dumps(fields, sort_keys=True), encoding="utf-8")


def _read_card(card: bytes) -> Card:
    """Read what :func:`write_card` wrote."""
    fields = json.loads(card)
    found = Card(**{**fields, "shape": tuple(fields["shape"])})
    if found.bit_order != BIT_ORDER:
        raise ValueError(f"bit order {found.bit_order!r}, this version reads {BIT_ORDER!r}")
    return found
