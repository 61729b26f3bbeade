"""Foresee a run: the items it would read, leave out and learn from, and its training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aepipe.errors import StoreError
from aepipe.pipeline.resolve import ResolvedRecipe
from aepipe.release.manifest import ReleaseManifest
from aepipe.report.facts import layer_names, reading_lines
from aepipe.report.tables import text_table
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store

NAMED = 12
"""Columns that are named."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a run would do.

    Attributes:
        name: of the collection.
        kind: of its items.
        path: where they are.
        rows: how many there are.
        columns: that they have beside label and split.
        read: what would be left out, passed over and guessed; as :func:`aepipe.store.reading.facts_of` returns it.
        layers: short names of the layers, the bits last.
        epochs: of each training at most, fine-tuning last.
        in_service: the release that a new one would be compared with; None for the first.
        seconds: that the training of that release took, where it is known.
        store: the folder that would be written to.
    """

    name: str
    kind: str
    path: str
    rows: int
    columns: tuple[str, ...]
    read: Mapping[str, Any]
    layers: tuple[str, ...]
    epochs: tuple[int, ...]
    in_service: Ref | None
    seconds: float | None
    store: str

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        names = ("name", "kind", "path", "rows", "columns", "read", "layers", "epochs", "seconds", "store")
        found = {name: getattr(self, name) for name in names}
        return found | {"in_service": self.in_service.digest if self.in_service else None}


def foresee(store: Store, resolved: ResolvedRecipe) -> Foresight:
    """Look at the items of a recipe and at the store, and write nothing.

    Raises:
        SourceError: there are no items, or they cannot be read.
    """
    recipe, source = resolved.recipe, resolved.source
    rows = sum(1 for _ in source.items())  # what is passed over is known after that, too
    now = registry.current(store, recipe.name)
    read = {"passed_over": source.passed_over.facts(), "left_out": dict(source.left_out), "notes": list(source.notes)}
    read |= {"backbone": said} if (said := list(getattr(source, "network_said", ()))) else {}
    read |= {"words": said} if (said := list(getattr(resolved.words, "said", ()))) else {}
    fits = [layer.fit.epochs for layer in recipe.layers] if recipe.pretrain else []
    return Foresight(
        name=recipe.name,
        kind=recipe.source.kind,
        path=str(recipe.source.options.get("path", source.location)),
        rows=rows,
        columns=tuple(source.schema().names),
        read=read,
        layers=tuple(layer_names(recipe.model_dump(mode="json"))),
        epochs=(*fits, *([recipe.code.fit.epochs] if recipe.pretrain else []), recipe.finetune.epochs),
        in_service=now,
        seconds=None if now is None else training_seconds(store, now),
        store=store.address,
    )


def training_seconds(store: Store, release: Ref) -> float | None:
    """Return how long the networks of a release were trained; None where that is not known."""
    try:
        trained, ahead = 0.0, [ReleaseManifest.read(store, release).encoder]
        while ahead:
            made = store.manifest(ahead.pop())
            trained += float(made.facts["seconds"])
            ahead += [Ref.parse(text) for text in made.inputs.values() if str(text).startswith("layer/")]
    except (StoreError, KeyError, TypeError, ValueError):
        return None
    return trained


def foresight_text(found: Foresight, recipe: str) -> str:
    """Return it as lines for people.

    Args:
        found: what a run would do.
        recipe: where its recipe is, or would be written.
    """
    return f"{found.name}: what a run would do; nothing is written\n" + text_table(
        [(f"  {name}", value) for name, value in _lines(found, recipe)], left=(0, 1)
    )


def _lines(found: Foresight, recipe: str) -> Iterator[tuple[str, str]]:
    yield "recipe", recipe
    yield "kind", found.kind
    yield "items", f"{found.rows:,} in {found.path}"
    if found.columns:
        more = f" and {len(found.columns) - NAMED:,} more" if len(found.columns) > NAMED else ""
        yield "columns", ", ".join(found.columns[:NAMED]) + more
    yield from reading_lines(found.read)
    epochs = " + ".join(f"{count:,}" for count in found.epochs)
    yield "training", f"{' > '.join(found.layers)}; at most {epochs} epochs"
    if found.in_service is None:
        yield "in service", "nothing yet under this name"
        yield "time", "not known before a first run"
    else:
        yield "in service", f"release {found.in_service.short}, which a new one has to be as good as"
        yield "time", _time(found.seconds)
    yield "store", found.store


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"about {seconds:,.0f} s of training, as the last time; none for what is in the store already"
