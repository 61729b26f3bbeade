"""Documents found by codes, by words (BM25), and by both: subject lines of held-out posts as questions.

    python -m benchmarks.quality.hybrid 20news-bydate [--queries 1000] [--folder FOLDER] [--save hybrid]

The recipe `newsgroups` is run, and the posts of its training split are asked with the subject lines of those of the
test split, without "Re:" and without strokes, which would make paths of them. A post is relevant where it is of the
question's group. P@10, and mAP over the first 100 hits.

- ``codes``: hits in the order of 64 bits; ``codes, re-ranked``: what `aepipe query` does.
- ``BM25``: tantivy's, of the words that `--hybrid` looks up.
- ``hybrid``: what `aepipe query --hybrid` does: the re-ranked list and that of BM25, fused by reciprocal ranks.
- ``chance``: the share of the question's group.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import aepipe
from aepipe.api import Collection
from aepipe.release import fulltext
from benchmarks.common import add_output, describe, write

PACKAGES = ("torch", "onnxruntime", "tantivy")
DEPTH = 100
_SUBJECT = re.compile(r"^Subject: *(.+)$", re.MULTILINE)
_REPLY = re.compile(r"(?i)^(re|fwd?)(\[\d+\])?: *")

Ask = Callable[[str], Sequence[int]]
"""Returns the ids of the first DEPTH hits of a question."""


def questions(data: Path, most: int) -> Iterator[tuple[str, str]]:
    """Yield subject lines of held-out posts, and their groups."""
    with gzip.open(data / "test.jsonl.gz", "rt", encoding="utf-8") as stream:
        posts = [json.loads(line) for line in stream]
    for place in np.random.default_rng(0).permutation(len(posts))[:most]:
        found = _SUBJECT.search(posts[place]["text"])
        if found and (subject := _REPLY.sub("", found[1]).replace("/", " ").strip()):
            yield subject, posts[place]["label"]


def systems(found: Collection) -> dict[str, Ask]:
    """Return what answers a question, by name."""
    train = np.array([row.id for row in found.release.describe(found.release.items.ids) if row.split == "train"])

    words = fulltext.opened(found.store, found.release)

    def asked(**options: Any) -> Ask:
        def ask(text: str) -> Sequence[int]:
            (answer,) = found.answers(text, k=DEPTH, where=train, **options)
            return [hit.row.id for hit in answer.hits]

        return ask

    return {
        "codes": asked(fast=True),
        "codes, re-ranked": asked(),
        "BM25": lambda text: words.search(text, DEPTH, train).tolist(),
        "hybrid": asked(hybrid=True),
    }


def figures(hits: Sequence[bool], relevant: int) -> tuple[float, float]:
    """Return P@10 and the average precision of the first hits; those that are missing are wrong ones."""
    right = np.zeros(DEPTH, bool)
    right[: len(hits)] = hits
    precision = np.cumsum(right) / np.arange(1, DEPTH + 1)
    return float(right[:10].mean()), float((precision * right).sum() / min(DEPTH, relevant))


def main() -> None:
    """Make the collection, ask it, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where the collection is made, and kept")
    add_output(parser, "hybrid")
    given = parser.parse_args()
    print(describe(*PACKAGES), flush=True)
    with tempfile.TemporaryDirectory() as passing:
        home = (given.folder or Path(passing)) / "store"
        found = aepipe.run("newsgroups", home=home, source=str(given.data)).collection
        groups = {row.id: row.label for row in found.release.describe(found.release.items.ids)}
        counts = Counter(row.label for row in found.release.describe(found.release.items.ids) if row.split == "train")
        asked = list(questions(given.data, given.queries))
        lines = []
        for name, ask in systems(found).items():
            each = [figures([groups[one] == group for one in ask(text)], counts[group]) for text, group in asked]
            p_at_10, map_at_100 = np.mean(each, axis=0).tolist()
            lines.append({"system": name, "p_at_10": p_at_10, "map_at_100": map_at_100})
        share = float(np.mean([counts[group] / counts.total() for _, group in asked]))
        lines.append({"system": "chance", "p_at_10": share, "map_at_100": None})
        for line in lines:
            print("  ".join(f"{one:.3f}" if isinstance(one, float) else str(one) for one in line.values()), flush=True)
        settings = {"questions": len(asked), "posts": counts.total(), "bits": found.release.n_bits}
        write(given.json, lines, PACKAGES, settings=settings)


if __name__ == "__main__":
    main()
