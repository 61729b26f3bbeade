"""Words find pictures: codes above two towers, next to hashing of two modalities.

    python -m benchmarks.quality.words node_modules [--set google] [--bits 64,256] [--seeds 1] [--work FOLDER]

``node_modules`` has the packages ``emoji-datasource-google`` and ``emojibase-data`` (``npm install`` fetches them); for
``--set twitter``, ``emoji-datasource-twitter``, with German and French and other names held out. Two
small towers are trained on four fifths of the emoji (:mod:`benchmarks.quality.emoji`); a stack is trained on the
pictures of all of them, as ``aepipe run`` does, and never sees a text. Questions are the names of emoji in both
languages: of those that no tower was trained on (*held out*) and of the others, which the towers know (*known*). The
figure is the share of them whose own picture is among the first 10 of all, ties by expectation.

- ``float``: the cosine of both towers' features, as CLIP is used.
- ``codes``: a code on both sides. ``words as floats``: the question's floats against bits, as a query in words is
  answered with ``--fast``. ``re-ranked``: the same, its first 100 ordered by embeddings; by default more are.
- ``not``: of pairs of tags, one wanted and one not, how many of the first 10 emoji have the first alone, or both.
- the others are fitted on the pairs that the towers were trained on (:mod:`benchmarks.quality.cross_modal`); for
  ``re-ranked``, their first 100 are ordered by the cosine of the towers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe import recipe as recipes
from aepipe.codes.encoder import cosines
from aepipe.pipeline import fallback
from aepipe.pipeline.backbone import attach_backbone
from aepipe.pipeline.encode import encode
from aepipe.pipeline.finetune import finetune
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.publish import Parts, publish
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.pipeline.score import score
from aepipe.pipeline.suggest import stack
from aepipe.pipeline.views import views
from aepipe.pipeline.words import make_words
from aepipe.release.query import questions_from_words
from aepipe.release.release import Release
from aepipe.release.words import Mixture, mixed, words_for
from aepipe.sources.networks.texts import Reading, SentenceEncoder
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows
from aepipe.words import Meaning, Words
from benchmarks.common import add_output, describe, write
from benchmarks.quality import emoji
from benchmarks.quality.cross_modal import METHODS

PACKAGES = ("torch", "faiss-cpu")
TOP, LOOKED_AT = 10, 100
FEWEST, PAIRS = 8, 400
"""Emoji that a tag has, and pairs of tags of which one is wanted and one is not."""
RECIPE = """name = "emoji"
seed = {seed}
[source]
kind = "images"
path = "pictures"
[features]
backbone = "towers"
words = "towers"
"""
GATE = '[gate]\nmetric = "walk_map"'

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Questions:
    """Names of emoji, and which of them they are.

    Attributes:
        texts: the names.
        own: int64[Q], the emoji of each.
        parts: bool[Q] by name: in which language, and whether a tower was trained on it.
        languages: both.
    """

    texts: list[str]
    own: Places
    parts: dict[str, NDArray[np.bool_]]
    languages: tuple[str, ...]

    @classmethod
    def of(cls, found: Sequence[emoji.Emoji], chosen: emoji.Set) -> Questions:
        """Return all names in all languages."""
        languages = chosen.languages
        held, count = chosen.held_out(len(found)), len(languages)
        language = np.repeat(np.array(languages), len(found))
        unseen = np.tile(held, count)
        parts = {f"held_{one}": unseen & (language == one) for one in languages}
        parts |= {f"known_{one}": ~unseen & (language == one) for one in languages}
        texts = [one.labels[name] for name in languages for one in found]
        return cls(texts, np.tile(np.arange(len(found)), count), parts, languages)

    def recalls(self, scores: Floats) -> dict[str, float]:
        """Return the shares of questions whose picture is among the first 10 by scores, float64[Q, N]."""
        best = scores[np.arange(len(self.own)), self.own][:, None]
        above, equal = (scores > best).sum(axis=1), (scores == best).sum(axis=1)
        found = np.clip((TOP - above) / equal, 0, 1)
        return {name: float(found[part].mean()) for name, part in self.parts.items()}


def released(folder: Path, bits: int, seed: int, count: int) -> Release:
    """Return the release that a run makes of the pictures: of the better codes, trained or ITQ."""
    text = "\n".join([RECIPE.format(seed=seed), *stack(count), GATE])
    table = tomllib.loads(text)
    table["code"]["bits"] = bits
    resolved, store = resolve(recipes.parse(table, folder / "emoji.toml")), Store(folder / "store")
    attach_backbone(store, resolved)
    rows = ingest(store, resolved.source)
    parts = _made(store, resolved, rows)
    least = fallback.least_of(resolved)
    found = fallback.compared(store, parts["scores"], resolved.recipe.gate.metric, least=least)
    if found is not None and found.better == "itq":
        resolved = fallback.linear(resolved)
        parts = _made(store, resolved, rows)
    print(found, flush=True)
    parts["words"] = make_words(store, resolved.words, rows, parts["model"])
    return Release.open(store, ref=publish(store, resolved.recipe, resolved.source.location, **parts))


def _made(store: Store, resolved: ResolvedRecipe, rows: Ref) -> Parts:
    seen, layers = views(store, resolved, rows), list[Ref]()
    for _ in resolved.specs:
        layers.append(pretrain(store, resolved, seen, layers))
    model = finetune(store, resolved, seen, layers)
    codes = [encode(store, model, rows)]
    return {"rows": rows, "model": model, "codes": codes, "scores": score(store, resolved, rows, model, codes)}


def ours(release: Release, asked: Questions) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the figures of a release, for codes on both sides, for floats against bits, and re-ranked."""
    ids = np.array([release.id_of(f"{number:05d}.png") for number in range(len(release))])
    codes, embeddings = release.codes_of(ids), release.segments.embeddings_of(ids)
    found = list(questions_from_words(release, asked.texts))
    signs = 2 * codes.unpack().astype(np.float64) - 1
    logits = np.stack([one.logits for one in found if one.logits is not None]).astype(np.float64)
    finer = np.stack([cosines(one.embedding, embeddings) for one in found if one.embedding is not None])
    yield "codes", asked.recalls(np.sign(logits) @ signs.T)
    yield "words as floats", asked.recalls(logits @ signs.T)
    yield "words as floats, re-ranked", asked.recalls(_reordered(logits @ signs.T, finer.astype(np.float64)))
    yield "embeddings", asked.recalls(finer.astype(np.float64))


def negated(release: Release, found: Sequence[emoji.Emoji]) -> list[dict[str, Any]]:
    """Print how many of the first 10 hits are right where one tag is wanted and another is not; return it by way."""
    tags: dict[str, set[int]] = {}
    for place, one in enumerate(found):
        for tag in next(iter(one.tags.values())):
            tags.setdefault(tag, set()).add(place)
    pairs = _pairs(tags)
    ids = np.array([release.id_of(f"{number:05d}.png") for number in range(len(release))])
    rows, words = release.segments.embeddings_of(ids), words_for(release)
    lines = []
    for way in ("not said", "subtracted", "`--not`"):
        asked = [_negated(release, words, way, *pair).features for pair in pairs]
        embeddings = release.encoder.encode(np.stack(asked).astype(np.float16)).embedding
        shares = []
        for (wanted, unwanted), embedding in zip(pairs, embeddings, strict=True):
            best = set(np.argsort(-cosines(embedding, rows), kind="stable")[:TOP].tolist())
            right, wrong = tags[wanted] - tags[unwanted], tags[wanted] & tags[unwanted]
            shares.append((len(best & right) / TOP, len(best & wrong) / TOP))
        right_share, wrong_share = np.mean(shares, axis=0).tolist()
        lines.append({"way": way, "pairs": len(pairs), "right": right_share, "unwanted": wrong_share})
        print(f"{way:12} right {right_share:.3f}  unwanted {wrong_share:.3f}", flush=True)
    return lines


def _pairs(tags: Mapping[str, set[int]]) -> list[tuple[str, str]]:
    """Return pairs of tags that have emoji in common, and of which the first has others, too."""
    some = [tag for tag, places in tags.items() if len(places) >= FEWEST]
    found = [
        (one, other)
        for one in some
        for other in some
        if one != other and len(tags[one] & tags[other]) >= FEWEST / 2 and len(tags[one] - tags[other]) >= FEWEST / 2
    ]
    order = np.random.default_rng(0).permutation(len(found))[:PAIRS]
    return [found[place] for place in order]


def _negated(release: Release, words: Words, way: str, wanted: str, unwanted: str) -> Meaning:
    """Return what a tag means without another one, in one of three ways."""
    meaning = words(wanted)
    if way == "`--not`":
        return mixed(release, meaning, Mixture(minus=(unwanted,)))
    if way == "not said":
        return meaning
    first, second = (words(one).features - words.centre for one in (wanted, unwanted))
    moved = words.centre + first - second
    return Meaning(moved / np.linalg.norm(moved))


def others(pictures: Floats, texts: Floats, asked: Questions, bits: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the figures of the other methods, fitted on the pairs of both languages that are not held out."""
    first, second = asked.languages
    known = asked.parts[f"known_{first}"] | asked.parts[f"known_{second}"]
    pairs = pictures[asked.own[known]], texts[known]
    cosine = texts @ pictures.T
    for name, method in METHODS.items():
        for_pictures, for_texts = method(*pairs, bits)
        sides = (pictures - pairs[0].mean(axis=0)) @ for_pictures, (texts - pairs[1].mean(axis=0)) @ for_texts
        scores = np.sign(sides[1]) @ np.sign(sides[0]).T
        yield name, asked.recalls(scores)
        yield f"{name}, re-ranked", asked.recalls(_reordered(scores, cosine))


def _reordered(first: Floats, then: Floats) -> Floats:
    """Return scores by which the first 100 by some scores are in the order of others, before all else."""
    best = np.argsort(-first, axis=1, kind="stable")[:, :LOOKED_AT]
    found = np.full(first.shape, -np.inf)
    np.put_along_axis(found, best, np.take_along_axis(then, best, axis=1), axis=1)
    return found


def towers_say(release: Release, asked: Questions) -> tuple[Floats, Floats]:
    """Return what both towers say of pictures and of texts, [N, F] and [Q, F], of unit length."""
    folder = release.folder("words")
    card = json.loads((folder / layout.Words.CARD).read_bytes())
    tower = SentenceEncoder(folder, layout.Words.GRAPH, Reading.of(card["reading"]))
    rows = Rows(release.folders("rows")[0])
    order = np.argsort(np.array(rows.keys()))
    texts = np.stack([tower(one, "query") for one in asked.texts])
    return rows.features()[order].astype(np.float64), texts.astype(np.float64)


def main() -> None:
    """Print a line for each system and number of bits; figures of releases are means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("--set", choices=emoji.SETS, default="google", help="pictures, languages, names held out")
    parser.add_argument("--bits", default="64,256", help="numbers of bits")
    parser.add_argument("--seeds", type=int, default=1, help="of the stack; the towers are the same")
    parser.add_argument("--work", type=Path, help="a folder that keeps pictures and towers; a temporary one without it")
    add_output(parser, "words")
    args = parser.parse_args()
    print(describe(*PACKAGES), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.work or Path(scratch)
        chosen = emoji.SETS[args.set]
        found = emoji.read(args.packages, chosen)
        if not (folder / "towers").exists():
            emoji.train(found, emoji.write_pictures(found, folder / "pictures"), folder / "towers", chosen)
        asked = Questions.of(found, chosen)
        lines = [line for bits in map(int, args.bits.split(",")) for line in _lines(folder, asked, bits, args.seeds)]
        lines += negated(released(folder, 64, 0, len(found)), found)
    held = int(chosen.held_out(len(found)).sum())
    settings = {"set": args.set, "pictures": len(found), "held_out": held, "seeds": args.seeds}
    write(args.json, lines, PACKAGES, settings=settings)


def _lines(folder: Path, asked: Questions, bits: int, seeds: int) -> list[dict[str, Any]]:
    """Print the figures of all systems with so many bits; return them, each with its share of the float figures."""
    count = len(asked.texts) // len(asked.languages)
    figures: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        release = released(folder, bits, seed, count)
        for name, one in ours(release, asked):
            figures.setdefault(name, []).append(one)
    pictures, texts = towers_say(release, asked)
    exact = asked.recalls(texts @ pictures.T)
    figures |= {name: [one] for name, one in (("float", exact), *others(pictures, texts, asked, bits))}
    lines = []
    for name, several in figures.items():
        means = {part: float(np.mean([one[part] for one in several])) for part in asked.parts}
        shares = {f"share_{part}": _share(means, exact, part, asked.languages) for part in ("held", "known")}
        lines.append({"system": name, "bits": bits, **means, **shares})
        shown = "  ".join(f"{part} {value:.3f}" for part, value in (means | shares).items())
        print(f"{bits:4} {name:28} {shown}", flush=True)
    return lines


def _share(found: dict[str, float], exact: dict[str, float], part: str, languages: Sequence[str]) -> float:
    """Return what a system finds as a share of what the floats find, over all languages."""
    names = [f"{part}_{one}" for one in languages]
    return sum(found[name] for name in names) / sum(exact[name] for name in names)


if __name__ == "__main__":
    main()
