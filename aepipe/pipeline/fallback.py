"""Release rotated components where trained bits are worse.

Where rows are few, or the recipe does not suit them, a rotation of principal components (ITQ) can find more than a
trained stack. Its codes are measured for every release anyway, on the same held-out queries. Where they are better,
they are what is released: the same store, index and encoder format, and no training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aepipe.evaluate.gate import KEPT, LABEL_FREE, decides_without_labels
from aepipe.evaluate.scores import OURS, Scores
from aepipe.evaluate.walks import WALK_MAP
from aepipe.pipeline.resolve import ResolvedRecipe, resolve_for, training_digest
from aepipe.recipe import Choice, CodeRecipe, FinetuneRecipe, FitRecipe, LayerRecipe, Recipe
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store

MOST_COMPONENTS = 256
"""Components that are kept as the embedding, for re-ranking."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The trained codes and those of ITQ, on the same held-out queries.

    Attributes:
        metric: its name.
        ours, itq: its means, larger is better.
        kept: without labels, the recall of float neighbours, as a share of ITQ's; None with labels.
        recalls: of float neighbours, ours and that of ITQ, where ITQ is better by no more than chance may be; then they
            decide. None elsewhere.
        least: the share of ITQ's recall that is kept at least.
    """

    metric: str
    ours: float
    itq: float
    kept: float | None = None
    recalls: tuple[float, float] | None = None
    least: float = KEPT

    @property
    def better(self) -> str:
        """The method that measured best: ``stack`` or ``itq``."""
        if self.lost:
            return "itq"
        if self.recalls is not None:
            return "itq" if self.recalls[0] < self.recalls[1] else "stack"
        return "itq" if self.metric != LABEL_FREE and self.ours < self.itq else "stack"

    @property
    def lost(self) -> bool:
        """Whether too many of the neighbours that ITQ keeps are lost."""
        return self.kept is not None and self.kept < self.least

    def __str__(self) -> str:
        if self.lost and self.ours >= self.itq:
            return (
                f"rotated components (ITQ) are released, because the trained codes keep only {self.kept:.0%} of the "
                f"neighbours that ITQ keeps: {self.metric} {self.itq:.3f} against {self.ours:.3f}"
            )
        if self.better == "itq":
            return (
                f"rotated components (ITQ) are released, because they measured better than the trained codes: "
                f"{self.metric} {self.itq:.3f} against {self.ours:.3f}"
            )
        return (
            f"the trained codes are released: {self.metric} {self.ours:.3f} against {self.itq:.3f} of rotated "
            f"components (ITQ){self._decided}"
        )

    @property
    def _decided(self) -> str:
        """Say what decided where the metric did not."""
        if self.recalls is None:
            return ""
        ours, itq = self.recalls
        return f", which may be chance; {LABEL_FREE} {ours:.3f} against {itq:.3f}"


def compared(store: Store, measured: Ref, metric: str, *, least: float = KEPT) -> Compared | None:
    """Compare codes with those of ITQ; None where no metric was measured for both.

    Args:
        store: that holds the scores.
        measured: scores of the trained codes.
        metric: that the gate looks at. Without labels ``walk_map`` decides, with a look at the recall of neighbours;
            scores of earlier versions have that recall alone.
        least: the share of ITQ's recall that is kept at least, without labels.

    Raises:
        CorruptError: the scores are not what was written.
    """
    scores = Scores.read(store.verified(measured) / layout.Scores.SCORES)
    if decides_without_labels(scores):
        metric = WALK_MAP
    recall, theirs = (scores.metric(LABEL_FREE, system) for system in (OURS, "itq"))
    kept = recall.value / max(theirs.value, 1e-9) if recall and theirs else None
    for name in (metric, LABEL_FREE):
        ours, itq = scores.metric(name, OURS), scores.metric(name, "itq")
        if ours is not None and itq is not None:
            lost = kept if name in (WALK_MAP, LABEL_FREE) else None
            return Compared(name, ours.value, itq.value, lost, _recalls(scores, name), least)
    return None


def kept_its_lead(store: Store, found: Compared, made: Ref, trained: Ref) -> bool:
    """Tell whether rotated components, once they are made, measure as well as the trained codes.

    Of few rows, another rotation may find less than the one that was measured.

    Args:
        store: that holds the scores.
        found: what was measured before they were made.
        made: scores of the rotated components.
        trained: scores of the trained codes.

    Raises:
        CorruptError: the scores are not what was written.
    """
    if found.lost or found.recalls is not None:
        return True
    scores = [Scores.read(store.verified(ref) / layout.Scores.SCORES) for ref in (made, trained)]
    new, old = (one.metric(found.metric, OURS) for one in scores)
    return new is None or old is None or new.value >= old.value


def _recalls(scores: Scores, metric: str) -> tuple[float, float] | None:
    """Return the recalls of both where ITQ's lead in a metric of labels lies within the interval of ours."""
    ours, itq = scores.metric(metric, OURS), scores.metric(metric, "itq")
    near, other = scores.metric(LABEL_FREE, OURS), scores.metric(LABEL_FREE, "itq")
    if metric in (LABEL_FREE, WALK_MAP) or ours is None or itq is None or near is None or other is None:
        return None
    return (near.value, other.value) if ours.value < itq.value <= ours.high else None


def least_of(resolved: ResolvedRecipe) -> float:
    """Return the share of ITQ's recall that trained bits have to keep, without labels.

    Half of it is enough for who asks for rows of a kind. Words that tell rows of one kind apart find them by the
    features alone, so neighbours by features are what their codes are for.
    """
    return 1.0 if resolved.words is not None and resolved.words.exact else KEPT


def applies(resolved: ResolvedRecipe) -> bool:
    """Say whether rotated components may take the place of a recipe's bits."""
    code = resolved.recipe.code
    return code.fallback == "itq" and code.objective.kind != "itq"


def linear(resolved: ResolvedRecipe, *, trained: Recipe | None = None) -> ResolvedRecipe:
    """Return the recipe of rotated components for the same rows, with the same number of bits.

    Args:
        resolved: the recipe whose trained bits they stand for.
        trained: of an encoder in service, as for :func:`aepipe.pipeline.resolve.resolve`.
    """
    recipe = resolved.recipe
    width = min(MOST_COMPONENTS, math.prod(resolved.source.shape))
    once = FitRecipe(epochs=1, batch=4096)
    options: dict[str, object] = {"width": width, "activation": "linear"}
    if resolved.source.spans is not None:  # of a table, cells may be missing
        options["holes"] = True
    components = LayerRecipe(
        net=Choice(kind="dense", options=options),
        objective=Choice(kind="components", options={"whiten": 0.0}),
        fit=once,
    )
    stands_for = training_digest(recipe)
    objective, bits = Choice(kind="itq"), recipe.code.bits
    kept = recipe.code.embedding
    code = CodeRecipe(bits=bits, normalize=False, objective=objective, fit=once, embedding=kept, stands_for=stands_for)
    changes = {"layers": (components,), "code": code, "finetune": FinetuneRecipe(epochs=0), "pretrain": True}
    simple = recipe.model_copy(update=changes)
    simple._file = recipe.file
    return resolve_for(simple, resolved.source, trained=trained)
