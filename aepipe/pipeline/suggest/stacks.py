"""The parts of a derived recipe that do not depend on what the items are: layers, bits, fine-tuning."""

from __future__ import annotations

import numpy as np

STEPS = {"layer": 250, "finetune": 700}
"""Steps of training aimed at; on 6,700 photographs, twice as many added 4 % to mAP@1000."""
MOST_EPOCHS = 40
_LAYER = """[[layers]]
net = {{ kind = "dense", width = {width} }}
likelihood = "{likelihood}"
corruption = {{ kind = "mask", rate = 0.2, rescale = true }}
{fit}"""
_CODE = """[code]
bits = {bits}
binarize = {{ kind = "straight-through", noise = 0.3 }}
threshold = "median"  # each bit is one for half of the rows
corruption = {{ kind = "mask", rate = 0.2, rescale = true }}
objective = {{ kind = "reconstruction", decorrelation = 0.02 }}
{fit}"""
_COMPONENTS = """[[layers]]  # principal components, half whitened: small differences count, too
net = { kind = "dense", width = 256, activation = "linear" }
objective = "components"
fit = { epochs = 1, batch = 4096 }"""
_WALKS = """[finetune]  # bits agree where walks among nearest neighbours lead
frozen = 1  # the lowest layer stays as it is
epochs = {epochs}
batch = {batch}
lr = 2e-3
warmup = 50
corruption = {{ kind = "mask", rate = 0.2, rescale = true }}
objective = {{ kind = "neighbourhood", whiten = 0.0 }}"""
_RECONSTRUCTION = """[finetune]  # too few rows for walks among neighbours
epochs = {epochs}
batch = {batch}
lr = 1e-3
warmup = 50
frozen = {frozen}
corruption = [{shift}{{ kind = "mask", rate = 0.2, rescale = true }}]
objective = {{ kind = "reconstruction", decorrelation = 0.02 }}"""
WALKABLE = 1000
"""Rows from which bits learn from neighbours; on 6,700 photographs that added 12 % to mAP@1000."""
_MASKED = """[[layers]]  # learns to fill what is missing; each column is as probable as its kind says
net = {{ kind = "dense", width = 256, holes = true }}
likelihood = "columns"
corruption = {{ kind = "mcar", rate = 0.2 }}
objective = "masked"
{fit}"""


def stack(rows: int, *, bounded: bool, holes: bool = False) -> list[str]:
    """Return the blocks from the lowest layer to fine-tuning.

    Args:
        rows: of the collection.
        bounded: cells lie within 0..1.
        holes: cells may be missing, and are of several sorts.
    """
    bits = 64 if rows < 200_000 else 128
    batch, walks = _batch(rows), rows >= WALKABLE
    epochs = {part: int(np.clip(round(steps * batch / rows), 1, MOST_EPOCHS)) for part, steps in STEPS.items()}
    fit = f"fit = {{ epochs = {epochs['layer']}, batch = {batch}, warmup = 50 }}"
    lowest = [_MASKED.format(fit=fit)] if holes else [_COMPONENTS] if walks else []
    likelihood = "bernoulli" if bounded and not lowest else "gaussian"
    shift = '{ kind = "shift", pixels = 1 }, ' if bounded else ""
    return [
        *lowest,
        _LAYER.format(width=max(1024 if walks else 512, 2 * bits), likelihood=likelihood, fit=fit),
        _CODE.format(bits=bits, fit=fit),
        _WALKS.format(epochs=epochs["finetune"], batch=batch)
        if walks
        else _RECONSTRUCTION.format(epochs=epochs["finetune"], batch=batch, shift=shift, frozen=int(holes)),
    ]


def _batch(rows: int) -> int:
    """Return rows per step: fewer for few rows, so that an epoch has a fair number of steps."""
    return next((batch for batch in (512, 128) if rows >= 40 * batch), 32)
