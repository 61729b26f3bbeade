"""The layers of a derived recipe for tables, from the lowest to fine-tuning.

Each of the few cells of a row counts, so nothing is masked, and components keep distances as they are. All bits learn
from long walks, which keep groups, and from single steps, which keep the nearest rows.
"""

from __future__ import annotations

MOST_COMPONENTS = 256
_COMPONENTS = """[[layers]]  # principal components, as far apart as the rows are; missing cells count as zero
net = {{ kind = "dense", width = {width}, activation = "linear", holes = true }}
objective = {{ kind = "components", whiten = 0.0 }}
fit = {{ epochs = 1, batch = 4096 }}"""
_LAYER = """[[layers]]
net = {{ kind = "dense", width = {width} }}
{fit}"""
_CODE = """[code]
bits = {bits}
binarize = {{ kind = "straight-through", noise = 0.3 }}
threshold = "median"  # each bit is one for half of the rows
objective = {{ kind = "reconstruction", decorrelation = 0.02 }}
embedding = "lowest"  # hits are in the order of their distances
{fit}"""
_WALKS = """[finetune]  # bits agree where walks among nearest neighbours lead
frozen = 1  # the lowest layer stays as it is
epochs = {epochs}
batch = {batch}
lr = 2e-3
warmup = 50

[finetune.objective]
kind = "neighbourhood"
whiten = 0.0
by = "distance"
k = {k}
reconstruction = 0.03
scales = [
  {{ resemblance = 0.4, sharpness = 1.3, shared = true }},  # all bits keep groups
  {{ steps = 1, sharpness = 4.0, shared = true }},  # and the nearest rows
]"""
LINEAR = """[code]  # too few rows to train on: rotated components (ITQ)
bits = {bits}
normalize = false
threshold = "median"  # each bit is one for half of the rows
objective = "itq"
embedding = "lowest"  # hits are in the order of their distances
fit = {{ epochs = 1, batch = 4096 }}

[finetune]
epochs = 0"""


def components(cells: int) -> str:
    """Return the block of the lowest layer.

    Args:
        cells: of a row.
    """
    return _COMPONENTS.format(width=min(cells, MOST_COMPONENTS))


def blocks(bits: int, cells: int, *, fit: str, epochs: int, batch: int, k: int) -> list[str]:
    """Return the blocks of a recipe.

    Args:
        bits: of a code.
        cells: of a row.
        fit: the line on the training of a layer.
        epochs: of fine-tuning.
        batch: rows of a step.
        k: most edges of a row.
    """
    return [
        components(cells),
        _LAYER.format(width=max(1024, 2 * bits), fit=fit),
        _CODE.format(bits=bits, fit=fit),
        _WALKS.format(epochs=epochs, batch=batch, k=k),
    ]
