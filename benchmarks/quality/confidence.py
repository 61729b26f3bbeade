"""Whether confidence holds, and how many strangers are told, on questions that no measurement of a release has seen.

    python -m benchmarks.quality.confidence make DATA FOLDER
    python -m benchmarks.quality.confidence run FOLDER [--names fashion,news] [--seeds 0,1,2]
    python -m benchmarks.quality.confidence ask DATA FOLDER [--names fashion,news] [--seeds 0,1,2] [--save confidence]
    python -m benchmarks.quality.confidence alarms FOLDER [--names fashion,news] [--seeds 0,1,2] [--save alarms]

DATA holds the collections in the folders of their recipes: ``fashion-mnist``, ``20news-bydate``, ``caltech101``,
``uci`` and ``fsdd-4-speakers.tar.xz``; also ``cifar10-jpeg.npz``. ``make`` holds items back from each collection, to
ask with, and leaves some classes out of it, whose items are the hardest strangers. The others are of
:mod:`benchmarks.quality.strangers`. ``alarms`` asks with all items that were held back, because of 500 a share of
2 % has an interval of 1 to 3.6 %.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import aepipe
from aepipe.api import Collection
from aepipe.release.query import Answer
from benchmarks.common import add_output, describe, write
from benchmarks.quality import strangers

PACKAGES = ("faiss-cpu", "onnxruntime")
LEFT_OUT: dict[str, set[str]] = {
    "fashion": {"5", "8"},  # sandals, bags
    "news": {"sci.space", "rec.sport.hockey", "talk.politics.guns", "sci.med"},
    "photos": {
        *("panda", "dalmatian", "llama", "ferry", "grand_piano", "pizza", "lotus", "camera", "snoopy", "minaret")
    },
    "letter": set("AKQZ"),
    "speech": {"3", "7"},
}
COLUMNS = [f"c{number}" for number in range(1, 17)]
BINS = 10
"""Parts of 0..1 in which confidence is compared with the share of relevant hits."""
CONDITIONS = 60
ABSENT = "classes left out"
RUNS = {
    "fashion": ["fashion-mnist", "--source", "fashion"],
    "news": ["newsgroups", "--source", "news"],
    "photos": ["photos", "--source", "photos"],
    "letter": ["letter.csv"],
    "speech": ["speech"],
}
"""What is run for each collection, in the folder that :func:`make` writes."""

Item = tuple[bytes, str]
Questions = dict[str, Sequence[bytes]]


def make(data: Path, folder: Path) -> None:
    """Write the collections, and the items that ask them."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, write_one in (
        ("fashion", _fashion),
        ("news", _news),
        ("photos", _photos),
        ("letter", _letter),
        ("speech", _speech),
    ):
        held, absent = write_one(data, folder, rng)
        _save(folder / f"{name}-held.npz", held)
        _save(folder / f"{name}-absent.npz", absent)


def _fashion(data: Path, folder: Path, _: np.random.Generator) -> tuple[list[Item], list[Item]]:
    (folder / "fashion").mkdir(exist_ok=True)
    held: dict[bool, list[Item]] = {}
    for part in ("train", "t10k"):
        images, labels = (_idx(data / "fashion-mnist", part, what) for what in ("images-idx3", "labels-idx1"))
        absent = np.isin(labels.astype(str), list(LEFT_OUT["fashion"]))
        kept = np.flatnonzero(~absent)
        if part == "t10k":
            items = [(strangers.picture(one), str(label)) for one, label in zip(images, labels, strict=True)]
            held = {False: [items[at] for at in kept[4000:]], True: [items[at] for at in np.flatnonzero(absent)]}
            kept = kept[:4000]
        for what, array in (("images-idx3", images[kept]), ("labels-idx1", labels[kept])):
            head = b"\0\0\x08" + bytes([array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / "fashion" / f"{part}-{what}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes(), 1))
    return held[False], held[True]


def _idx(folder: Path, part: str, what: str) -> NDArray[np.uint8]:
    raw = gzip.decompress((folder / f"{part}-{what}-ubyte.gz").read_bytes())
    pixels = what.startswith("images")
    found = np.frombuffer(raw, np.uint8, offset=16 if pixels else 8)
    return found.reshape(-1, 28, 28) if pixels else found


def _news(data: Path, folder: Path, rng: np.random.Generator) -> tuple[list[Item], list[Item]]:
    (folder / "news").mkdir(exist_ok=True)
    held: list[list[Item]] = [[], []]
    for part in ("train", "test"):
        with gzip.open(data / "20news-bydate" / f"{part}.jsonl.gz", "rt", encoding="utf-8") as stream:
            posts = [json.loads(line) for line in stream]
        posts = [posts[at] for at in rng.permutation(len(posts))]
        sides = [[one for one in posts if (one["label"] in LEFT_OUT["news"]) == out] for out in (False, True)]
        if part == "test":
            held = [[(one["text"].encode(), one["label"]) for one in side] for side in (sides[0][3000:], sides[1])]
            sides[0] = sides[0][:3000]
        with gzip.open(folder / "news" / f"{part}.jsonl.gz", "wt", encoding="utf-8") as target:
            target.writelines(json.dumps(one) + "\n" for one in sides[0])
    return held[0], held[1]


def _photos(data: Path, folder: Path, rng: np.random.Generator) -> tuple[list[Item], list[Item]]:
    with tarfile.open(data / "caltech101" / "photos-160px.tar") as archive:
        members = [(one.name, archive.extractfile(one)) for one in archive if one.name.endswith(".jpg")]
        named = [(name, stream.read(), name.split("/")[-2]) for name, stream in members if stream]
    return _files(named, folder / "photos", LEFT_OUT["photos"], rng)


def _speech(data: Path, folder: Path, rng: np.random.Generator) -> tuple[list[Item], list[Item]]:
    with tarfile.open(data / "fsdd-4-speakers.tar.xz") as archive:
        members = [(one.name, archive.extractfile(one)) for one in archive if one.name.endswith(".wav")]
        named = [(name, stream.read(), Path(name).name[0]) for name, stream in members if stream]
    return _files(named, folder / "speech", LEFT_OUT["speech"], rng)


def _files(
    named: Iterable[tuple[str, bytes, str]], folder: Path, left_out: set[str], rng: np.random.Generator
) -> tuple[list[Item], list[Item]]:
    """Write files into a folder for each class; hold some back."""
    held, absent = list[Item](), list[Item]()
    for name, data, label in named:
        if label in left_out:
            absent.append((data, label))
        elif rng.random() < 0.15:
            held.append((data, label))
        else:
            (folder / label).mkdir(parents=True, exist_ok=True)
            (folder / label / Path(name).name).write_bytes(data)
    return held, absent


def _letter(data: Path, folder: Path, rng: np.random.Generator) -> tuple[list[Item], list[Item]]:
    with (data / "uci" / "letter-recognition.data").open(encoding="utf-8") as stream:
        _, *rows = csv.reader(stream)
    rows = [rows[at] for at in rng.permutation(len(rows))]
    kept, absent = ([one for one in rows if (one[0] in LEFT_OUT["letter"]) == out] for out in (False, True))
    with (folder / "letter.csv").open("w", newline="", encoding="utf-8") as target:
        csv.writer(target).writerows([["label", *COLUMNS], *kept[2000:]])
    return [_cells(one) for one in kept[:2000]], [_cells(one) for one in absent]


def _cells(row: Sequence[str]) -> Item:
    return json.dumps(dict(zip(COLUMNS, map(float, row[1:]), strict=True))).encode(), row[0]


def _save(file: Path, items: Sequence[Item]) -> None:
    ends = np.cumsum([0, *(len(data) for data, _ in items)])
    data = np.frombuffer(b"".join(data for data, _ in items), np.uint8)
    np.savez(file, data=data, ends=ends, labels=np.array([label for _, label in items]))


def read(file: Path, count: int) -> list[Item]:
    """Return some of the items that :func:`make` held back, the same each time."""
    with np.load(file) as held:
        data, ends, labels = held["data"].tobytes(), held["ends"], held["labels"]
    chosen = np.random.default_rng(0).permutation(len(labels))[:count]
    return [(data[ends[at] : ends[at + 1]], str(labels[at])) for at in chosen]


def others(name: str, data: Path, held: Sequence[Item], count: int) -> Questions:
    """Return the strangers of a collection by their kind."""
    s = strangers
    if name == "fashion":
        found = {"digits": s.digits(count), "letters of fonts": s.letters(count), "noise": s.noise(count)}
        return _listed(found | {"CIFAR-10 in grey": s.cifar(count, data / "cifar10-jpeg.npz")})
    if name == "news":
        texts = [item.decode("utf-8", "ignore") for item, _ in held]
        found = {"other languages": s.foreign(count), "random letters": s.babble(count)}
        return _listed(found | {"random words": s.shuffled(count, texts)})
    if name == "photos":
        pages, letters = s.letters(count, s.LARGE, 6), s.letters(count, s.LARGE)
        images = _idx(data / "fashion-mnist", "t10k", "images-idx3")
        found = {"drawings": s.drawings(count), "pages of fonts": pages, "letters of fonts": letters}
        return _listed(found | {"noise": s.noise(count, s.LARGE, 3), "Fashion-MNIST": s.clothes(count, images)})
    if name == "letter":
        rows = np.array([list(json.loads(item).values()) for item, _ in held])
        found = {"digits as rows": s.cells(s.digit_rows(count), COLUMNS)}
        found["random numbers"] = s.cells(s.uniform_rows(count), COLUMNS)
        return _listed(found | {"cells of different rows": s.cells(s.mixed_rows(count, rows), COLUMNS)})
    return _listed({"noise": s.hiss(count), "tones and chords": s.tones(count)})


def _listed(found: Mapping[str, Iterator[bytes]]) -> Questions:
    return {kind: list(items) for kind, items in found.items()}


def ece(confidence: NDArray[np.float64], relevant: NDArray[np.bool_]) -> float:
    """Return the expected calibration error of hits.

    Source: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", 2015.
    """
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    parts = [(confidence[place == one], relevant[place == one]) for one in range(BINS)]
    return float(sum(len(told) * abs(told.mean() - was.mean()) for told, was in parts if len(told)) / len(confidence))


def calibration(collection: Collection, held: Sequence[Item], name: str) -> dict[str, float]:
    """Return the calibration error for each kind of question; ``many`` are the first 100 hits."""
    items, labels = [item for item, _ in held], [label for _, label in held]
    found = {"items": _errors(collection.answers(*items), labels)}
    found["fast"] = _errors(collection.answers(*items, fast=True), labels)
    found["many"] = _errors(collection.answers(*items, k=100), labels)
    found["where"] = _conditions(collection, items, labels)
    if name == "news":
        texts = [" ".join(_body(item).split()) for item in items]
        rng = np.random.default_rng(1)
        words = [_span(text.split(), rng) for text in texts]
        kept = [at for at, some in enumerate(words) if some]
        asked = [words[at] for at in kept]
        found["words"] = _errors(collection.answers(*asked), [labels[at] for at in kept])
        found["words_where"] = _conditions(collection, asked, [labels[at] for at in kept])
    return found


def _body(post: bytes) -> str:
    from aepipe.sources.text.decode import body_of

    return body_of(post.decode("utf-8", "ignore"))


def _span(words: Sequence[str], rng: np.random.Generator) -> str:
    count = min(len(words), round(8 ** rng.random()))
    start = int(rng.integers(len(words) - count + 1)) if words else 0
    text = " ".join(words[start : start + count])
    # What looks like a path, or is one here, is not asked as words.
    return "" if "/" in text or "." in text or Path(text).exists() else text


def _conditions(collection: Collection, items: Sequence[Any], labels: Sequence[str]) -> float:
    """Return the error under conditions: random rows, and the rows of some labels."""
    rng = np.random.default_rng(2)
    ids = collection.release.items.ids
    own = np.array([row.label for row in collection.release.describe(ids)])
    told: list[tuple[float, bool]] = []
    for number, turn in enumerate(np.array_split(np.arange(len(items)), CONDITIONS)):
        chosen = rng.random(len(ids)) < rng.uniform(0.02, 0.6)
        if number % 2:
            known = np.unique(own)
            chosen = np.isin(own, rng.permutation(known)[: rng.integers(1, len(known))])
        answers = collection.answers(*(items[at] for at in turn), where=np.asarray(ids)[chosen])
        told += _told(answers, [labels[at] for at in turn])
    return _error(told)


def _errors(answers: Iterable[Answer], labels: Sequence[str]) -> float:
    return _error(_told(answers, labels))


def _error(told: Sequence[tuple[float, bool]]) -> float:
    return ece(np.array([one for one, _ in told]), np.array([one for _, one in told])) if told else float("nan")


def _told(answers: Iterable[Answer], labels: Sequence[str]) -> list[tuple[float, bool]]:
    """Return the confidence of each hit that has one, and whether it was relevant."""
    return [
        (hit.confidence, hit.row.label == label)
        for one, label in zip(answers, labels, strict=True)
        for hit in one.hits
        if hit.confidence is not None
    ]


def told_as_strange(collection: Collection, items: Sequence[bytes]) -> float:
    """Return the share of questions that are said to be unlike the collection; those that have no row count as told."""
    answers = list(collection.answers(*items))
    return float(np.mean([one.strange is not None or one.question.failure is not None for one in answers]))


def run(folder: Path, names: Sequence[str], seeds: Sequence[str]) -> None:
    """Make a release of each collection for each seed."""
    for seed in seeds:
        for name in names:
            words = [*RUNS[name], "--name", f"{name}-{seed}", "--set", f"seed={seed}", "--quiet"]
            subprocess.run([sys.executable, "-m", "aepipe", "run", *words], cwd=folder, check=True)


def ask(folder: Path, data: Path, names: Sequence[str], seeds: Sequence[str], count: int) -> Iterator[dict[str, Any]]:
    """Yield the figures of each collection, the means over its seeds, and those of each sort of strangers."""
    for name in names:
        held, absent = (read(folder / f"{name}-{what}.npz", 5 * count) for what in ("held", "absent"))
        strange = others(name, data, held, count) | {ABSENT: [item for item, _ in absent]}
        found = [_asked(folder, f"{name}-{seed}", held, strange) for seed in seeds]
        for one in found:
            print(name, _rounded(one), flush=True)
        row: dict[str, Any] = {"collection": name, "seeds": len(found), "n_queries": len(held)}
        for figure in found[0]:
            values = [one[figure] for one in found]
            mean = float(np.mean(values))
            if figure in strange:
                yield {"collection": name, "stranger": figure, "told": mean, "least": min(values)}
            else:
                row |= {figure: mean, f"{figure}_worst": (min if figure == "found" else max)(values)}
        yield row


def alarms(folder: Path, names: Sequence[str], seeds: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the share of all new items of a collection that are said to be unlike it, and of those without a row."""
    for name in names:
        held = [item for item, _ in read(folder / f"{name}-held.npz", sys.maxsize)]
        found = [_alarms(aepipe.open(folder / ".aepipe", f"{name}-{seed}"), held) for seed in seeds]
        told, without = (np.array(column) for column in zip(*found, strict=True))
        row = {"collection": name, "seeds": len(seeds), "n_queries": len(held), "told": float(told.mean())}
        yield row | {"told_worst": float(told.max()), "without": float(without.mean())}


def _alarms(collection: Collection, items: Sequence[bytes]) -> tuple[float, float]:
    answers = list(collection.answers(*items))
    told = [one.strange is not None for one in answers]
    return float(np.mean(told)), float(np.mean([one.question.failure is not None for one in answers]))


def _asked(folder: Path, name: str, held: Sequence[Item], strange: Questions) -> dict[str, float]:
    """Return the figures of one release, and the share of each sort of strangers that is told."""
    collection = aepipe.open(folder / ".aepipe", name)
    found = calibration(collection, held, name.rpartition("-")[0])
    found["false_alarms"] = told_as_strange(collection, [item for item, _ in held])
    kinds = {kind: told_as_strange(collection, items) for kind, items in strange.items()}
    found["found"] = float(np.mean([told for kind, told in kinds.items() if kind != ABSENT]))
    return found | kinds


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}


def main() -> None:
    """Make the collections, run them, or ask them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = parser.add_subparsers(dest="what", required=True)
    for what in ("make", "run", "ask", "alarms"):
        one = words.add_parser(what)
        if what in {"make", "ask"}:
            one.add_argument("data", type=Path)
        one.add_argument("folder", type=Path)
        one.add_argument("--names", default=",".join(LEFT_OUT))
        one.add_argument("--seeds", default="0,1,2")
        if what == "ask":
            one.add_argument("--count", type=int, default=200, help="strangers of each kind; five times as many items")
        if what in {"ask", "alarms"}:
            add_output(one, "confidence" if what == "ask" else what)
    args = parser.parse_args()
    names, seeds = args.names.split(","), args.seeds.split(",")
    print(describe(*PACKAGES), flush=True)
    if args.what == "make":
        make(args.data, args.folder)
    elif args.what == "run":
        run(args.folder, names, seeds)
    else:
        rows = []
        asked = args.what == "ask"
        made = ask(args.folder, args.data, names, seeds, args.count) if asked else alarms(args.folder, names, seeds)
        for row in made:
            rows.append(row)
            print(_rounded(row), flush=True)
            # After each collection, so that nothing is lost if it is stopped.
            write(args.json, rows, PACKAGES, settings={"bits": 64, "k": 10, "seeds": len(seeds)})


if __name__ == "__main__":
    main()
