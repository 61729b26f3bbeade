"""Fuzzing guided by the lines of aepipe that an input reaches.

``make fuzz`` tries all targets; this tries one:

    python -m tests.faults.guided a.png --inputs 60000

Inputs start as the real files of :mod:`tests.faults.test_fuzz`, and libFuzzer changes them by way of atheris. An input
that is neither read nor refused by one of our errors in one line ends the run with its trace, and its path is printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["aepipe"]):
    from aepipe import recipe, sources
    from aepipe.codes.bitcodes import BitCodes
    from aepipe.errors import AepipeError
    from aepipe.release.release import Release
    from aepipe.sources.loader import read_all
    from aepipe.store.artifacts import Store
    from tests.faults import test_fuzz
    from tests.support.samples import TINY

Target = tuple[Callable[[bytes], object], list[bytes]]
"""A function that reads an input, and inputs to start with; the first one is sound."""
MOST = 512
"""Bytes that an input has at most, or twice as many as those to begin with: longer ones say no more."""
ITEMS = 20
"""Items read from each input, at most: a file of pictures of one pixel has thousands."""


def source(name: str, folder: Path) -> Target:
    """Return a function that reads all items of a source, and the sound bytes of its file."""
    file, whole, how = test_fuzz.prepared(name, folder)

    def read(data: bytes) -> None:
        file.write_bytes(data)
        for outcome in islice(read_all(sources.resolve(how).fitted(None)), ITEMS):
            assert ".." not in Path(outcome.item.place).parts, outcome.item.place

    return read, [whole]


def toml(folder: Path) -> Target:
    """Return a function that resolves a recipe, and sound recipes."""
    file = folder / "tiny.toml"
    (folder / "photos").mkdir()
    (folder / "photos" / "b.png").write_bytes(test_fuzz.picture("png"))

    def read(data: bytes) -> None:
        file.write_bytes(data)
        sources.resolve(recipe.load(file))

    packaged = (Path(__file__).parents[2] / "flows" / "recipes").glob("*.toml")
    return read, [TINY.format(epochs=1).encode(), *(one.read_bytes() for one in sorted(packaged))]


def codes(_: Path) -> Target:
    """Return a function that reads codes in hex, and a sound code."""
    return lambda data: BitCodes.from_hex([data.decode("utf-8", "replace")], 64), [b"0123456789abcdef"]


def store(folder: Path) -> Target:
    """Return a function that queries a release with one file replaced, and its sound files.

    The first byte of an input chooses the file.
    """
    whole_store, asked, files = test_fuzz.released(folder)

    def read(data: bytes) -> None:
        file = files[(data[0] if data else 0) % len(files)]
        whole = file.read_bytes()
        file.write_bytes(data[1:])
        try:
            release = Release.open(Store(whole_store.root))
            release.query(asked, 3)
            release.describe([0])
        finally:
            file.write_bytes(whole)

    return read, [bytes([place]) + file.read_bytes() for place, file in enumerate(files)]


TARGETS: dict[str, Callable[[Path], Target]] = {
    **{name: partial(source, name) for name in test_fuzz.FILES},
    "recipe": toml,
    "hex": codes,
    "store": store,
}


def fuzz(name: str, inputs: int, seed: int) -> None:
    """Try one target; the process ends in here."""
    with tempfile.TemporaryDirectory(prefix="aepipe-fuzz-") as text:
        folder = Path(text)
        with atheris.instrument_imports(include=["aepipe"]):
            read, seeds = TARGETS[name](folder)
            read(seeds[0])  # late imports are instrumented too
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, one in enumerate(seeds):
            (corpus / str(number)).write_bytes(one)

        def tried(data: bytes) -> None:
            try:
                read(data)
            except AepipeError as error:
                test_fuzz.check(error)

        most = max(MOST, 2 * max(map(len, seeds)))
        limits = [f"-atheris_runs={inputs}", f"-max_len={most}", f"-seed={seed}", "-timeout=60", "-rss_limit_mb=4096"]
        limits += ["-verbosity=0", f"-artifact_prefix={tempfile.gettempdir()}/aepipe-{name}-"]
        atheris.Setup([sys.argv[0], *limits, str(corpus)], tried)
        atheris.Fuzz()


def main() -> None:
    """Try one target in this process, or each of all in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=["all", *TARGETS])
    parser.add_argument("--inputs", type=int, default=56_000, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if asked.target != "all":
        fuzz(asked.target, asked.inputs, asked.seed)
    failed = []
    for name in TARGETS:
        began = time.monotonic()
        order = [name, "--inputs", str(asked.inputs), "--seed", str(asked.seed)]
        done = subprocess.run([sys.executable, "-m", "tests.faults.guided", *order], check=False)
        print(f"{name:24} {asked.inputs:,} inputs in {time.monotonic() - began:,.0f} s, {done.returncode=}", flush=True)
        failed += [name] if done.returncode else []
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
