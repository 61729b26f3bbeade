"""Shards that are searched elsewhere: questions and answers as bytes, an index that asks.

What carries the bytes is not known here: the service over HTTP (:mod:`aepipe.serve.links`), or the handles of a
framework. A question names its release, so that no answer is made of two.

Legend: S shards, Q queries, k neighbours, K bits, W bytes of a code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, check_same, n_bytes
from aepipe.errors import CodeError, QueryError
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.shards import Part, Shard, Shards, split

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Arrays: TypeAlias = Mapping[str, NDArray[Any]]

TYPES = {"packed": "|u1", "values": "<f4", "where": "<i8", "allowed": "|u1"}
"""Arrays of a question: codes, floats, and the ids that may be found, one by one or a bit for each."""
FOUND = {"ids": "<i8", "distances": "<u2", "scores": "<f4", "counts": "<i8"}
"""Arrays of an answer."""
HEAD = 4
"""Bytes of the length of a head."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to one shard.

    Attributes:
        release: the digest of the release that is to answer.
        shard: as people write it: ``2/4``.
        n_bits: bits that are compared: the first ones, or all.
        k: rows that are wanted of each query; 0 with a radius.
        radius: bits; -1 for the k nearest.
        packed: uint8[Q, W], codes; None where ``values`` are given.
        values: float32[K], of one question that keeps its floats; None where codes are given.
        where: int64[n], the ids that may be found; None for all.
    """

    release: str
    shard: str
    n_bits: int
    k: int = 0
    radius: int = -1
    packed: NDArray[np.uint8] | None = None
    values: Floats | None = None
    where: Ids | None = None

    def pack(self) -> bytes:
        """Return the question as bytes."""
        head = {"release": self.release, "shard": self.shard, "n_bits": self.n_bits, "k": self.k, "radius": self.radius}
        arrays = {"packed": self.packed, "values": self.values, **_as_sent(self.where, self.shard)}
        return pack(head, {name: one for name, one in arrays.items() if one is not None}, TYPES)

    @classmethod
    def unpack(cls, data: bytes) -> Ask:
        """Read what :meth:`pack` wrote.

        Raises:
            QueryError: it is something else.
        """
        head, arrays = unpack(data, TYPES)
        texts, numbers = ("release", "shard"), ("n_bits", "k", "radius")
        if not all(isinstance(head.get(name), str) for name in texts) or ("packed" in arrays) == ("values" in arrays):
            raise QueryError("a question to a shard: not as this version of aepipe writes it")
        if not all(type(head.get(name)) is int for name in numbers) or not 1 <= head["n_bits"] <= 1 << 16:
            raise QueryError("a question to a shard: its numbers are wrong")
        packed, values = arrays.get("packed"), arrays.get("values")
        if packed is not None and (packed.ndim != 2 or packed.shape[1] != n_bytes(head["n_bits"])):
            raise CodeError(f"a question to a shard: its codes are none of {head['n_bits']} bits")
        if values is not None and values.shape != (head["n_bits"],):
            raise CodeError(f"a question to a shard: {head['n_bits']} floats are wanted")
        where = _as_asked(arrays, head["shard"])
        return cls(**{name: head[name] for name in (*texts, *numbers)}, packed=packed, values=values, where=where)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer of one shard.

    Attributes:
        ids: int64[T], of all hits, query by query.
        counts: int64[Q], the hits of each query.
        distances: uint16[T], bits; None where scores are given.
        scores: float32[T]; None where distances are given.
    """

    ids: Ids
    counts: Ids
    distances: NDArray[np.uint16] | None = None
    scores: Floats | None = None

    def pack(self) -> bytes:
        """Return the answer as bytes."""
        arrays = {"ids": self.ids, "counts": self.counts, "distances": self.distances, "scores": self.scores}
        return pack({}, {name: one for name, one in arrays.items() if one is not None}, FOUND)

    @classmethod
    def unpack(cls, data: bytes) -> Found:
        """Read what :meth:`pack` wrote.

        Raises:
            QueryError: it is something else.
        """
        _, arrays = unpack(data, FOUND)
        if not {"ids", "counts"} <= arrays.keys() or ("distances" in arrays) == ("scores" in arrays):
            raise QueryError("the answer of a shard: not as this version of aepipe writes it")
        return cls(**arrays)

    @classmethod
    def of_hits(cls, hits: Hits | RaggedHits) -> Found:
        """Return the answer that some hits are."""
        parts = [hits.of(query) for query in range(len(hits))]
        ids, distances = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
        return cls(ids, np.array([len(part[0]) for part in parts], np.int64), distances)

    def hits(self) -> RaggedHits:
        """Return the hits of an answer with distances."""
        assert self.distances is not None, "an answer with scores has no distances"
        return RaggedHits(self.ids, self.distances, np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)]))


Gather: TypeAlias = Callable[[Sequence[Ask], str], Sequence[Found]]
"""Asks each shard of a collection its question, all at a time.

Returns the answers: all of them, or, where whoever asks allows that, at least one.
"""


class RemoteShards:
    """An index whose shards lie elsewhere; it can be searched, and neither changed nor saved.

    Args:
        gather: asks the shards.
        name: of the collection.
        release: the digest of the release that is searched.
        n_bits: bits of a code.
        fingerprint: of the encoder.
        rows: of all shards.
        count: S.
    """

    def __init__(
        self, gather: Gather, name: str, release: str, n_bits: int, fingerprint: str, *, rows: int, count: int
    ) -> None:
        self.n_bits = n_bits
        self.fingerprint = fingerprint
        self._gather = gather
        self._name = name
        self._release = release
        self._rows = rows
        self._count = count

    def __len__(self) -> int:
        return self._rows

    def prefix(self, n_bits: int) -> RemoteShards:
        """Return an index by the first bits; see :meth:`aepipe.index.hamming.HammingIndex.prefix`."""
        shorter = BitCodes(np.zeros((0, n_bytes(self.n_bits)), np.uint8), self.n_bits, self.fingerprint).prefix(n_bits)
        of = self._name, self._release, n_bits, shorter.fingerprint
        return RemoteShards(self._gather, *of, rows=self._rows, count=self._count)

    def search(self, codes: BitCodes, k: int, where: Ids | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows; see :meth:`aepipe.index.hamming.HammingIndex.search`."""
        check_same(self, codes)
        if k < 1:
            raise QueryError(f"the {k} nearest rows: ask for at least 1")
        found = self._ask(where, k=min(k, max(1, self._rows)), packed=np.ascontiguousarray(codes.packed))
        return reduce(Hits.merge, [one.hits().first(k) for one in found])

    def within(self, codes: BitCodes, radius: int, where: Ids | None = None, *, threads: int = 1) -> RaggedHits:
        """Return all rows within a radius; see :meth:`aepipe.index.hamming.HammingIndex.within`."""
        check_same(self, codes)
        if radius < 0:
            raise QueryError(f"a radius of {radius} bits: it must be at least 0")
        found = self._ask(where, radius=radius, packed=np.ascontiguousarray(codes.packed))
        return RaggedHits.merge([one.hits() for one in found])

    def best(self, values: Floats, k: int, where: Ids | None = None) -> list[tuple[Ids, Floats]]:
        """Return ids and scores of the best rows of each shard; see :mod:`aepipe.index.asymmetric`."""
        found = self._ask(where, k=k, values=values.astype(np.float32))
        return [(one.ids, one.scores) for one in found if one.scores is not None]

    def _ask(self, where: Ids | None, **asked: Any) -> Sequence[Found]:  # noqa: ANN401  fields of Ask
        ask = Ask(self._release, "", self.n_bits, **asked)
        own = enumerate(split(where, self._count))
        asks = [replace(ask, shard=str(Shard(number, self._count)), where=some) for number, some in own]
        return self._gather(asks, self._name)


Index: TypeAlias = Part | Shards | RemoteShards
"""What a release is searched with."""


def pack(head: Mapping[str, Any], arrays: Arrays, types: Mapping[str, str]) -> bytes:
    """Return a head and arrays as bytes: the length of the head, the head as JSON, the arrays."""
    written = {name: np.ascontiguousarray(one, types[name]) for name, one in arrays.items()}
    shapes = {name: one.shape for name, one in written.items()}
    text = json.dumps({**head, "arrays": shapes}).encode()
    return b"".join([len(text).to_bytes(HEAD, "little"), text, *(one.tobytes() for one in written.values())])


def unpack(data: bytes, types: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what :func:`pack` wrote.

    Raises:
        QueryError: it is something else.
    """
    begin = HEAD + int.from_bytes(data[:HEAD], "little")
    arrays: dict[str, NDArray[Any]] = {}
    try:
        head = json.loads(data[HEAD:begin])
        for name, shape in head.pop("arrays").items():
            count = int(np.prod(np.array(shape, np.uint64), dtype=np.float64))
            kind = np.dtype(types[name])
            arrays[name] = np.frombuffer(data, kind, count, begin).reshape(shape).astype(kind.newbyteorder("="))
            begin += count * kind.itemsize
        if begin != len(data):
            raise ValueError("bytes are left over")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise QueryError(f"these bytes are no question to a shard, and no answer of one: {error}") from None
    return head, arrays


def _as_sent(where: Ids | None, shard: str) -> dict[str, NDArray[Any]]:
    """Return ids as they are sent: one by one, or as a bit for each id of the shard, whichever is shorter."""
    if where is None:
        return {}
    places = where // Shard.parse(shard).count
    if not len(where) or int(places.max()) >= 64 * len(where) or int(places.min()) < 0:
        return {"where": where}
    bits = np.zeros(int(places.max()) + 1, np.uint8)
    bits[places] = 1
    return {"allowed": np.packbits(bits, bitorder="little")}


def _as_asked(arrays: Arrays, shard: str) -> Ids | None:
    """Return the ids that :func:`_as_sent` wrote.

    Raises:
        QueryError: there is no such shard.
    """
    if "allowed" not in arrays:
        return arrays.get("where")
    one = Shard.parse(shard)
    places = np.flatnonzero(np.unpackbits(arrays["allowed"], bitorder="little")).astype(np.int64)
    return places * one.count + one.number
