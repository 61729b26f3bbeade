"""Every verb on collections that hold next to nothing; a program.

    python -m tests.faults.degenerate FOLDER [CASE...]

Each case is a collection, written into a folder of its own, and a child that runs all verbs on it. It prints a line of
JSON for each verb: its status, its line of error, and what is wrong. A verb that ends by a signal ends its child, and
is named.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aepipe.errors import AepipeError
from aepipe.release.release import Release
from aepipe.runs import load_flow
from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.faults import trials
from tests.support.plain_flows import plain_flows

VERBS: list[list[str]] = [
    ["run", "SOURCE", "--name", "small"],
    ["run", "SOURCE", "--name", "small"],
    ["list"],
    ["query", "--id", "0"],
    ["query", "--id", "0", "-k", "1", "--fast", "--others"],
    ["query", "--id", "0", "--radius", "3", "--distinct"],
    ["query", "--id", "0", "--where", "id < 0"],
    ["query", "--id", "0", "--bits", "1"],
    ["query", "--id", "0", "--picture", "hits.png"],
    ["query", "ITEM"],
    ["show"],
    ["show", "--json"],
    ["show", "--quarantine"],
    ["show", "--page", "page.html"],
    ["show", "--hits", "hits.png"],
    ["show", "--curves", "curves.png"],
    ["show", "--map", "map.png"],
    ["show", "--filters", "filters.png"],
    ["evaluate"],
    ["evaluate", "--again"],
    ["evaluate", "--bits", "1"],
    ["evaluate", "--picture", "evaluate.png"],
    ["map"],
    ["dedup"],
    ["dedup", "--radius", "0", "--out", "groups.parquet"],
    ["generate", "-n", "2", "--steps", "2", "--out", "made.npy"],
    ["generate", "--walk", "walk.png"],
    ["reconstruct", "--id", "0"],
    ["interpolate", "ITEM", "ITEM"],
    ["plan", "--rows", "1000"],
    ["export", "out"],
    ["history"],
    ["verify"],
    ["verify", "--all"],
    ["doctor"],
    ["impute", "SOURCE", "--out", "filled.csv", "--steps", "1"],
    ["nightly", "small.toml"],
    ["refresh"],
    ["add", "MORE"],
    ["query", "--id", "0"],
    ["diff"],
    ["remove", "--id", "0"],
    ["remove", "--where", "id >= 0", "-y"],
    ["compact"],
    ["diff"],
    ["rollback"],
    ["nightly", "small.toml", "--retrain", "always"],
    ["gc", "--keep", "1", "--hours", "0"],
    ["rename", "small", "tiny"],
    ["drop", "tiny", "-y"],
]
"""In this order; SOURCE is the collection, ITEM one of its items, and MORE one that it does not hold."""
WITHOUT_RELEASE = {"run", "nightly", "list", "verify", "doctor", "gc", "impute", "history", "plan"}
SAID = (0, 1, 2, 3)
Make = Callable[[Path], "Written"]
Written = tuple[str, str, str]
"""Paths of the collection, of one of its items, and of one more."""


def picture(number: int, side: int = 12) -> bytes:
    """Return a picture of its own as PNG."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side), np.uint8)
    Image.fromarray(pixels).save(found := io.BytesIO(), "PNG", compress_level=number % 10)
    return found.getvalue()


def sound(number: int, *, silent: bool = False) -> bytes:
    """Return a recording of half a second."""
    steps = np.arange(4000) / 8000 * (200 + 40 * number) * 2 * np.pi
    with wave.open(found := io.BytesIO(), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(((0 if silent else 9000) * np.sin(steps)).astype("<i2").tobytes())
    return found.getvalue()


def text(number: int) -> bytes:
    """Return some words of its own."""
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
    return " ".join(np.random.default_rng(number).choice(words, 9)).encode()


def files(kind: str, contents: Sequence[bytes], more: bytes, label: bool = False) -> Make:
    """Return what writes a folder of files."""

    def write(folder: Path) -> Written:
        place = folder / "source" / ("one" if label else ".")
        place.mkdir(parents=True)
        for number, content in enumerate(contents):
            (place / f"{number:03}.{kind}").write_bytes(content)
        (folder / f"more.{kind}").write_bytes(more)
        return "source", str(place / f"000.{kind}"), f"more.{kind}"

    return write


def table(lines: Sequence[str], more: str, head: str = "height,width,label") -> Make:
    """Return what writes a CSV."""

    def write(folder: Path) -> Written:
        (folder / "source.csv").write_text("\n".join([head, *lines]) + "\n")
        (folder / "more.csv").write_text("\n".join([head, more]) + "\n")
        return "source.csv", "more.csv", "more.csv"

    return write


def vectors(rows: Any) -> Make:
    """Return what writes an array of vectors."""

    def write(folder: Path) -> Written:
        array = np.asarray(rows, np.float32)
        np.save(folder / "source.npy", array)
        np.save(folder / "more.npy", array[:1] + 1)
        return "source.npy", "more.npy", "more.npy"

    return write


def _of_files(kind: str, one: Callable[[int], bytes], bad: bytes) -> Iterator[tuple[str, Make]]:
    """Yield the cases of a kind of which each item is a file."""
    yield f"{kind}: all equal", files(kind, [one(0)] * 12, one(1))
    yield f"{kind}: one", files(kind, [one(0)], one(1))
    yield f"{kind}: two", files(kind, [one(0), one(1)], one(2))
    yield f"{kind}: fewer than bits", files(kind, [one(number) for number in range(9)], one(20))
    yield f"{kind}: one class", files(kind, [one(number) for number in range(12)], one(20), label=True)
    yield f"{kind}: all bad but one", files(kind, [one(0), *[bad] * 5], one(1))
    yield f"{kind}: all bad", files(kind, [bad] * 6, one(1))


def cases() -> dict[str, Make]:
    """Return what writes each collection, by its name."""
    rng = np.random.default_rng(0)
    found = dict(_of_files("png", picture, b"\x89PNG\r\n\x1a\ntorn"))
    found |= dict(_of_files("txt", text, b"\xff\xfe\x00"))
    found |= dict(_of_files("wav", sound, b"RIFF\0\0\0\0WAVEtorn"))
    found["png: one pixel"] = files("png", [picture(number, 1) for number in range(12)], picture(20, 1))
    found["wav: all silent but one"] = files("wav", [sound(0), *[sound(0, silent=True)] * 6], sound(1))
    found["wav: all silent"] = files("wav", [sound(0, silent=True)] * 6, sound(1))
    found["txt: all empty but one"] = files("txt", [text(0), *[b""] * 6], text(1))
    found["csv: all equal"] = table(["1.5,2,a"] * 12, "3,4,b")
    found["csv: one"] = table(["1.5,2,a"], "3,4,b")
    found["csv: two"] = table(["1.5,2,a", "3,1,b"], "3,4,b")
    found["csv: fewer than bits"] = table([f"{n * n % 7}.5,{n},{'ab'[n % 2]}" for n in range(9)], "3,4,b")
    found["csv: one class"] = table([f"{n * n % 7}.5,{n},a" for n in range(12)], "3,4,a")
    found["csv: one column"] = table([f"{n * n % 7}.5" for n in range(12)], "3", "height")
    found["csv: one constant column"] = table(["7"] * 12, "3", "height")
    found["csv: nothing but holes"] = table([","] * 12, ",", "height,width")
    found["csv: no row"] = table([], "3,4,b")
    found["npy: all equal"] = vectors(np.ones((12, 8)))
    found["npy: one"] = vectors(rng.normal(size=(1, 8)))
    found["npy: two"] = vectors(rng.normal(size=(2, 8)))
    found["npy: fewer than bits"] = vectors(rng.normal(size=(9, 8)))
    found["npy: one component"] = vectors(rng.normal(size=(12, 1)))
    found["npy: zeros"] = vectors(np.zeros((12, 8)))
    found["npy: all bad but one"] = vectors(np.where(np.arange(12)[:, None] == 3, 1.0, np.nan) * np.ones((12, 8)))
    found["npy: all bad"] = vectors(np.full((12, 8), np.nan))
    found["npy: no row"] = vectors(np.zeros((0, 8)))
    return found


def verbs_on(make: Make, folder: Path, progress: Path) -> list[dict[str, Any]]:
    """Run all verbs on a collection; what is wrong stands in the result of each."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    source, item, more = make(folder)
    names, found = {"SOURCE": source, "ITEM": item, "MORE": more}, []
    for words in VERBS:
        if words[0] == "impute" and not source.endswith(".csv"):
            continue
        if words[0] == "run":
            _derive(source)
        given = [names.get(word, word) for word in words]
        progress.write_text(" ".join(given))
        home = [] if words[0] == "impute" else ["--home", str(folder / "store")]
        done = trials.do([*given, *home])
        lines = trials.said(done)
        wrong = []
        if done.exit_code not in SAID or not isinstance(done.exception, SystemExit | None):
            wrong.append(f"{done.stderr.strip()[-300:]} {done.exception!r}")
        elif done.exit_code in {2, 3} and len(lines) != 1:
            wrong.append(f"{len(lines)} lines: {lines}")
        if words[0] == "run" and done.exit_code == 1:  # the gate refuses it; whoever wants it all the same has it
            made = Store(folder / "store").refs("release")[-1]
            trials.do(["promote", made.digest, "--home", str(folder / "store")])
        if words[0] == "run" and done.exit_code == 0:
            wrong += [*_answers(Store(folder / "store"))]
        if words[0] not in WITHOUT_RELEASE and not registry.names(Store(folder / "store")) and done.exit_code == 2:
            continue  # one refusal of each that there is nothing is enough, and the suite has those
        found.append({"verb": " ".join(given), "status": done.exit_code, "said": lines[-1:], "wrong": wrong})
    return found


def _derive(source: str) -> None:
    """Write the recipe of a collection, as a run would, but for short trainings; nothing where none can be derived."""
    with suppress(AepipeError):
        file = load_flow("catalog").recipe_for(source, name="small").file
        file.write_text(re.sub(r"(?m)(epochs|steps) = \d+", r"\1 = 1", file.read_text()))


def _answers(store: Store) -> Iterator[str]:
    """Yield what is wrong with the answers of a release: a row finds itself, or one with the same code."""
    try:
        release = Release.open(store)
        ids = release.items.ids
        hits = release.query(release.codes_of(ids), 1)
        if len(ids) and (hits.distances[:, 0] != 0).any():
            yield "a row does not find itself"
    except AepipeError as error:
        yield f"it does not open: {error}"


def main(folder: Path, names: Sequence[str]) -> None:
    """Be the program."""
    logging.disable(logging.CRITICAL)
    made = cases()
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(folder))
        patched.setattr("aepipe.cli.doctor.packages", lambda: iter(()))
        for number, name in enumerate(names or made):
            progress = folder / "progress"
            found = trials.in_child(partial(verbs_on, made[name], folder / str(number), progress))
            if isinstance(found[0], str):
                found = [{"verb": progress.read_text(), "status": None, "said": [], "wrong": found}]
            for one in found:
                print(json.dumps({"case": name, **one}), flush=True)  # noqa: T201  the output


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
