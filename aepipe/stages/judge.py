"""A release -> the gate's verdict on it; writes nothing."""

from __future__ import annotations

from aepipe import evaluate, service
from aepipe.evaluate import ItqRule, Scores, Verdict
from aepipe.plan import Plan
from aepipe.release import Release
from aepipe.store import Ref, Store

_RULES: dict[object, ItqRule] = {True: "warn", False: "ignore", "forbid": "forbid"}


def judge(store: Store, plan: Plan, release: Ref) -> Verdict:
    """Compare a release with the one in service under the recipe's name, by the rules of its ``[gate]``.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: a part of one of the two is not what was written.
    """
    gate = plan.recipe.gate
    before = service.current(store, plan.recipe.name)
    return evaluate.judge(
        _scores(store, release),
        _scores(store, before) if before else None,
        metric=gate.metric,
        max_regression=gate.max_regression,
        itq=_RULES[gate.warn_below_itq],
    )


def _scores(store: Store, release: Ref) -> Scores:
    """Read a release's scores."""
    return Scores.from_dict(Release.open(store, ref=release).scores)
