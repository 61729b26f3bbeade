"""From documents to hits: the recipe derived for 400 short Chinese sentences finds those of the same subject."""

from __future__ import annotations

import itertools
import random
import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe import recipe, sources
from aepipe.codes.encoder import Encoder
from aepipe.evaluate.baselines import fit_itq
from aepipe.evaluate.retrieval import retrieval
from aepipe.pipeline.finetune import finetune
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.resolve import resolve
from aepipe.pipeline.suggest import suggest
from aepipe.pipeline.views import views
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows

SUBJECTS = {
    "体育": ("球队 教练 前锋 守门员", "赢得 输掉 踢完 取消", "比赛 决赛 联赛冠军 点球大战", "昨天 上赛季 在主场"),
    "烹饪": ("厨师 妈妈 面包师 奶奶", "烤好 切碎 搅拌 腌制", "面团 红烧肉 蔬菜汤 苹果派", "用小火 加点盐 趁热"),
    "科技": ("工程师 程序员 公司 服务器", "开发 修复 发布 升级", "操作系统 数据库 手机软件 漏洞", "今年 在云端 凌晨"),
    "旅行": ("游客 导游 背包客 我们一家", "参观 爬上 预订 离开", "古城 海边酒店 雪山 博物馆", "暑假 清晨 带着地图"),
}
WORDS = {"守门员": "体育", "面包师": "烹饪", "红烧肉": "烹饪", "数据库": "科技", "程序员": "科技", "博物馆": "旅行"}
EACH = 100


def write_sentences(file: Path) -> None:
    """Write sentences of about ten letters, no two of them equal, with their subjects."""
    rng, lines = random.Random(0), list[str]()
    for subject, parts in SUBJECTS.items():
        sentences = itertools.product(*(part.split() for part in parts))
        for who, did, what, when in rng.sample(list(sentences), EACH):
            lines.append(f"{when}{who}{did}了{rng.choice(['', '那个', '新的', '著名的'])}{what}。,{subject}")
    rng.shuffle(lines)
    file.write_text("sentence,label\n" + "\n".join(lines) + "\n", encoding="utf-8")


def test_chinese_sentences_are_found_by_their_subject(store: Store, tmp_path: Path) -> None:
    write_sentences(tmp_path / "sentences.csv")
    _, text, _ = suggest(str(tmp_path / "sentences.csv"), folder=tmp_path)
    job = resolve(recipe.parse(tomllib.loads(text), tmp_path / "r.toml"))
    rows = ingest(store, job.source)
    cut, layers = views(store, job, rows), list[Ref]()
    for _ in job.specs:
        layers.append(pretrain(store, job, cut, layers))
    encoder = Encoder.open(store.path(finetune(store, job, cut, layers)))
    table = Rows(store.path(rows))
    features, labels = table.features().astype(np.float32), np.array(table.labels())
    train = table.of_split("train")
    assert encoder.n_bits == 64
    assert len(table) == len(SUBJECTS) * EACH
    codes = encoder.encode(table.features()).codes
    itq = fit_itq(features[train], 64, seed=0).codes(features)
    ours, theirs = (
        float(retrieval(found[train], found[~train], labels[train], labels[~train], top=10).p_at_top.mean())
        for found in (codes, itq)
    )
    assert ours >= max(0.9, theirs)
    decode = sources.decoder("text", encoder.card.features)
    asked = encoder.encode(np.stack([decode(name.encode(), "q") for name in WORDS])).codes
    assert retrieval(codes, asked, labels, np.array([*WORDS.values()]), top=10).p_at_top.mean() >= 0.9
