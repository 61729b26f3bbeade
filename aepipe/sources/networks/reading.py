"""How a network wants to read texts, as its folder says it.

Read are ``tokenizer.json``, ``tokenizer_config.json`` and ``config.json`` of transformers; and of sentence-transformers
``modules.json``, the ``config.json`` of its pooling, ``sentence_bert_config.json`` and
``config_sentence_transformers.json``, which has the prompts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aepipe.errors import SourceError
from aepipe.sources.networks.folder import Folder, number, table, with_pooler
from aepipe.sources.networks.graph import POOLED
from aepipe.sources.networks.texts import LONGEST, Reading
from aepipe.store import layout

USUAL = 512
"""Tokens that are read of a text where the network could read more; the recipe may say more."""
PADDED = {"siglip": 64, "siglip_text_model": 64, "siglip2": 64, "siglip2_text_model": 64}
"""Networks that were trained on texts of one length, filled up, and look at what fills them."""
_OUTPUTS = ("sentence_embedding", "text_embeds")
_TOKENS = ("token_embeddings", "last_hidden_state")
_MODES = {
    "cls_token": "cls",
    "mean_tokens": "mean",
    "max_tokens": "max",
    "mean_sqrt_len_tokens": "mean",  # another length, and features have unit length
    "weightedmean_tokens": "weighted",
    "lasttoken": "last",
}
"""Poolings of sentence-transformers, and ours."""
_MODE = "pooling_mode_"
_INSIDE = ("Transformer", "Pooling", "Normalize", "Dropout")
"""Modules of sentence-transformers that are in the graph, or that need no weights."""
_PROMPTS = {"query": ("query",), "passage": ("passage", "document", "corpus")}
_E5 = re.compile(r"(?<![a-z])e5(?![a-z0-9])", re.IGNORECASE)


def read(folder: Folder, chosen: Mapping[str, Any]) -> tuple[Reading, tuple[str, ...]]:
    """Read the files of a folder.

    Args:
        folder: of the network.
        chosen: what the recipe says in place of them: ``output``, ``pooling``, ``longest`` and ``prompts``.

    Returns:
        How the network reads, and what was read, in words.

    Raises:
        SourceError: something is missing or not known, with its name.
    """
    chosen = with_pooler(chosen)
    if not (folder.path / layout.Backbone.TOKENIZER).is_file():
        raise SourceError(
            f"{folder.path}: no {layout.Backbone.TOKENIZER} in it; `AutoTokenizer.from_pretrained(...)"
            '.save_pretrained("FOLDER")` of transformers writes it'
        )
    output, pooling, words = _output(folder, chosen)
    longest, most = _longest(folder)
    longest = chosen.get("longest", longest)
    length, unmasked = _length(folder)
    prompts = chosen.get("prompts", _prompts(folder))
    lower = bool(folder.settings("sentence_bert_config.json").get("do_lower_case"))
    filler = _filler(folder) if length else 0
    longest = min(longest, length) if length else longest
    found = Reading(output, pooling, longest, length, filler, unmasked, lower, prompts)
    said = [f"{folder.path.name}: {folder.said(output)}{words}", f"texts: {_told(found, most)}"]
    own = sorted(chosen.keys() & {"output", "pooling", "longest", "prompts"})
    said += [f"from the recipe: {', '.join(own)}"] if own else []
    if not prompts and _E5.search(f"{folder.path.name} {folder.config.get('_name_or_path', '')}"):
        said.append(
            "its name is that of E5, whose texts begin with words for their sort, and no file says them: "
            'prompts = { query = "query: ", passage = "passage: " } under [features] does'
        )
    return found, tuple(said)


def _told(found: Reading, most: int) -> str:
    """Return how texts are read, in words."""
    more = f" of the {most:,} that it could read; longest under [features] says more" if most > found.longest else ""
    filled = f", filled up to {found.length}" if found.length else ""
    prompts = ", ".join(f"{sort} {text!r}" for sort, text in found.prompts.items() if text)
    lower = ", in lower case" if found.lower else ""
    return f"{found.longest:,} tokens{more}{filled}{lower}, {f'prompts: {prompts}' if prompts else 'no prompts'}"


def _output(folder: Folder, chosen: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the output to take, how tokens are pooled, and that in words."""
    given = folder.settings("modules.json").get("modules")
    listed = [table(one) for one in given] if isinstance(given, list) else []
    modules = {str(one.get("type", "")).rsplit(".", 1)[-1]: str(one.get("path", "")) for one in listed}
    left_out = next((path or kind for kind, path in modules.items() if kind not in _INSIDE), "")
    pooling = chosen.get("pooling") or _pooling(folder, modules.get("Pooling") or "1_Pooling")
    outputs = folder.ends[1]
    if "pooling" in chosen:  # what is pooled are tokens
        order: tuple[str, ...] = (*_TOKENS, *_OUTPUTS)
    elif pooling:
        order = ("sentence_embedding", *_TOKENS, "text_embeds")
    else:  # poolers of text towers are trained; those of others often are not
        tower = "clip" in folder.sort or folder.sort in PADDED
        order = (*_OUTPUTS, "pooler_output", *_TOKENS) if tower else (*_OUTPUTS, *_TOKENS)
    output = folder.output(chosen.get("output"), order)
    tokens = output in _TOKENS or output not in {*_OUTPUTS, "pooler_output"}
    if left_out and output != "sentence_embedding":
        raise SourceError(
            f"{folder.path}: {left_out} of modules.json is not in the graph, which has {', '.join(outputs)}: export it "
            "with `--library sentence_transformers`, so that it has the output sentence_embedding"
        )
    if not tokens:
        return output, pooling or "mean", ""
    guessed = "" if pooling else "; no 1_Pooling/config.json says how, so this is a guess"
    return output, pooling or "mean", f", {POOLED[pooling or 'mean']}{guessed}"


def _pooling(folder: Folder, module: str) -> str:
    """Return the pooling that a module of sentence-transformers does; empty where it is not there.

    Raises:
        SourceError: it is none that is known.
    """
    name = f"{Path(module).name}/config.json"
    given = folder.settings(name)
    if not given:
        return ""
    modes = [mode.removeprefix(_MODE) for mode, on in given.items() if mode.startswith(_MODE) and on is True]
    if isinstance(named := given.get(_MODE.rstrip("_")), str):
        modes = [{"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}.get(named, named)]
    if len(modes) != 1 or modes[0] not in _MODES:
        raise SourceError(
            f"{folder.path / name}: pools by {' and '.join(modes) or 'nothing'}; allowed: one of {', '.join(_MODES)}; "
            'say pooling = "mean" under [features]'
        )
    return _MODES[modes[0]]


def _longest(folder: Folder) -> tuple[int, int]:
    """Return the tokens that are read, and those that the network could read."""
    places = folder.part("text_config").get("max_position_embeddings")
    if isinstance(places, int) and "roberta" in folder.sort:
        places -= 2  # RoBERTa counts places from 2
    limits = [
        folder.settings("sentence_bert_config.json").get("max_seq_length"),
        folder.settings("tokenizer_config.json").get("model_max_length"),
        places,
    ]
    said = [int(one) for one in limits if isinstance(one, int | float) and 1 < one < 1e6]
    most = min(said, default=LONGEST)
    own = USUAL if limits[0] is None else int(number(limits[0], "sentence_bert_config.json", "max_seq_length", 2, 1e6))
    return min(most, own), most


def _length(folder: Folder) -> tuple[int, bool]:
    """Return the tokens that texts are filled up to, 0 for none, and whether the network looks at the filling."""
    fixed = folder.ends[0].get("input_ids", [0])[-1]
    trained = PADDED.get(folder.sort, 0)
    length = fixed if isinstance(fixed, int) and fixed > 1 else trained
    return length, bool(trained)


def _filler(folder: Folder) -> int:
    """Return the token that texts are filled up with.

    Raises:
        SourceError: no file names it.
    """
    tokenizer = folder.settings(layout.Backbone.TOKENIZER)
    padding = tokenizer.get("padding")
    if isinstance(padding, dict) and isinstance(padding.get("pad_id"), int):
        return int(padding["pad_id"])
    named = folder.settings("tokenizer_config.json").get("pad_token")
    named = named.get("content") if isinstance(named, dict) else named
    for one in tokenizer.get("added_tokens", []):
        if named is not None and one.get("content") == named:
            return int(one["id"])
    for found in (folder.part("text_config").get("pad_token_id"), folder.config.get("pad_token_id")):
        if isinstance(found, int):
            return found
    raise SourceError(f"{folder.path}: its texts have one length, and no file names the token that fills them up")


def _prompts(folder: Folder) -> dict[str, str]:
    """Return what texts begin with, by their sort."""
    given = folder.settings("config_sentence_transformers.json")
    prompts = given.get("prompts")
    if not isinstance(prompts, dict):
        return {}
    usual = prompts.get(str(given.get("default_prompt_name") or ""), "")
    found = {
        sort: next((str(prompts[name]) for name in names if prompts.get(name)), str(usual))
        for sort, names in _PROMPTS.items()
    }
    return found if any(found.values()) else {}
