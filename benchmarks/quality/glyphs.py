"""Write pictures of letters and digits in the fonts of this machine, for ``aepipe run glyphs.parquet``.

    python -m benchmarks.quality.glyphs glyphs.parquet [--rows 60000] [--test 10000] [--seed 0]

The label is the character: 26 capital letters, 26 small ones, 10 digits. A picture has 28 x 28 pixels, white on black,
and its character is turned, stretched, sized and moved a little. Fontconfig (``fc-list``) names the fonts; the fonts of
a family are all in one split, so no test picture has a font that was learned from. Nothing is downloaded.

On Debian 12 these packages bring some 790 families; other fonts give other pictures, so figures are compared on one
machine::

    apt-get install --no-install-recommends $(python -m benchmarks.quality.glyphs --packages)
"""

from __future__ import annotations

import argparse
import io
import string
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

CHARACTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
SIDE, DRAWN = 28, 112
"""Pixels of a picture, and of the drawing that is made smaller."""
LETTER = 0.6
"""Share of the picture that a capital letter is tall."""
TURN, STRETCH, MOVE = 5.0, 0.1, 1.0
"""Most degrees of a turn, share by which width and height change, pixels of a move."""
FEWEST = 50
"""Different drawings that a font needs for the 62 characters; one of symbols or of capitals has fewer."""
HELD_OUT = 7
"""One family of so many is in the test split."""
PACKAGES = """
3270 adf-accanthis adf-baskervald adf-berenis adf-gillius adf-ikarius adf-irianis adf-libris adf-mekanus adf-oldania
adf-romande adf-solothurn adf-switzera adf-tribun adf-universalis adf-verana aenigma agave allerta anonymous-pro
arapey atarismall averia-gwf averia-sans-gwf averia-serif-gwf b612 bajaderka bebas-neue beteckna blankenburg breip
cabin cabinsketch campania cantarell cardo cherrybomb clear-sans cmu comfortaa comic-neue compagnon courier-prime
croscore crosextra-caladea crosextra-carlito dancingscript dejavu-core dejavu-extra dkg-handwriting dosis dseg dustin
ebgaramond ecolier-court elstob engadget essays1743 eurofurence f500 fantasma fantasque-sans fanwood femkeklaver
ferrite-core firacode freefont-ttf georgewilliams gnutypewriter go goudybookletter hack havana hermit humor-sans
inconsolata inter isabella jetbrains-mono johnsmith-induni joscelyn junction junicode jura karla karmilla
kaushanscript klaudia-berenika kristi lato le-murmure league-mono league-spartan leckerli-one levien-museum levien-
typoscript liberation lindenhill linex linuxlibertine lmodern lobster lobstertwo manrope millimetre mona monofur
monoid mononoki mplus national-park ocr-a ocr-b okolaks oldstandard open-sans opendin opendyslexic osifont oxygen
paratype pc play prociono quattrocento quicksand radisnoir roadgeek roboto-slab roboto-unhinted routed-gothic
rufscript sil-andika sil-charis sil-doulos sil-gentium sixtyfour sjfonts smiley-sans solide-mirage sora staypuft stix
summersby texgyre tiresias tomsontalks train tuffy ubuntu-title urw-base35 vollkorn yanone-kaffeesatz yrsa-rasa
"""

BASIC = ImageFont.Layout.BASIC  # one letter at a time needs no shaping

Row = dict[str, bytes | str]
Font = tuple[str, int]
"""A file, and the place of the font in it."""
Families = Mapping[str, Sequence[Font]]


def installed() -> Families:
    """Return the families that fontconfig knows to have all characters as outlines."""
    asked = ":scalable=true:variable=false:charset=30-39 41-5a 61-7a"
    shape = "%{family[0]}\t%{file}\t%{index}\n"
    told = subprocess.run(["fc-list", asked, "--format", shape], capture_output=True, text=True, check=True).stdout
    found = defaultdict(list)
    for line in sorted(set(told.splitlines())):
        family, file, index = line.split("\t")
        found[family].append((file, int(index)))
    return found


@lru_cache(4096)
def opened(file: str, index: int) -> ImageFont.FreeTypeFont | None:
    """Return a font at the size of which capitals are as tall as they have to be; None for one of no use."""
    try:
        at_100 = ImageFont.truetype(file, 100, index, layout_engine=BASIC)
        _, top, _, bottom = at_100.getbbox("H", anchor="ls")
        size = 100 * LETTER * DRAWN / max(bottom - top, 1)
        font = ImageFont.truetype(file, round(min(max(size, 20), 400)), index, layout_engine=BASIC)
        pictures = {drawn(font, one).tobytes() for one in CHARACTERS}
    except OSError:
        return None
    return font if len(pictures - {bytes(DRAWN * DRAWN)}) >= FEWEST else None


def drawn(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    """Return a large picture of a character; capitals are in the middle of the height."""
    image = Image.new("L", (DRAWN, DRAWN))
    base = DRAWN * (1 + LETTER) / 2
    ImageDraw.Draw(image).text((DRAWN / 2, base), character, 255, font, anchor="ms")
    return image


def jittered(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a picture of the usual size, turned, stretched and moved a little."""
    angle = np.radians(rng.uniform(-TURN, TURN))
    wide, high = 1 + rng.uniform(-STRETCH, STRETCH, 2)
    move = rng.uniform(-MOVE, MOVE, 2) * DRAWN / SIDE
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / [[wide], [high]]
    offset = DRAWN / 2 - turn @ (DRAWN / 2 + move)
    table = np.concatenate([turn, offset[:, None]], 1).ravel()
    moved = image.transform(image.size, Image.Transform.AFFINE, tuple(table), Image.Resampling.BILINEAR)
    return moved.resize((SIDE, SIDE), Image.Resampling.BOX)


def split(families: Families, rng: np.random.Generator) -> dict[str, list[Font]]:
    """Return the fonts of use in each split."""
    useful = {name: [one for one in files if opened(*one)] for name, files in sorted(families.items())}
    names = [name for name in useful if useful[name]]
    order = [names[at] for at in rng.permutation(len(names))]
    held_out = len(order) // HELD_OUT
    parts = {"train": order[held_out:], "test": order[:held_out]}
    return {part: [font for name in members for font in useful[name]] for part, members in parts.items()}


def pictures(fonts: Sequence[Font], count: int, rng: np.random.Generator) -> Iterator[Row]:
    """Yield pictures of characters, each as often, in fonts that are drawn."""
    for number in range(count):
        font = opened(*fonts[int(rng.integers(len(fonts)))])
        assert font is not None, "only fonts of use are drawn"
        character, stream = CHARACTERS[number % len(CHARACTERS)], io.BytesIO()
        jittered(drawn(font, character), rng).save(stream, "PNG", compress_level=1)
        yield {"image": stream.getvalue(), "label": character, "font": " ".join(filter(None, font.getname()))}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("glyphs.parquet"))
    parser.add_argument("--rows", type=int, default=60_000, help="training pictures")
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--packages", action="store_true", help="print the packages of fonts and write nothing")
    asked = parser.parse_args()
    if asked.packages:
        print(" ".join(f"fonts-{name}" for name in PACKAGES.split()))
        return
    families, rng, tables = installed(), np.random.default_rng(asked.seed), []
    for part, fonts in split(families, rng).items():
        rows = list(pictures(fonts, asked.rows if part == "train" else asked.test, rng))
        order = rng.permutation(len(rows))
        tables.append(pa.Table.from_pylist([{**rows[at], "split": part} for at in order]))
        print(f"{part}: {len(rows):,} pictures in {len(fonts):,} fonts", flush=True)
    pq.write_table(pa.concat_tables(tables), asked.out)


if __name__ == "__main__":
    main()
