"""What is seen of a collection without looking into its items: how many, and what labels and splits can be made of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from aepipe import sources
from aepipe.recipe import Choice, LayerRecipe, Recipe
from aepipe.sources.item import Item

SPLITS = frozenset({"train", "test"})
LABELS = ("label", "category", "class", "target")


@dataclass(slots=True)
class Survey:
    """What was seen of a collection.

    Attributes:
        rows: items in all.
        parents: items by the name of their folder.
        tops: items by the name of their topmost folder.
        files: items by the name of the file that holds them, up to its first dot.
        columns: items by value, for each of the columns that may be ``label`` or ``split``.
        given: items with a ``label``, and with a ``split``, that their container knows of itself.
    """

    rows: int = 0
    parents: Counter[str] = field(default_factory=Counter)
    tops: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    columns: dict[str, Counter[str]] = field(default_factory=dict)
    given: Counter[str] = field(default_factory=Counter)

    def count(self, item: Item) -> None:
        """Count what labels and splits could be made of."""
        self.rows += 1
        folders = PurePosixPath(item.key).parts[:-1]
        self.parents[folders[-1] if folders else ""] += 1
        self.tops[folders[0] if folders else ""] += 1
        self.files[PurePosixPath(item.place.partition("#")[0]).name.partition(".")[0]] += 1
        self.given["label"] += item.label is not None
        self.given["split"] += item.split is not None
        for column in (*LABELS, "split"):
            value = item.columns.get(column)
            if value is not None:
                self.columns.setdefault(column, Counter())[str(value)] += 1

    def source_block(self, kind: str, path: str, *more: str) -> str:
        """Return ``[source]``.

        Args:
            kind: of source.
            path: as the recipe has it.
            more: lines that only this kind has.
        """
        lines = ["[source]", f'kind = "{kind}"', f"path = {json.dumps(path, ensure_ascii=False)}", *more]
        label, split = self.label(), self._split()
        if label not in {"", "given"}:
            lines.append(f'label = "{label}"  # {self._label_reason(label)}; for evaluation only')
        if split != "given":
            lines.append(f"split = {split}")
        return "\n".join(lines)

    def label(self) -> str:
        """Return what serves as a label: a column, ``parent``, ``given`` by the container, or nothing."""
        if self.given["label"]:
            return "given"
        column = next((name for name in LABELS if 2 <= len(self.columns.get(name, ())) <= max(2, self.rows // 3)), None)
        if column:
            return column
        classes = {name: count for name, count in self.parents.items() if name and name not in SPLITS}
        # Folders by date or by author are no classes: there are many of them, or few items in each.
        plausible = 2 <= len(classes) <= max(2, self.rows // 5) and np.median(list(classes.values())) >= 3
        return "parent" if plausible and sum(classes.values()) >= 0.95 * self.rows else ""

    def _label_reason(self, label: str) -> str:
        """Say where labels come from."""
        return f"{len(self.parents)} folders" if label == "parent" else f"{len(self.columns[label])} values"

    def _split(self) -> str:
        """Return what parts training from test rows, as TOML."""
        if self.given["split"]:
            return "given"
        if set(self.columns.get("split", ())) >= SPLITS:
            return '"split"'
        for option, seen in (("top", self.tops), ("file", self.files)):
            if set(seen) >= SPLITS and seen["train"] + seen["test"] >= 0.95 * self.rows:
                return f'"{option}"'
        return "{ test = 0.1 }  # decided by the bytes of each item, so it stays as it is"


def items_of(kind: str, path: str, **options: Any) -> Iterator[Item]:  # noqa: ANN401  any option of a source
    """Give the items of a path, with whatever columns there are."""
    bare = Recipe(
        name="derived",
        source=Choice(kind=kind, options={"path": path, **options}),
        layers=(LayerRecipe(net=Choice(kind="dense")),),
    )
    return sources.resolve(bare).items()
