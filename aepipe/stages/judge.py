"""A release -> the gate's verdict on it; writes nothing."""

from __future__ import annotations

from aepipe import evaluate
from aepipe.evaluate import ItqRule, Scores, Verdict
from aepipe.plan import Plan
from aepipe.release import Release
from aepipe.store import Ref, Store
from aepipe.verification import last_sound

_RULES: dict[object, ItqRule] = {True: "warn", False: "ignore", "forbid": "forbid"}


def judge(store: Store, plan: Plan, release: Ref) -> Verdict:
    """Compare a release with the one in service under the recipe's name, by the rules of its ``[gate]``.

    Where the one in service is damaged, the newest one before it that is whole takes its place.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: a part of it is not what was written.
    """
    gate = plan.recipe.gate
    before = last_sound(store, plan.recipe.name)
    return evaluate.judge(
        Scores.from_dict(Release.open(store, ref=release).scores),
        Scores.from_dict(before.scores) if before else None,
        metric=gate.metric,
        max_regression=gate.max_regression,
        itq=_RULES[gate.warn_below_itq],
    )
