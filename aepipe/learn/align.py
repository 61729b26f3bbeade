"""Align the bits of a new encoder with an old one: their order, and the meaning of 0 and 1.

Both are chance: any permutation of the bits, with any of them inverted, is an equally good code. Of all these, the one
is taken that agrees most with the existing codes: an assignment problem over the agreement of every old bit with every
new one. Where prefixes are codes of their own, bits stay within their part.

Legend: N rows, K bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.nets import Standardize, Turn

Bits = NDArray[np.uint8]


def match_bits(old: Bits, new: Bits, parts: Sequence[int] = ()) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the new bit for each place, int64[K], and its sign, float32[K] of 1 and -1.

    Args:
        old: uint8[N, K], 0 or 1.
        new: the same rows under the new encoder.
        parts: lengths of prefixes that are codes of their own.
    """
    from scipy.optimize import linear_sum_assignment  # here, because most nights do not wait for it

    # With -1 and 1 for the bits, a product counts agreements minus disagreements; its sign is the sense of the match.
    agreement = (2 * old.astype(np.float64) - 1).T @ (2 * new.astype(np.float64) - 1)
    width = old.shape[1]
    order, signs = np.arange(width), np.ones(width, np.float32)
    for start, end in pairwise(sorted({0, width, *(length for length in parts if length < width)})):
        block = agreement[start:end, start:end]
        # The absolute value: an inverted bit is as good as the bit itself, so only its sign is noted.
        rows, columns = linear_sum_assignment(-np.abs(block))
        order[start + rows] = start + columns
        signs[start + rows] = np.where(block[rows, columns] < 0, -1, 1)
    return order, signs


def reorder_bits(layer: Autoencoder, order: NDArray[np.int64], signs: NDArray[np.float32]) -> bool:
    """Reorder the units of a layer of bits, invert some of them, and adapt its decoder.

    Args:
        layer: the uppermost of a stack; changed in place.
        order: int64[K], from :func:`match_bits`.
        signs: float32[K], likewise.

    Returns:
        False if the network has no units that can be reordered; it stays as it was.
    """
    encoder, decoder = list(layer.net.encoder.modules()), list(layer.net.decoder.modules())
    turn = next((part for part in encoder if isinstance(part, Turn)), None)
    # The map next to the code is the encoder's last and the decoder's first.
    up = next((part for part in reversed(encoder) if isinstance(part, nn.Linear)), None)
    down = next((part for part in decoder if isinstance(part, nn.Linear)), None)
    if up is None or up.out_features != len(order) or (down is not None and down.in_features != len(order)):
        return False
    places = torch.from_numpy(order).to(up.weight.device)
    turned = torch.from_numpy(signs).to(up.weight.device)
    with torch.no_grad():
        # The decoder undoes the same rotation, so it takes the order from here too.
        if turn is not None:
            turn.rotation.copy_(turn.rotation[:, places] * turned)
            return True
        up.weight.copy_(up.weight[places] * turned[:, None])
        up.bias.copy_(up.bias[places] * turned)
        if down is not None:  # else the decoder uses the encoder's weights
            down.weight.copy_(down.weight[:, places] * turned)
        for part in encoder:
            if isinstance(part, Standardize):
                _reorder_statistics(part, places, turned)
    return True


def _reorder_statistics(part: Standardize, places: torch.Tensor, turned: torch.Tensor) -> None:
    # A mean changes its sign with its unit, a variance does not.
    if part.running_mean is not None and part.running_var is not None:
        part.running_mean.copy_(part.running_mean[places] * turned)
        part.running_var.copy_(part.running_var[places])
