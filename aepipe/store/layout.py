"""Names of the files and folders of a store, one group for each kind of artifact.

::

    Root                  the store itself, apart from the artifacts
    <kind>/<digest>/      an artifact, sealed by MANIFEST; its other files:
      backbone/             Backbone
      listing/              Listing
      rows/                 Rows
      views/                Views
      layer/                Layer
      model/                Model, the files of the frozen encoder, and a copy of those of Backbone
      segment/              one of Codes, Items, Index, Changes, Scores, Measures, Map, FullText
      words/                Words
      release/              Release

Stores of earlier versions hold these names, so none of them may change. Two formats keep their names to themselves: the
frozen encoder with :mod:`aepipe.codes.encoder`, which works without a store, and the files that only one kind of index
has with that kind, below ``aepipe/index/kinds``.
"""

from __future__ import annotations

from typing import Final

KINDS: Final = ("backbone", "listing", "rows", "views", "layer", "model", "segment", "words", "release")
"""Kinds of artifacts."""
MANIFEST: Final = "manifest.json"
"""Inputs, facts and checksums of an artifact; an artifact without it is not there."""


def array_file(name: str) -> str:
    """Return the file of one of several arrays."""
    return f"{name}.npy"


class Root:
    """The store's own files and folders."""

    CACHE_TAG: Final = "CACHEDIR.TAG"
    GIT_IGNORE: Final = ".gitignore"
    LOG: Final = "log.jsonl"  # every promote, rollback and refusal
    SERVICE: Final = "service"  # one file for each collection: the release in service
    IDS: Final = "ids"  # one file for each collection: the first id that it never gave
    LOCKS: Final = "locks"  # one file for each collection
    REMOVAL: Final = ".removal"  # among these: held by whoever removes an artifact, and shared by whoever uses one
    WORK: Final = "work"  # checkpoints of training that was interrupted
    FEATURES: Final = "features"  # caches of what a frozen network says of an item
    GRAPHS: Final = "graphs"  # caches of exported networks, without their weights
    TEXTS: Final = "texts"  # encoders of short texts, unpacked, by which words are known
    NAMES: Final = "names.json"  # present names of releases whose collection was renamed
    FEEDBACK: Final = "feedback"  # for each collection a file of marks of hits, a line each, and a folder of uploads
    METRICS: Final = "metrics"  # one file for Prometheus for each collection
    REPORTS: Final = "reports"  # one page for each collection, and the chart of losses on it
    PREFECT: Final = "prefect"  # Prefect's own database
    SEARCHES: Final = "searches"  # one journal for each search for a better recipe

    # On object storage only:
    OBJECTS: Final = "store.json"  # says that the server keeps what a store relies on
    BLOBS: Final = "blob"  # the files of all artifacts, each under its sha256
    REMOVED: Final = "removed"  # manifests of artifacts that were removed; their files stay for another day
    LINES: Final = "log"  # an object for each line of the log

    @staticmethod
    def feedback(name: str) -> str:
        """Return the marks of hits of a collection."""
        return f"{Root.FEEDBACK}/{name}.jsonl"

    @staticmethod
    def uploads(name: str) -> str:
        """Return the folder of the files from outside whose hits were marked."""
        return f"{Root.FEEDBACK}/{name}"

    @staticmethod
    def metrics(name: str) -> str:
        """Return the figures of a collection for Prometheus."""
        return f"{Root.METRICS}/{name}.prom"

    @staticmethod
    def report(name: str) -> str:
        """Return the page of a collection."""
        return f"{Root.REPORTS}/{name}.html"

    @staticmethod
    def chart(name: str) -> str:
        """Return the chart of losses on that page, kept until another encoder is trained."""
        return f"{Root.REPORTS}/{name}.svg"

    @staticmethod
    def quarantine(name: str) -> str:
        """Return the list of what was not read of a collection; it outlives a failed run."""
        return f"quarantine-{name}.parquet"

    @staticmethod
    def reading(name: str) -> str:
        """Return the file with what the last run of a collection read, and what it did not."""
        return f"reading-{name}.json"

    @staticmethod
    def stamps(name: str) -> str:
        """Return the file with stamps of the files that the last run of a collection read; it may be lost."""
        return f"stamps-{name}.bin"


class Backbone:
    """A frozen network below the stack; see :mod:`aepipe.sources.backbone`."""

    GRAPH: Final = "backbone.onnx"
    TOKENIZER: Final = "tokenizer.json"  # of a network that reads text


class Rows:
    """A table of items; see :mod:`aepipe.store.rows`."""

    CARD: Final = "rows.json"
    QUARANTINE: Final = "quarantine.parquet"
    PARTS: Final = "rows-*.parquet"  # a glob
    RUNS: Final = "runs.npy"  # of a table that refers to others: which ids their rows have
    HASHES: Final = "hashes.npy"  # of a table that lists refer to: of its keys
    HEADS: Final = "heads.npy"  # of such a table: the first bytes of its digests

    @staticmethod
    def part(number: int) -> str:
        """Return the file of one part of the table."""
        return f"rows-{number:05d}.parquet"


class Listing:
    """Some items of a large collection, before they are read; see :mod:`aepipe.sources.listing`."""

    TABLE: Final = "listing.parquet"
    STAMPS: Final = "stamps.npy"  # of the rows of the part that it gave


class Views:
    """The arrays that training reads; see :mod:`aepipe.pipeline.views`."""

    TRAIN: Final = "train.npy"
    HELD_OUT: Final = "held_out.npy"
    HELD_OUT_IDS: Final = "held_out_ids.npy"
    CLEAN: Final = "clean.npy"  # the evaluation slice
    NOISY: Final = "noisy.npy"  # the same slice, corrupted
    ARRAYS: Final = {"train": TRAIN, "held_out": HELD_OUT, "clean": CLEAN, "noisy": NOISY}


class Sample:
    """Views of a sample, with queries that are held out; see :mod:`aepipe.pipeline.views`."""

    ASKED: Final = "asked"  # arrays, as array_file names them
    KEPT_BACK: Final = "kept_back"

    @staticmethod
    def ids(name: str) -> str:
        """Return the file with the ids of an array's rows."""
        return f"{name}_ids.npy"


class Layer:
    """One pretrained layer; see :mod:`aepipe.pipeline.pretrain`."""

    WEIGHTS: Final = "layer.safetensors"
    CURVE: Final = "curve.json"


class Model:
    """A fine-tuned stack; see :mod:`aepipe.pipeline.finetune`."""

    WEIGHTS: Final = "weights.safetensors"
    THRESHOLDS: Final = "thresholds.npy"
    CURVES: Final = "curves.json"


class Codes:
    """Codes of some rows; see :mod:`aepipe.store.segments`."""

    IDS: Final = "ids.npy"
    CODES: Final = "codes.npy"  # embeddings lie next to it, under the name that the encoder gives


class Items:
    """Keys, places, labels and columns of some rows; see :mod:`aepipe.store.segments`."""

    CARD: Final = "items.json"
    IDS: Final = "ids.npy"
    KEY_ORDER: Final = "key.order.npy"

    @staticmethod
    def offsets(name: str) -> str:
        """Return the file that says where each string of a column begins."""
        return f"{name}.offsets.npy"

    @staticmethod
    def blob(name: str) -> str:
        """Return the file with all strings of a column, one after the other."""
        return f"{name}.blob.npy"


class Index:
    """A Hamming index of rows, or the changes of one; see :mod:`aepipe.index.hamming`."""

    CARD: Final = "index.json"
    CODES: Final = "codes.faiss"
    OFFSETS: Final = "offsets.npy"
    IDS: Final = "ids.npy"
    BY_ID: Final = "by_id.npy"
    REMOVED: Final = "removed.npy"  # of changes
    ADDED: Final = "added"  # of changes: a folder with an index of the added rows


class Changes:
    """Added and removed rows of a release; see :mod:`aepipe.pipeline.update`."""

    INDEX: Final = "index"  # a folder
    REMOVED: Final = "removed.npy"


class Scores:
    """Scores of a release; see :mod:`aepipe.pipeline.score`."""

    SCORES: Final = "scores.json"
    BASELINES: Final = "baselines.safetensors"
    SPACE: Final = "space.npy"  # principal components of the rows, and some rows in them: what strangers are told by
    SEEN: Final = "seen.npy"


class Measures:
    """Figures by which a build is compared with others; see :mod:`aepipe.pipeline.compare`."""

    MEASURES: Final = "measures.json"


class Map:
    """The rows of a release on a plane; see :mod:`aepipe.release.maps`."""

    CARD: Final = "map.json"
    X: Final = "x.npy"
    Y: Final = "y.npy"
    CLASS: Final = "class.npy"
    IDS: Final = "ids.npy"


class FullText:
    """The words of all documents of a release; see :mod:`aepipe.release.fulltext`."""

    INDEX: Final = "index"  # a folder of tantivy's
    ID: Final = "id"  # a field of it: the row
    TEXT: Final = "text"  # a field of it: the words of a document


class Words:
    """What answers words; see :mod:`aepipe.words`."""

    CARD: Final = "words.json"
    GRAPH: Final = "text.onnx"
    TOKENIZER: Final = "tokenizer.json"
    GAP: Final = "gap.npy"  # the means of texts and of pictures
    PHRASES: Final = "phrases.json"  # of known words; and, for each phrase, its vector and the word that it stands for
    VECTORS: Final = "vectors.npy"
    TARGETS: Final = "targets.npy"
    FEATURES: Final = "features.npy"  # of known words, from the mean of the rows
    CENTRE: Final = "centre.npy"  # that mean
    REGRESSION: Final = "regression.npy"  # from vectors to features


class Release:
    """References of a release; see :mod:`aepipe.release.manifest`."""

    MANIFEST: Final = "release.json"
