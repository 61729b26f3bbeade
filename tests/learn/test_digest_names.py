"""Digest names of every kind of choice: those that existing stores were written with.

The table is written out on purpose: if a name here changes, everything that users have trained is trained again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from aepipe.learn import corruption as corruptions
from aepipe.learn import likelihood, nets, objectives, posterior
from aepipe.learn import spec as layer_specs
from aepipe.recipe import Choice, LayerRecipe, Options

NAMES = {
    "net": {
        "conv": "conv.Options",
        "dense": "dense.Options",
        "gru": "gru.Options",
        "residual": "residual.Options",
    },
    "objective": {
        "adversarial": "adversarial.Options",
        "components": "components.Options",
        "copies": "copies.Options",
        "itq": "itq.Options",
        "contractive": "contractive.Options",
        "masked": "masked.Options",
        "neighbourhood": "neighbourhood.Options",
        "psd": "psd.Options",
        "recirculation": "recirculation.Options",
        "reconstruction": "reconstruction.Options",
        "sparse": "sparse.Options",
        "variational": "variational.Options",
        "walkback": "walkback.Options",
    },
    "posterior": {
        "delta": "points.Delta",
        "k-sparse": "points.KSparse",
        "gaussian": "priors.Gaussian",
        "bernoulli": "priors.Bernoulli",
        "categorical": "priors.Categorical",
        "straight-through": "bits.StraightThrough",
        "noise": "bits.Noise",
        "tanh": "bits.Tanh",
    },
    "binarize": {
        "straight-through": "bits.StraightThrough",
        "noise": "bits.Noise",
        "tanh": "bits.Tanh",
        "bernoulli": "bits.Coin",
        "rotation": "bits.Rotation",
    },
    "likelihood": {
        "gaussian": "likelihood.Gaussian",
        "mse": "likelihood.Gaussian",
        "bernoulli": "likelihood.Bernoulli",
        "cross_entropy": "likelihood.Bernoulli",
        "kl": "likelihood.Divergence",
        "categorical": "likelihood.Categorical",
        "softmax": "likelihood.Categorical",
        "hinge": "likelihood.Hinge",
        "columns": "likelihood.Columns",
    },
    "corruption": {
        "none": "corrupt.Clean",
        "mask": "corrupt.Mask",
        "gaussian": "corrupt.Gaussian",
        "salt_pepper": "corrupt.SaltPepper",
        "block": "corrupt.Block",
        "shift": "corrupt.Shift",
        "jitter": "corrupt.Jitter",
        "chain": "corrupt.Chain",
        "mcar": "missing.AtRandom",
        "mar": "missing.ByOthers",
        "mnar": "missing.ByItself",
    },
}
KINDS: Mapping[str, Mapping[str, type[Options]]] = {
    "net": nets.kinds(),
    "objective": objectives.kinds(),
    "posterior": posterior.KINDS,
    "binarize": posterior.BITS,
    "likelihood": likelihood.KINDS,
    "corruption": corruptions.KINDS,
}


@pytest.mark.parametrize("role", NAMES)
def test_every_kind_has_the_name_that_stores_were_written_with(role: str) -> None:
    assert {kind: vars(model).get("digest_name") for kind, model in KINDS[role].items()} == NAMES[role]


@pytest.mark.parametrize("role", NAMES)
def test_no_two_kinds_of_a_role_share_a_name(role: str) -> None:
    classes = set(KINDS[role].values())
    assert len({vars(model)["digest_name"] for model in classes}) == len(classes)


def test_keys_are_over_these_names() -> None:
    recipe = LayerRecipe(
        net=Choice(kind="dense", options={"width": 4}), posterior=Choice(kind="k-sparse", options={"k": 2})
    )
    key = layer_specs.layer_spec(recipe, "x").key()
    assert {role: part["kind"] for role, part in key.items() if role in NAMES} == {
        "net": "dense.Options",
        "posterior": "points.KSparse",
        "likelihood": "likelihood.Gaussian",
        "corruption": "corrupt.Clean",
        "objective": "reconstruction.Options",
    }
    assert "digest_name" not in str(key), "the name is no option of its own"


def test_a_kind_without_a_name_of_its_own_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Softer(corruptions.Mask):
        """A kind without a name; with the inherited one, it would get the results of masks."""

    class Named(corruptions.Mask):
        """The same, with a name."""

        digest_name: ClassVar[str] = "corrupt.Named"

    monkeypatch.setitem(corruptions.KINDS, "softer", Softer)
    monkeypatch.setitem(corruptions.KINDS, "named", Named)
    net = Choice(kind="dense", options={"width": 4})
    named = layer_specs.layer_spec(LayerRecipe(net=net, corruption=Choice(kind="named")), "x")
    assert named.key()["corruption"]["kind"] == "corrupt.Named"
    nameless = layer_specs.layer_spec(LayerRecipe(net=net, corruption=Choice(kind="softer")), "x")
    with pytest.raises(TypeError, match=r"Softer has no digest_name; give the class one of its own"):
        nameless.key()
