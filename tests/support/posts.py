"""A small collection of documents for tests: made without torch and without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aepipe import recipe, sources
from aepipe.index import hamming
from aepipe.pipeline.ingest import ingest
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.support.encoders import write_encoder
from tests.support.releases import BarePlan, publish_rows

SUBJECTS = {
    "bicycle": "a bicycle has wheels, a chain and tyres that need air",
    "bread": "bread is made of flour, water, salt and time in an oven",
    "guitar": "a guitar has six strings and a neck, and is played with fingers",
    "river": "the river runs from the mountain to the sea through a valley",
}
EACH = 6
RARE = "zanzibar"
CHINESE = "自行车的轮子和链条"


def make_posts_release(
    folder: Path, n_bits: int = 64, more: Mapping[tuple[str, int], str] | None = None
) -> tuple[Store, Ref]:
    """Make a release of short documents, and put it into service as ``posts``.

    Key ``bread/3.txt`` has a word that no other document has, and ``bicycle/0.txt`` a line of Chinese. ``more`` is
    added to others.
    """
    for subject, text in SUBJECTS.items():
        (folder / "posts" / subject).mkdir(parents=True)
        for number in range(EACH):
            added = {("bread", 3): RARE, ("bicycle", 0): CHINESE, **(more or {})}.get((subject, number), "")
            words = " ".join(text.split()[number:] + text.split()[:number])
            (folder / "posts" / subject / f"{number}.txt").write_text(f"{words} {added}", encoding="utf-8")
    table = {
        "name": "posts",
        "source": {"kind": "text", "path": str(folder / "posts"), "label": "parent"},
        "features": {"words": 40},
        "layers": [{"net": "dense"}],
        "code": {"bits": n_bits},
    }
    parsed = recipe.parse(table, folder / "posts.toml")
    store = Store(folder / "store")
    read = sources.resolve(parsed)
    rows = ingest(store, read)
    source = read.fitted(None)
    plan = BarePlan(parsed, source, hamming.resolve(parsed.index.kind))
    with store.draft("model") as draft:
        facts = {"n_bits": n_bits, "dtype": "float16", "hidden": (32,), "source": "text", "features": source.features()}
        write_encoder(draft.path, shape=source.shape, **facts)  # type: ignore[arg-type]
        model = draft.finish({"made": "by a test", "n_bits": n_bits})
    ref = publish_rows(store, plan, rows, model)
    registry.promote(store, "posts", ref, why="made by a test")
    return store, ref
