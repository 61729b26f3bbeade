"""Edited copies found again: the recipe `copies`, and the comparison of details above it, next to perceptual hashes.

    python -m benchmarks.quality.copies photos.tar [--photographs 3000] [--asked 150] [--unseen] [--cnn] [--seeds 3]

Of some photographs in a tar archive with a folder for each class, twelve edits are made, each at three strengths. For
each system one threshold is chosen for all edits: the widest with at least 99 right ones among 100 pairs that it says
are copies, out of all pairs of an edited picture and an original. The figures are the shares of edited pictures whose
original is then found. Pairs of originals that are copies of each other already are left out. A seed draws photographs,
those that are asked, and the weights; figures are means over the seeds.

- ``code``: bits of the recipe `copies`, trained on the collection; with ``--unseen`` on the other half of the classes.
- ``code and details``: what `aepipe dedup` does.
- ``phash``, ``dhash``, ``ahash``: of the package imagehash, 64 bits; with ``+ mirror`` the nearer of both orientations.
- ``cnn`` (with ``--cnn``): the cosine of a network's features, as in the package imagededup, whose own weights are
  fetched when it runs; here of EfficientNet-Lite0.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from aepipe import recipe as recipes
from aepipe.release import alignment, copies
from aepipe.release.alignment import SIDE, Floats
from benchmarks.common import add_output, describe, write
from benchmarks.quality.picture_edits import EDITS, STRENGTHS, edited
from benchmarks.quality.vectors import train
from flows.catalog import recipe_file

PACKAGES = ("torch", "imagehash", "pillow")
HASHES = ("phash", "dhash", "ahash")
PRECISION = 0.99
ALIKE = 0.95
"""Correlation of pixels from which two originals are copies of each other."""

Picture = Image.Image
Edited = Callable[[], Iterator[list[Picture]]]
"""Yields the asked pictures after each edit, at each strength."""
Found = tuple[Floats, float]
"""Recall for each edit and strength, and the threshold."""


def read(file: Path) -> tuple[list[Picture], NDArray[np.str_]]:
    """Return pictures and their classes."""
    found, classes = [], []
    with tarfile.open(file) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None and member.name.endswith(".jpg"):
                found.append(Image.open(io.BytesIO(stream.read())).convert("RGB"))
                classes.append(member.name.split("/")[-2])
    return found, np.array(classes)


def small(pictures: list[Picture], side: int) -> NDArray[np.uint8]:
    """Return grey pictures of one size, uint8[N, side, side]."""
    size = (side, side)
    return np.stack(
        [np.asarray(one.convert("L").resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)) for one in pictures]
    )


def coded(shown: list[Picture], known: list[Picture], edits: Edited, epochs: int, seed: int) -> list[NDArray[np.uint8]]:
    """Train the recipe `copies` on the pictures shown; return codes, uint8[n, W], of the known and of each edit's."""
    chosen = recipes.load(recipe_file("copies"))
    chosen = chosen.model_copy(update={"finetune": chosen.finetune.model_copy(update={"epochs": epochs})})
    side = int(chosen.features["size"][0])
    rows, *parts = [small(some, side)[..., None].astype(np.float32) for some in (shown, known, *edits())]
    for one in (rows, *parts):
        one /= 255
    trained = train(chosen, rows, np.concatenate(parts), seed)[1]
    return np.split(np.asarray(trained.packed), np.cumsum([len(part) for part in parts])[:-1])


def hamming(asked: NDArray[np.uint8], known: NDArray[np.uint8]) -> Floats:
    """Return distances in bits, float32[Q, N]."""
    a, b = (np.unpackbits(one, axis=1).astype(np.float32) for one in (asked, known))
    found: Floats = a.sum(1)[:, None] + b.sum(1) - 2 * a @ b.T
    return found


def hashes(pictures: list[Picture], name: str) -> NDArray[np.uint8]:
    """Return perceptual hashes, uint8[N, 8]."""
    import imagehash

    one_of = imagehash.average_hash if name == "ahash" else getattr(imagehash, name)
    return np.stack([np.packbits(one_of(one).hash.ravel()) for one in pictures])


def copies_already(known: NDArray[np.uint8], asked: NDArray[np.int64], agreed: Floats) -> NDArray[np.bool_]:
    """Return which originals are copies of the asked ones, bool[Q, N]: pixels correlate, or details agree."""
    flat = known[:, ::2, ::2].reshape(len(known), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    mirrored = flat.reshape(len(flat), SIDE // 2, -1)[:, :, ::-1].reshape(len(flat), -1)
    close = np.maximum(flat[asked] @ flat.T, flat[asked] @ mirrored.T)
    found: NDArray[np.bool_] = (close > ALIKE) | (agreed >= copies.MOST)
    return found


def details(asked: NDArray[np.uint8], known: Floats, far: Floats, views: Floats) -> Floats:
    """Return how far details agree with those of the candidates, float32[Q, N]; 0 for all others."""
    maps, grey = alignment.guesses(), asked.astype(np.float32) / np.float32(255)
    by_code = np.argpartition(far, copies.BY_CODE - 1, axis=1)[:, : copies.BY_CODE]
    by_view = copies.near_views(alignment.views(grey, maps[:1])[:, 0], views)
    near = np.concatenate([by_code, by_view], 1)
    pairs = np.unique(np.stack([np.repeat(np.arange(len(asked)), near.shape[1]), near.ravel()], 1), axis=0)
    found = np.zeros(far.shape, np.float32)
    found[pairs[:, 0], pairs[:, 1]] = copies.agreements(grey, known, pairs, maps)
    return found


def recalls(score: Floats, right: NDArray[np.int64], left_out: NDArray[np.bool_]) -> Found:
    """Return recall for each edit and strength, and the threshold.

    Args:
        score: float32[edits, strengths, Q, N]; larger is more alike.
        right: int64[Q], the places of the originals.
        left_out: bool[Q, N], pairs that do not count.
    """
    each = np.arange(len(right))
    own = score[:, :, each, right]
    wrong = score[:, :, ~left_out & (np.arange(score.shape[3]) != right[:, None])]
    values = np.unique(own)
    hits = own.size - np.searchsorted(np.sort(own.ravel()), values)
    misses = wrong.size - np.searchsorted(np.sort(wrong.ravel()), values)
    good = np.flatnonzero(hits >= PRECISION * (hits + misses))
    if not len(good):
        return np.zeros(own.shape[:2], np.float32), float("nan")
    threshold = float(values[good[0]])
    return (own >= threshold).mean(2).astype(np.float32), threshold


def systems(
    known: list[Picture], edits: Edited, codes: list[NDArray[np.uint8]], *, cnn: bool
) -> Iterator[tuple[str, Floats]]:
    """Yield each system's name and scores, float32[edits * strengths, Q, N]."""
    for name in HASHES:
        own, turned = (hashes(some, name) for some in (known, [ImageOps.mirror(one) for one in known]))
        asked = [hashes(some, name) for some in edits()]
        plain = np.stack([-hamming(some, own) for some in asked])
        yield name, plain
        yield f"{name} + mirror", np.maximum(plain, np.stack([-hamming(some, turned) for some in asked]))
    if cnn:
        yield "cnn", _cosines(known, edits)
    far = np.stack([hamming(some, codes[0]) for some in codes[1:]])
    yield "code", -far
    grey = small(known, SIDE).astype(np.float32) / np.float32(255)
    views = copies.views_of(grey, alignment.guesses())
    found = [details(small(some, SIDE), grey, one, views) for some, one in zip(edits(), far, strict=True)]
    yield "code and details", np.stack(found)


def _cosines(known: list[Picture], edits: Edited) -> Floats:
    from aepipe.learn.onnx_export import efficientnet
    from aepipe.sources.networks.pictures import Backbone

    size = (128, 128)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder, "backbone.onnx")
        graph.write_bytes(efficientnet("efficientnet-lite0", size))
        network = Backbone(graph, mean=[127.0], scale=[128.0])

        def features(pictures: list[Picture]) -> Floats:
            rows = (np.asarray(one.resize(size, Image.Resampling.BILINEAR)) for one in pictures)
            found: Floats = np.stack([network(row) for row in rows]).astype(np.float32)
            found /= np.linalg.norm(found, axis=1, keepdims=True)
            return found

        own = features(known)
        return np.stack([features(some) @ own.T for some in edits()])


@dataclass(frozen=True, slots=True)
class Setting:
    """What a measurement is made of.

    Attributes:
        photographs: that are searched, at most.
        asked: of these, that are edited.
        epochs: of the training of the code.
        unseen: whether the code is trained on other photographs than those that are searched.
        cnn: whether a network's features are compared, too.
    """

    photographs: int
    asked: int
    epochs: int
    unseen: bool
    cnn: bool


def measured(pictures: list[Picture], classes: NDArray[np.str_], setting: Setting, seed: int) -> dict[str, Found]:
    """Print a line for each system, and return its recall by edit and strength, and its threshold."""
    rng = np.random.default_rng(seed)
    taken = np.sort(rng.permutation(len(pictures))[: setting.photographs])
    pictures, classes = [pictures[place] for place in taken], classes[taken]
    half = np.isin(classes, rng.permutation(np.unique(classes))[: len(np.unique(classes)) // 2])
    known = [one for one, seen in zip(pictures, half, strict=True) if not (setting.unseen and seen)]
    shown = [one for one, seen in zip(pictures, half, strict=True) if seen] if setting.unseen else known
    asked = np.sort(rng.permutation(len(known))[: setting.asked])

    def edits() -> Iterator[list[Picture]]:
        for name in EDITS:
            for strength in range(STRENGTHS):
                yield [edited(known[place], name, strength, int(place)) for place in asked]

    began = time.monotonic()
    codes = coded(shown, known, edits, setting.epochs, seed)
    print(f"seed {seed}: {len(known):,} photographs, trained on {len(shown):,}, {time.monotonic() - began:.0f} s")
    grey, own = small(known, SIDE), codes[0]
    as_floats = grey.astype(np.float32) / np.float32(255)
    agreed = details(grey[asked], as_floats, hamming(own[asked], own), copies.views_of(as_floats, alignment.guesses()))
    left_out = copies_already(grey, asked, agreed)
    print(f"{int(left_out.sum()) - len(asked):,} pairs of originals are copies already")
    print(f"{'':18}" + "".join(f"{name[:8]:>9}" for name in EDITS) + "  overall")
    found = {}
    for name, score in systems(known, edits, codes, cnn=setting.cnn):
        found[name] = recalls(score.reshape(len(EDITS), STRENGTHS, *score.shape[1:]), asked, left_out)
        _print(name, found[name][0])
    return found


def _print(name: str, found: Floats) -> None:
    print(f"{name:18}" + "".join(f"{value:9.3f}" for value in found.mean(1)) + f"{found.mean():9.3f}", flush=True)


def rows_of(runs: list[dict[str, Found]]) -> list[dict[str, Any]]:
    """Return a line for each system: means over the runs, and the standard deviation of the recall overall."""
    told = []
    for name in runs[0]:
        each = np.stack([run[name][0] for run in runs])
        by_edit = {
            f"{edit}_{at + 1}": float(each.mean(0)[row, at])
            for row, edit in enumerate(EDITS)
            for at in range(STRENGTHS)
        }
        overall = each.mean((1, 2))
        spread = float(overall.std(ddof=1)) if len(runs) > 1 else 0.0
        thresholds = [run[name][1] for run in runs]
        threshold = None if np.isnan(thresholds).any() else float(np.mean(thresholds))
        means = {edit: float(each.mean((0, 2))[row]) for row, edit in enumerate(EDITS)}
        whole = {"overall": float(overall.mean()), "overall_sd": spread}
        told.append({"system": name, "threshold": threshold, **whole, **means, **by_edit})
    return told


def main() -> None:
    """Print a line for each seed and system, recall by edit, mean over its strengths, and overall; then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--asked", type=int, default=150)
    parser.add_argument("--photographs", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--unseen", action="store_true")
    parser.add_argument("--cnn", action="store_true")
    add_output(parser, "copies")
    args = parser.parse_args()
    print(describe(*PACKAGES))
    setting = Setting(args.photographs, args.asked, args.epochs, args.unseen, args.cnn)
    pictures, classes = read(args.file)
    runs: list[dict[str, Found]] = []
    for seed in range(args.seeds):
        runs.append(measured(pictures, classes, setting, seed))
        # After each seed, so that nothing is lost if it is stopped.
        settings = {"file": args.file.name, "seeds": len(runs), **asdict(setting)}
        write(args.json, rows_of(runs), PACKAGES, settings=settings)
    print(f"means of {len(runs)} seeds")
    for name in runs[0]:
        _print(name, np.mean([run[name][0] for run in runs], axis=0))
    ours = np.mean([run["code and details"][0] for run in runs], axis=0)
    for at in range(STRENGTHS):
        print(f"strength {at + 1:<9}" + "".join(f"{value:9.3f}" for value in ours[:, at]))


if __name__ == "__main__":
    main()
