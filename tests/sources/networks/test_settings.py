"""Whatever the files of a folder say, the answer is settings that can be used, or one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("tokenizers", reason="needs the extra text")

from aepipe.errors import SourceError
from aepipe.sources.networks import hearing, reading
from aepipe.sources.networks.folder import Folder
from aepipe.sources.networks.seeing import FILTERS, Seeing
from tests.support.networks import sound, text, vision

PIXELS = (
    "size",
    "crop_size",
    "do_center_crop",
    "resample",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
)
TIMM = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
FILES = {
    "preprocessor_config.json": (*PIXELS, "rescale_offset", "image_processor_type", "crop_pct", "sampling_rate"),
    "config.json": ("model_type", "vision_config", "text_config", "image_size", "pretrained_cfg", "pad_token_id"),
    "processor_config.json": ("image_processor", "feature_extractor"),
    "modules.json": (),
    "1_Pooling/config.json": ("pooling_mode_cls_token", "pooling_mode"),
    "sentence_bert_config.json": ("max_seq_length", "do_lower_case"),
    "tokenizer_config.json": ("model_max_length", "pad_token"),
    "config_sentence_transformers.json": ("prompts", "default_prompt_name"),
}
NAMES = st.sampled_from((*PIXELS, *TIMM, "height", "width", "shortest_edge", "query", "type", "path"))
PLAIN = st.none() | st.booleans() | st.integers(-9, 999) | st.floats() | st.sampled_from(["", "x", "ConvNextX", "clip"])
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        name: VALUES if not keys else st.fixed_dictionaries({}, optional=dict.fromkeys(keys, VALUES)) | VALUES
        for name, keys in FILES.items()
    },
)


class Said(Folder):
    """A folder whose files say what a test wants."""

    contents: dict[str, Any]

    def settings(self, *names: str) -> dict[str, Any]:
        """Return the contents of the first that is there."""
        found: Any = next((self.contents[name] for name in names if name in self.contents), {})
        return {"modules": found} if isinstance(found, list) else found if isinstance(found, dict) else {}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    return {
        "vision": vision(folder / "vision.onnx", "last_hidden_state"),
        "text": text(folder / "text.onnx", "last_hidden_state", length=7),
        "audio": sound(folder / "audio.onnx", "last_hidden_state"),
    }


def said(graph: Path, contents: dict[str, Any]) -> Said:
    found = Said(graph.parent, graph)
    object.__setattr__(found, "contents", contents)
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(contents=CONTENTS)
def test_settings_of_any_sort_give_settings_or_one_line(graphs: dict[str, Path], contents: dict[str, Any]) -> None:
    try:
        seeing = Seeing.read(said(graphs["vision"], contents), {})
        assert all(1 <= side <= 4096 for side in seeing.size)
        assert seeing.resample in FILTERS
        assert {len(seeing.mean), len(seeing.scale)} <= {1, 3}
        assert all(seeing.scale)
    except SourceError:
        pass
    try:
        how, _ = reading.read(said(graphs["text"], contents), {})
        assert 1 < how.longest <= 7 == how.length
    except SourceError:
        pass
    try:
        heard, _ = hearing.read(said(graphs["audio"], contents), {})
        assert 1000 <= heard.rate <= 192_000
    except SourceError:
        pass
