"""Codes that keep the neighbourhood of rows: random walks lead to rows with similar bits.

A graph joins each training row with its nearest others. A walk from a row ends at a row that is probably of its kind,
and the code has to pick out that row among all rows of the batch. Long walks teach wide groups, which order the whole
ranking; short ones teach the differences within a group, which order its top. Long and short ones take turns in the
bits, so the Hamming distance is the sum of both, and every prefix of a code has bits of each. No labels are used.

The first graph knows rows as they are: a picture that is moved a little has other neighbours. Codes that are trained on
edited pictures know better, so after some passes a part of the edges can be found by the codes.

Source: the loss is InfoNCE (van den Oord, Li and Vinyals, arXiv:1807.03748) with neighbours as positives (Dwibedi et
al., "With a Little Help from My Friends", ICCV 2021); walks as a scale of similarity, Coifman and Lafon, "Diffusion
Maps", 2006.

Legend: B rows of a batch, K bits, S scales.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from aepipe import recipe
from aepipe.learn import objectives
from aepipe.learn.autoencoder import Autoencoder, Choices
from aepipe.learn.batches import Compute, Feed
from aepipe.learn.neighbour_graph import Graph, Neighbours, graph_of
from aepipe.learn.objectives import Batch, Descent
from aepipe.learn.objectives.reconstruction import dependence
from aepipe.learn.shards import together

Weight = Annotated[float, Field(ge=0)]


class Scale(recipe.GrownOptions):
    """One scale: how far its bits look.

    Attributes:
        resemblance: sets the longest walks: their ends resemble their starts, in the mean, at least this many times as
            much as neighbours do. Every length from 1 to that is equally likely.
        steps: of the longest walk, in place of ``resemblance``.
        sharpness: factor on the agreement of bits. With a larger one, a single wrong bit costs more, and fewer rows
            share a code.
        weight: of its term.
        shared: it is learned by all bits, not only by those whose turn it is, so that the distance of whole codes is
            right at this scale.
    """

    later: ClassVar[frozenset[str]] = frozenset({"shared"})

    resemblance: Annotated[float, Field(gt=0, le=1)] = 0.5
    steps: Annotated[int, Field(ge=1)] | None = None
    sharpness: Annotated[float, Field(gt=0)] = 2.0
    weight: Weight = 1.0
    shared: bool = False


class Options(objectives.Options, recipe.GrownOptions):
    """Options of the objective.

    Attributes:
        k: edges of the graph from each row.
        one_way: weight of an edge whose end does not have its start among its neighbours.
        components: most leading principal components by which neighbours are found.
        whiten: 0 leaves components as large as they are, 1 makes them all equally large.
        by: neighbours have the smallest ``angle``, or the smallest ``distance``.
        scales: far ones and near ones; bit i belongs to scale i modulo their number.
        nested: lengths of prefixes that are trained as codes of their own, like the whole code.
        reconstruction: weight of the negative log-likelihood of the clean row.
        decorrelation: weight of the mean squared correlation of two bits, for each trained length.
        refresh: passes over the rows after which edges are found by the codes, each time; 0 never does.
        refreshed: share of the edges from each row that are found by the codes then.
    """

    digest_name: ClassVar[str] = "neighbourhood.Options"
    later: ClassVar[frozenset[str]] = frozenset({"by", "refresh", "refreshed"})
    k: Annotated[int, Field(ge=1)] = 20
    one_way: Annotated[float, Field(ge=0, le=1)] = 0.05
    components: Annotated[int, Field(ge=1)] = 256
    whiten: Annotated[float, Field(ge=0, le=1)] = 0.5
    by: Literal["angle", "distance"] = "angle"
    scales: Annotated[tuple[Scale, ...], Field(min_length=1, strict=False)] = (
        Scale(resemblance=0.4, sharpness=1.3),
        Scale(resemblance=0.8, sharpness=2.8),
    )
    nested: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = ()
    reconstruction: Weight = 0.001
    decorrelation: Weight = 3.0
    refresh: Annotated[int, Field(ge=0)] = 0
    refreshed: Annotated[float, Field(gt=0, le=1)] = 0.5

    def refusal(self, choices: Choices) -> str | None:
        """Refuse codes that are not bits, and fewer bits than scales."""
        if not choices.posterior.binary:
            return "agreement is counted in bits; allowed: the layer of bits, and fine-tuning"
        width = getattr(choices.net, "width", len(self.scales))
        shortest = min([width, *self.nested])
        if shortest < len(self.scales):
            return f"{len(self.scales)} scales share {shortest} bits; allowed: at least a bit for each"
        return None


class Objective(Descent[Options]):
    """Agreement of a row's bits with those at the ends of its walks, and the reconstruction."""

    def __init__(self, model: Autoencoder, options: Options, compute: Compute, *, seed: int = 0) -> None:
        super().__init__(model, options, compute, seed=seed)
        if options.refresh:
            # Among what is saved: a training that goes on has the edges of the weights that found them.
            self.own["found"] = Edges()

    def prepare(self, rows: Feed, neighbours: Neighbours | None) -> None:
        """Build the graph of the training rows, and find the longest walks."""
        assert neighbours is not None, "this objective needs a function that finds neighbours"
        options = self.options
        self.rows, self._neighbours = rows, neighbours
        self.graph, features_NF = graph_of(
            rows,
            neighbours,
            k=options.k,
            one_way=options.one_way,
            components=options.components,
            whiten=options.whiten,
            compute=self.compute,
            by=options.by,
        )
        self._first_NK = self.graph.near_NK
        steps = [scale.steps or self.graph.longest(features_NF, scale.resemblance) for scale in options.scales]
        self.steps: list[int] = self.compute.world.tell(steps)  # names of terms, so the same everywhere
        self._pass: int | None = None
        self._ends: list[Tensor] = []
        if options.refresh and len(self._found.near):
            self.graph = self._mixed(self._found.near)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``reconstruction``, ``decorrelation``, and a term ``within N`` for each scale.

        The last are for training rows only, in nats: the surprise at the end of a walk, among the rows of the batch.
        """
        others = self._others(batch)
        rows = torch.cat([batch.noisy, *others])
        encoding = self.model.encode(rows, batch.generator)
        codes = encoding.sample.chunk(1 + len(others))
        nll = self.model.likelihood.nll(self.model.decode(codes[0]), batch.clean, batch.observed).mean()
        own_BK, *far_BK = together(*codes)
        terms = {
            "reconstruction": self.options.reconstruction * nll,
            "decorrelation": self.options.decorrelation * self._dependence(own_BK),
        }
        for place, there_BK in enumerate(far_BK):
            scale = self.options.scales[place]
            bits = slice(None) if scale.shared else slice(place, None, len(self.options.scales))
            found = [
                surprise(own_BK[:, :length][:, bits], there_BK[:, :length][:, bits], scale.sharpness)
                for length in self._lengths(own_BK.shape[1])
            ]
            # A term for each length of walk, for the curves.
            name = f"within {self.steps[place]}"  # two scales may have walks of the same length
            terms[name] = scale.weight * torch.stack(found).mean() + terms.get(name, 0.0)
        return terms

    def _others(self, batch: Batch) -> list[Tensor]:
        """Return the ends of walks, corrupted like the batch, for each scale; none while evaluating."""
        if batch.positions is None or batch.pass_seed is None or batch.generator is None:
            return []
        if batch.pass_seed != self._pass:
            # All walks of a pass at once: for one batch they are little work, and a GPU would wait between steps.
            self._refresh(batch.passes)
            generator = self.compute.generator(batch.pass_seed)
            self._ends = [self.graph.walk_all(steps, generator).cpu() for steps in self.steps]
            self._pass = batch.pass_seed
        ends = [end_N[batch.positions] for end_N in self._ends]
        if batch.edits is None:
            rows = [self.rows.batch(end_B) for end_B in ends]
        else:
            rows = [batch.edits.batch(end_B, batch.generator) for end_B in ends]
        if batch.corruption is None:
            return rows
        return [batch.corruption.corrupt_tensor(one, batch.generator)[0] for one in rows]

    @property
    def _found(self) -> Edges:
        return cast(Edges, self.own["found"])

    def _refresh(self, passes: int) -> None:
        """Find a part of the edges by the codes if so many passes are a multiple of ``refresh``, once."""
        every = self.options.refresh
        if not every or passes == 0 or passes % every or int(self._found.passes) == passes:
            return
        near_NK = self._neighbours(self._codes(), min(self._edges(), len(self.rows) - 1))
        self._found.keep(torch.from_numpy(near_NK).to(self.compute.device), passes)
        self.graph = self._mixed(self._found.near)

    def _edges(self) -> int:
        return max(1, round(self.options.refreshed * self.options.k))

    def _mixed(self, near_NK: Tensor) -> Graph:
        """Return the graph of the nearest first neighbours, and those that were found by codes."""
        first = self._first_NK[:, : max(0, self._first_NK.shape[1] - near_NK.shape[1])]
        return Graph(np.concatenate([first, near_NK.cpu().numpy()], axis=1), self.options.one_way, self.compute)

    def _codes(self) -> NDArray[np.float32]:
        """Return the codes of all training rows before they are cut to bits, of unit length, float32[N, K]."""
        was = self.model.training
        self.model.eval()
        with torch.no_grad(), self.compute.autocast():
            blocks = [self.model.net.encode(block)[0].float().tanh().cpu() for block in self.rows.blocks()]
        self.model.train(was)
        code_NK = torch.cat(blocks)
        return F.normalize(code_NK - code_NK.mean(0)).numpy()

    def _dependence(self, code_BK: Tensor) -> Tensor:
        """Return the mean squared covariance of two bits, summed over the lengths.

        It is a mean over pairs: long codes may share more in total than short ones, which have no bit to spare.
        """
        parts = [dependence(code_BK[:, :length]) / length**2 for length in self._lengths(code_BK.shape[1])]
        return torch.stack(parts).sum()

    def _lengths(self, n_bits: int) -> list[int]:
        return sorted({min(length, n_bits) for length in (*self.options.nested, n_bits)})


class Edges(nn.Module):
    """Edges that were found by codes, int32[N, k], and the number of passes after which.

    They are saved with the state of a training.
    """

    near: Tensor
    passes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.keep(torch.zeros((0, 0), dtype=torch.int32), 0)

    def keep(self, near_NK: Tensor, passes: int) -> None:
        """Replace the edges."""
        self.register_buffer("near", near_NK)
        self.register_buffer("passes", torch.tensor(passes))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *_: object) -> None:
        # Of any number of rows, which is not known before there are edges.
        self.keep(state_dict[f"{prefix}near"], int(state_dict[f"{prefix}passes"]))


def surprise(here_BK: Tensor, there_BK: Tensor, sharpness: float) -> Tensor:
    """Return the mean surprise, in nats, at each row's partner among all rows; a scalar.

    Args:
        here_BK: codes of rows, -1 and 1.
        there_BK: codes of their partners, at the same places.
        sharpness: the agreement of two codes is ``sharpness / K^(3/4)`` times their inner product: half-way between
            the root, for which random codes of any length agree alike, and K, for which equal ones do.
    """
    agreement_BB = (here_BK.float() @ there_BK.float().T) * (sharpness * here_BK.shape[1] ** -0.75)
    # Both ways, so that codes and partners are treated alike.
    same_B = torch.arange(len(here_BK), device=here_BK.device)
    return 0.5 * (F.cross_entropy(agreement_BB, same_B) + F.cross_entropy(agreement_BB.T, same_B))
