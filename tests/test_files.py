"""A user's files: pictures and tables of every kind, whole and broken; features that survive."""

import errno
import io
import json
import multiprocessing
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib import files
from lib.files import features, read_collection, read_picture, read_table

FORK = multiprocessing.get_context("fork")
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">{}</svg>'
BOX = '<rect width="10" height="10" fill="red"/>'


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path / "cache"))
    return tmp_path


def one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message and "accepted" in message
    for word in words:
        assert word in message


def saved(image, form, **how):
    stream = io.BytesIO()
    image.save(stream, form, **how)
    return stream.getvalue()


def pixel(image, at=(5, 5)):
    assert image.mode == "RGB"
    return image.getpixel(at)


def near(got, wanted, by=3):
    return max(abs(g - w) for g, w in zip(got, wanted, strict=True)) <= by


# Pictures that are right


def grey16(value):
    return Image.fromarray(np.full((10, 10), value, np.uint16))


def half_clear(mode):
    image = Image.new("RGBA", (10, 10), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 10, 5))
    return image.convert(mode)


def palette(transparent):
    image = Image.new("P", (10, 10), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 10, 5))
    return saved(image, "PNG", **({"transparency": 1} if transparent else {}))


def animated():
    frames = [Image.new("RGB", (10, 10), colour) for colour in (RED, BLACK, WHITE)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


KINDS = {  # file, its bytes, the colour at (5, 5), and at (5, 1) where it is another
    "rgb.png": (saved(Image.new("RGB", (10, 10), RED), "PNG"), RED, None),
    "rgb.jpg": (saved(Image.new("RGB", (10, 10), RED), "JPEG"), RED, None),
    "upper.JPG": (saved(Image.new("RGB", (10, 10), RED), "JPEG"), RED, None),
    "rgb.webp": (saved(Image.new("RGB", (10, 10), RED), "WEBP"), RED, None),
    "rgb.bmp": (saved(Image.new("RGB", (10, 10), RED), "BMP"), RED, None),
    "rgb.tiff": (saved(Image.new("RGB", (10, 10), RED), "TIFF"), RED, None),
    "png_called.jpg": (saved(Image.new("RGB", (10, 10), RED), "PNG"), RED, None),
    "grey.png": (saved(Image.new("L", (10, 10), 128), "PNG"), (128, 128, 128), None),
    "grey.jpg": (saved(Image.new("L", (10, 10), 128), "JPEG"), (128, 128, 128), None),
    "one_bit.png": (saved(Image.new("1", (10, 10), 1), "PNG"), WHITE, None),
    "grey16.png": (saved(grey16(32768), "PNG"), (127, 127, 127), None),
    "grey16.tif": (saved(grey16(65535), "TIFF"), WHITE, None),
    "float.tif": (saved(Image.new("F", (10, 10), 0.5), "TIFF"), (127, 127, 127), None),
    "int32.tif": (saved(Image.new("I", (10, 10), 10**6), "TIFF"), WHITE, None),
    "rgba.png": (saved(half_clear("RGBA"), "PNG"), RED, WHITE),
    "la.png": (saved(half_clear("LA"), "PNG"), (76, 76, 76), WHITE),
    "rgba.webp": (saved(half_clear("RGBA"), "WEBP", lossless=True), RED, WHITE),
    "palette.png": (palette(False), RED, (0, 0, 255)),
    "palette_transparent.png": (palette(True), RED, WHITE),
    "cmyk.jpg": (saved(Image.new("CMYK", (10, 10), (0, 255, 255, 0)), "JPEG"), RED, None),
    "animated.gif": (animated(), RED, None),
    "box.svg": (SVG.format(BOX).encode(), RED, None),
    "clear.svg": (
        SVG.format('<rect y="4" width="10" height="6" fill="red"/>').encode(),
        None,
        None,
    ),
    "bom.svg": (b"\xef\xbb\xbf" + SVG.format(BOX).encode(), RED, None),
    "declared.svg": (
        b'<?xml version="1.0" encoding="UTF-8"?>' + SVG.format(BOX).encode(),
        RED,
        None,
    ),
    "filtered.svg": (
        SVG.format(f'<filter id="f"><feOffset/></filter><g filter="url(#f)">{BOX}</g>').encode(),
        RED,
        None,
    ),
    "linked.svg": (SVG.format(f'<a href="https://example.org">{BOX}</a>').encode(), RED, None),
}


@pytest.mark.parametrize("name", KINDS)
def test_pictures_of_every_kind_are_right(at, name):
    content, colour, above = KINDS[name]
    if name.endswith(".svg"):
        pytest.importorskip("resvg_py")
    (at / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_picture(at / name)
        assert read_picture(str(at / name)) == image
    if name == "clear.svg":
        assert pixel(image, (112, 20)) == WHITE and pixel(image, (112, 200)) == RED
        return
    assert near(pixel(image), colour)
    assert above is None or near(pixel(image, (5, 1)), above)


def test_a_16_bit_picture_keeps_its_brightness(at):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(at / "a.png")
    found = np.asarray(read_picture(at / "a.png"))[..., 0]
    np.testing.assert_allclose(found, ramp / 257, atol=1)


@pytest.mark.parametrize("values", [[np.nan, 1.0], [-5.0, 1.0], [np.inf, 0.0], [0.0, 0.0]])
def test_odd_floats_make_no_warning(values):
    image = Image.fromarray(np.tile(np.float32(values), (4, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_picture(image).size == (4, 4)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_picture_is_turned_as_exif_says(at, form):
    image = Image.new("RGB", (60, 40), RED)
    image.paste(WHITE, (0, 0, 60, 20))  # white above; turned, at the right
    exif = Image.Exif()
    exif[0x0112] = 6
    (at / "a").write_bytes(saved(image, form, exif=exif))
    turned = read_picture(at / "a")
    assert turned.size == (40, 60)
    assert near(pixel(turned, (5, 30)), RED, 8) and near(pixel(turned, (35, 30)), WHITE, 8)


def test_images_and_arrays_pass(at):
    assert (np.asarray(read_picture(NOISE)) == NOISE).all()
    assert (np.asarray(read_picture(Image.fromarray(NOISE))) == NOISE).all()
    assert read_picture(np.zeros((1, 1, 3), np.uint8)).size == (1, 1)
    mine = Image.open(io.BytesIO(animated()))
    assert pixel(read_picture(mine)) == RED
    mine.seek(1)  # it stays open for its owner
    assert near(pixel(read_picture(mine)), BLACK)


@pytest.mark.parametrize("form, side", [("JPEG", 500), ("PNG", 1000)])
def test_huge_pictures_become_smaller_not_other(at, form, side):
    """A JPEG of 9 million pixels is decoded at a quarter of its side, others are averaged."""
    ramp = np.linspace(0, 255, 3000).astype(np.uint8)
    image = np.stack([np.tile(ramp, (3000, 1)), np.tile(ramp[:, None], (1, 3000))], -1)
    image = np.concatenate([image, np.zeros((3000, 3000, 1), np.uint8)], -1)
    (at / "a").write_bytes(saved(Image.fromarray(image), form))
    begin = time.process_time()
    small = read_picture(at / "a")
    assert time.process_time() - begin < 5
    assert side <= small.width == small.height <= 1024
    middle = small.width // 2
    assert near(pixel(small, (middle, middle)), (127, 127, 0), 6)
    assert near(pixel(small, (10, middle)), (255 * 10 / small.width, 127, 0), 6)


def test_a_chunk_of_pictures_fits_in_memory():
    """The largest that is not made smaller takes 3 MB; a chunk holds 256."""
    for width, height in ((1024, 1024), (1025, 1024), (2048, 2048), (2049, 2048), (20_000, 300)):
        small = read_picture(Image.new("RGB", (width, height)))
        assert small.width * small.height <= files.LARGE + 2 * (width + height)
    assert files.LARGE * 3 * 256 < 1e9


def test_the_library_does_not_keep_files_open(at):
    (at / "a.gif").write_bytes(animated())
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    kept = [read_picture(at / "a.gif") for _ in range(30)]
    after = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    assert after <= before and len(kept) == 30


# Pictures that are broken


JPEG, PNG = saved(Image.fromarray(NOISE), "JPEG"), saved(Image.fromarray(NOISE), "PNG")
LINK = SVG.format('<image width="9" height="9" {}="{}"/>')
ENTITY = '<!DOCTYPE svg [<!ENTITY x "{}">]>' + LINK.format("href", "&x;")
BROKEN = {  # file: its bytes, words of the message
    "zero.jpg": (b"", "UnidentifiedImageError"),
    "text.jpg": (b"I am no picture, I was renamed.", "UnidentifiedImageError"),
    "page.png": (b"<html>404</html>", "UnidentifiedImageError"),
    "program.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "UnidentifiedImage"),
    "half.jpg": (JPEG[: len(JPEG) // 2], "truncated"),
    "half.png": (PNG[: len(PNG) // 2], "OSError"),
    "head.png": (PNG[:30], "accepted"),
    "flipped.png": (PNG[:60] + b"XXXX" + PNG[64:], "accepted"),
    "half.gif": (saved(Image.fromarray(NOISE), "GIF")[:900], "accepted"),
    "half.webp": (saved(Image.fromarray(NOISE), "WEBP")[:300], "accepted"),
    "half.bmp": (saved(Image.fromarray(NOISE), "BMP")[:300], "truncated"),
    "half.tif": (saved(Image.fromarray(NOISE), "TIFF")[:300], "accepted"),
    "line.png": (saved(Image.new("RGB", (2000, 1)), "PNG"), "2000 x 1 pixels, a line"),
    "zero.svg": (b"", "no element found"),
    "half.svg": (SVG.format(BOX)[:80].encode(), "ParseError"),
    "text.svg": (b"hello", "ParseError"),
    "page.svg": (b"<html></html>", "ValueError"),
    "utf16.svg": (SVG.format(BOX).encode("utf-16"), "UnicodeDecodeError"),
    "no_size.svg": (SVG.format(BOX).replace("viewBox", "width='0' x").encode(), "accepted"),
    "deep.svg": (SVG.format("<g>" * 600 + "</g>" * 600).encode(), "nested too deeply"),
    "deeper.svg": (SVG.format("<g>" * 10**5 + "</g>" * 10**5).encode(), "nested too deeply"),
    "laughs.svg": (
        (
            '<!DOCTYPE svg [<!ENTITY a "ha">'
            + "".join(f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(9))
            + "]>"
            + SVG.format("<text>&j;</text>")
        ).encode(),
        "ParseError",
    ),
    "outside.svg": (
        f'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>{SVG.format("&x;")}'.encode(),
        "undefined entity",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pictures_are_named(at, name):
    content, words = BROKEN[name]
    (at / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_picture(at / name)
    one_line(error, str(at / name), words)


def test_a_drawing_that_takes_for_ever_is_named(at, monkeypatch):
    pytest.importorskip("resvg_py")
    monkeypatch.setattr(files, "LONGEST", 1)
    noise = '<filter id="f"><feTurbulence baseFrequency="1" numOctaves="999999999"/></filter>'
    box = BOX.replace("<rect", '<rect filter="url(#f)"')
    (at / "a.svg").write_text(SVG.format(noise + box))
    with pytest.raises(ValueError) as error:
        read_picture(at / "a.svg")
    one_line(error, "a.svg", "takes more than 1 s")


@pytest.mark.parametrize("way", ["{at}/a.png", "file://{at}/a.png", "a.png", "../a.png", " a.png"])
@pytest.mark.parametrize("name", ["href", "xlink:href"])
def test_a_drawing_does_not_show_other_files(at, way, name):
    pytest.importorskip("resvg_py")
    Image.new("RGB", (8, 8), RED).save(at / "a.png")
    link = way.format(at=at)
    text = LINK.format(name, link)
    text = text.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ')
    for k, content in enumerate((text, ENTITY.format(link), text.replace("/", "&#47;"))):
        (at / f"{k}.svg").write_text(content)
        if "&#47;>" in content:
            continue
        with pytest.raises(ValueError) as error:
            read_picture(at / f"{k}.svg")
        one_line(error, "file" if k < 2 else "")


def test_a_drawing_asks_no_network(at, monkeypatch):
    """What begins with http is not fetched by resvg: white, at once."""
    pytest.importorskip("resvg_py")
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.3)
        link = f"http://127.0.0.1:{server.getsockname()[1]}/a.png"
        (at / "a.svg").write_text(LINK.format("href", link))
        assert pixel(read_picture(at / "a.svg"), (100, 100)) == WHITE
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("pixels, words", [(1500, "Warning"), (3000, ""), (500, "Error")])
def test_a_bomb_is_not_decoded(at, monkeypatch, pixels, words):
    (at / "a.png").write_bytes(PNG)  # 2,400 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    if pixels > 2400:
        assert read_picture(at / "a.png").size == (60, 40)
        return
    with pytest.raises(ValueError) as error:
        read_picture(at / "a.png")
    one_line(error, "DecompressionBomb", words)


def test_what_is_no_file(at):
    (at / "x.jpg").mkdir()
    for source, words in ((at / "x.jpg", "IsADirectory"), (at / "none.jpg", "No such file")):
        with pytest.raises(ValueError) as error:
            read_picture(source)
        one_line(error, words)
    if os.geteuid() != 0:
        (at / "closed.png").write_bytes(PNG)
        (at / "closed.png").chmod(0)
        with pytest.raises(ValueError) as error:
            read_picture(at / "closed.png")
        one_line(error, "Permission")


BAD_SOURCES = [
    (None, "NoneType"),
    (3, "int"),
    (b"bytes", "bytes"),
    ([[1]], "list"),
    (NOISE.astype(float), "float64, shape (40, 60, 3)"),
    (NOISE[..., 0], "uint8, shape (40, 60)"),
    (NOISE[..., :2], "shape (40, 60, 2)"),
    (np.zeros((0, 4, 3), np.uint8), "accepted"),
]


@pytest.mark.parametrize("source, words", BAD_SOURCES, ids=range(len(BAD_SOURCES)))
def test_what_is_no_picture(source, words):
    with pytest.raises(ValueError) as error:
        read_picture(source)
    one_line(error, words)


def test_without_resvg_one_line_names_the_extra(at, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    (at / "a.svg").write_text(SVG.format(BOX))
    with pytest.raises(ImportError) as error:
        read_picture(at / "a.svg")
    one_line(error, "resvg_py", "the extra `real`")


# Tables


ROWS = [
    {"picture": "a.jpg", "caption": "a red boat"},
    {"picture": "", "caption": "ein Käfer, grün"},
]
CSV = 'picture,caption\na.jpg,a red boat\n,"ein Käfer, grün"\n'
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
GOOD_TABLES = {
    "plain.csv": CSV.encode(),
    "bom.csv": b"\xef\xbb\xbf" + CSV.encode(),
    "windows.csv": CSV.replace("\n", "\r\n").encode(),
    "mac.csv": CSV.replace("\n", "\r").encode(),
    "blank_lines.csv": CSV.replace("\n", "\n\n").encode(),
    "no_end.csv": CSV.rstrip().encode(),
    "UPPER.CSV": CSV.encode(),
    "plain.jsonl": LINES.encode(),
    "utf8.jsonl": LINES.replace("\\u00e4", "ä").replace("\\u00fc", "ü").encode(),
    "windows.jsonl": b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode(),
    "blank_lines.jsonl": ("\n" + LINES.replace("\n", "\n  \n")).encode(),
}


@pytest.mark.parametrize("name", GOOD_TABLES)
def test_good_tables(at, name):
    (at / name).write_bytes(GOOD_TABLES[name])
    assert read_table(at / name) == ROWS
    assert read_table(str(at / name)) == ROWS


def test_plain_lines(at):
    (at / "a.txt").write_bytes("a red boat\r\n\r\n  ein Käfer\u2028grün  \n".encode())
    captions = ["a red boat", "ein Käfer\u2028grün"]
    assert read_table(at / "a.txt") == [{"caption": caption} for caption in captions]


def test_texts_with_breaks_commas_and_quotes(at):
    row = {"caption": 'one, "two"\nthree\u2028four\x85five'}
    (at / "a.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    assert read_table(at / "a.jsonl") == [row]
    quoted = row["caption"].replace('"', '""')
    (at / "a.csv").write_text(f'caption\n"{quoted}"\n', encoding="utf-8")
    assert read_table(at / "a.csv") == [row]


BAD_TABLES = {
    "cp1252.csv": (CSV.encode("cp1252"), "line 3: byte 0xe4", "UTF-8"),
    "utf16.csv": (CSV.encode("utf-16"), "line 1: byte 0xff", "UTF-8"),
    "utf16_no_bom.csv": ("picture,caption\na.jpg,x\n".encode("utf-16-le"), "zero bytes", "UTF-8"),
    "utf16_no_bom.txt": ("a red boat\n".encode("utf-16-le"), "zero bytes", "UTF-8"),
    "nul.csv": (b"picture,caption\na.jpg,a\0b\n", "zero bytes", "UTF-8"),
    "comma.csv": (b"picture,caption\na.jpg,a red, fast boat\n", "row 1 with more", "quote texts"),
    "short.csv": (b"picture,caption\na.jpg,x\nb.jpg\n", "row 2 with more or fewer", "every row"),
    "quote.csv": (b'picture,caption\na.jpg,"a red boat\n', "unexpected end", "quoted"),
    "quote2.csv": (b'picture,caption\na.jpg,"a" red boat\n', "line 2", "quoted"),
    "long.csv": (b"caption\n" + b"x" * 200_000, "field larger", "quoted"),
    "twice.csv": (b"caption,caption\na,b\n", "header", "another name"),
    "empty.csv": (b"", "no row", "one or more"),
    "header.csv": (b"picture,caption\n", "no row", "one or more"),
    "empty.jsonl": (b"\n \n", "no row", "one or more"),
    "empty.txt": (b"", "no row", "one or more"),
    "half.jsonl": (b'{"caption": "a"}\n{"capt', 'line 2: {"capt', "an object of texts"),
    "list.jsonl": (b'["a red boat"]\n', "line 1", "an object of texts"),
    "number.jsonl": (b'{"caption": 3}\n', "line 1", "an object of texts"),
    "null.jsonl": (b'{"picture": null, "caption": "a"}\n', "line 1", "an object of texts"),
    "array.jsonl": (b'[\n{"caption": "a"}\n]\n', "line 1: [", "an object of texts"),
    "deep.jsonl": (b"[" * 10**5, "line 1", "an object of texts"),
    "table.xlsx": (b"PK\x03\x04", ".xlsx", ".csv, .jsonl or .txt"),
    "table.tsv": (b"a\tb\n", ".tsv", ".csv, .jsonl or .txt"),
    "none": (b"a", "''", ".csv, .jsonl or .txt"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables_are_named_with_their_line(at, name):
    content, *words = BAD_TABLES[name]
    (at / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_table(at / name)
    one_line(error, str(at / name), *words)


def test_tables_that_cannot_be_read(at):
    (at / "folder.csv").mkdir()
    for name, words in (("folder.csv", "Is a directory"), ("none.csv", "No such file")):
        with pytest.raises(ValueError) as error:
            read_table(at / name)
        one_line(error, words, "a file that can be read")


# Collections


def collection(at, table, name="captions.csv", pictures=("a.jpg", "b.JPG", "sub/c.png")):
    for picture in pictures:
        path = at / "pictures" / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    (at / name).write_text(table, encoding="utf-8")
    return at


def test_a_collection_is_pictures_captions_and_who_belongs_to_whom(at):
    table = "caption,extra,picture\none,x, sub/c.png \ntwo,x,a.jpg\n free ,x,\nthree,x,a.jpg\n"
    for name in ("notes.txt", ".DS_Store", "._a.jpg", ".hidden.png"):
        (at / "pictures").mkdir(exist_ok=True)
        (at / "pictures" / name).write_bytes(b"x")
    (at / "pictures" / "folder.jpg").mkdir()
    found = read_collection(collection(at, table))
    names = [path.relative_to(at / "pictures").as_posix() for path in found.pictures]
    assert names == ["a.jpg", "b.JPG", "sub/c.png"]
    assert found.captions == ["one", "two", "free", "three"]
    assert found.pairs.tolist() == [[2, 0], [0, 1], [0, 3]]
    assert read_collection(str(at)).captions == found.captions


def test_files_of_other_kinds_are_counted_not_passed_over_in_silence(at, capsys):
    read_collection(collection(at, "picture,caption\na.jpg,a\n"))
    assert capsys.readouterr().out == ""
    for name in ("IMG_1.HEIC", "IMG_2.HEIC", ".DS_Store"):
        (at / "pictures" / name).write_bytes(b"x")
    read_collection(at)
    assert "left out 2, the first IMG_1.HEIC; accepted: files" in capsys.readouterr().out


def test_a_collection_of_json_lines_and_one_without_pairs(at):
    found = read_collection(collection(at, '{"picture": "", "caption": "x"}\n', "captions.jsonl"))
    assert found.captions == ["x"] and found.pairs.shape == (0, 2)


def test_an_accent_is_the_same_however_it_is_spelled(at):
    table = "picture,caption\nK\u00e4fer.jpg,a beetle\n"
    found = read_collection(collection(at, table, pictures=["Ka\u0308fer.jpg"]))
    assert found.pairs.tolist() == [[0, 0]]
    assert found.pictures[0].exists()


BAD_COLLECTIONS = {
    "unknown": ("picture,caption\nx.jpg,a\ny.jpg,b\na.jpg,c\n", "2 pictures", "the first x.jpg"),
    "outside": (
        "picture,caption\n../a.jpg,a\n",
        "1 pictures that are not in pictures/",
        "../a.jpg",
    ),
    "absolute": ("picture,caption\n/etc/passwd,a\n", "/etc/passwd", "names of files there"),
    "folder named": ("picture,caption\npictures/a.jpg,a\n", "pictures/a.jpg", "names of files"),
    "other case": ("picture,caption\nA.jpg,a\n", "A.jpg", "names of files there"),
    "no picture column": ("file,caption\na.jpg,a\n", "['file', 'caption']", "picture and caption"),
    "other names": ("Picture,Caption\na.jpg,a\n", "['Picture', 'Caption']", "picture and caption"),
    "semicolons": ("picture;caption\na.jpg;a\n", "['picture;caption']", "picture and caption"),
    "no header": ("a.jpg,a\nb.JPG,b\n", "['a.jpg', 'a']", "picture and caption"),
    "no caption": ("picture,caption\na.jpg,a\nb.JPG,  \n", "1 empty captions", "in every row"),
    "no rows": ("picture,caption\n", "no row", "one or more"),
}


@pytest.mark.parametrize("table, got, accepted", BAD_COLLECTIONS.values(), ids=BAD_COLLECTIONS)
def test_bad_collections_are_named(at, table, got, accepted):
    with pytest.raises(ValueError) as error:
        read_collection(collection(at, table))
    one_line(error, str(at / "captions.csv"), got, accepted)


def test_json_lines_of_which_one_lacks_a_column(at):
    table = '{"picture": "a.jpg", "caption": "x"}\n{"caption": "y"}\n'
    with pytest.raises(ValueError) as error:
        read_collection(collection(at, table, "captions.jsonl"))
    one_line(error, "row 2 with ['caption']", "picture and caption")


def test_what_is_missing_is_named(at):
    with pytest.raises(ValueError) as error:
        read_collection(at / "nowhere")
    one_line(error, "nowhere/pictures", "no picture", ".jpg")
    (at / "pictures").mkdir()
    (at / "pictures" / "a.txt").write_text("x")
    with pytest.raises(ValueError) as error:
        read_collection(at)
    one_line(error, "no picture")
    (at / "pictures" / "a.jpg").write_bytes(JPEG)
    with pytest.raises(ValueError) as error:
        read_collection(at)
    one_line(error, "captions.csv", "No such file")


# Features


class Encoder:
    """Features that can be computed by hand; it notes what it encodes."""

    def __init__(self, modality="text", key="a", note=None):
        self.modality, self.key, self.seen, self.note = modality, {"name": key}, [], note

    def encode(self, samples):
        self.seen += samples
        if self.note is not None:
            with open(self.note, "a") as stream:
                stream.write("".join(f"{sample}\n" for sample in samples))
        if self.modality == "text":
            return np.array([[len(s), sum(map(ord, s))] for s in samples], np.float32)
        return np.stack([np.asarray(s, np.float32).mean((0, 1)) for s in samples])


CAPTIONS = [f"caption {k}" for k in range(100)]


def never(samples):
    raise AssertionError("encoded again")


def test_features_come_in_chunks_and_once(at):
    encoder = Encoder()
    rows = features(encoder, CAPTIONS, chunk=7)
    assert encoder.seen == CAPTIONS
    assert (np.asarray(rows) == Encoder().encode(CAPTIONS)).all()
    assert isinstance(rows, np.memmap) and rows.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        rows[0] = 0
    encoder.encode = never
    assert (features(encoder, CAPTIONS, chunk=7) == rows).all()
    assert (features(encoder, tuple(CAPTIONS), chunk=7) == rows).all()


def test_other_encoders_texts_and_libraries_are_encoded_anew(monkeypatch):
    features(Encoder(), CAPTIONS)
    for encoder, texts in (
        (Encoder(key="b"), CAPTIONS),
        (Encoder(), CAPTIONS[::-1]),
        (Encoder(), CAPTIONS[:99]),
        (Encoder(), ["caption 0\n", *CAPTIONS[1:]]),
        (Encoder(), ["\n".join(CAPTIONS[:2]), *CAPTIONS[2:]]),
    ):
        rows = features(encoder, texts)
        assert encoder.seen == texts and len(rows) == len(texts)

    monkeypatch.setitem(files.VERSIONS, "torch", "0.1")
    encoder = Encoder()
    features(encoder, CAPTIONS)
    assert encoder.seen == CAPTIONS


@pytest.fixture
def pictures(at):
    paths = [at / f"{k}.png" for k in range(5)]
    for k, path in enumerate(paths):
        Image.new("RGB", (8, 8), (k, 0, 0)).save(path)
    return paths


@pytest.mark.parametrize("kind", [Path, str])
def test_a_changed_picture_is_noticed(pictures, kind):
    given = [kind(path) for path in pictures]
    assert features(Encoder("picture"), given)[:, 0].tolist() == [0, 1, 2, 3, 4]
    silent = Encoder("picture")
    silent.encode = never
    features(silent, given)
    Image.new("RGB", (8, 8), (99, 0, 0)).save(pictures[2])
    assert features(Encoder("picture"), given)[:, 0].tolist() == [0, 1, 99, 3, 4]


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of the last change")
def test_a_change_that_keeps_size_and_time_is_noticed(at):
    path = at / "a.bmp"
    for value in (1, 2):
        Image.new("RGB", (8, 8), (value, 0, 0)).save(path)
        os.utime(path, (10**9, 10**9))
        assert features(Encoder("picture"), [path])[0, 0] == value


def test_broken_pictures_are_named_skipped_and_counted(pictures, capsys):
    pictures[1].write_bytes(b"no picture")
    pictures[3].unlink()
    rows = features(Encoder("picture"), pictures, chunk=2)
    assert np.isnan(rows).all(1).tolist() == [False, True, False, True, False]
    assert rows[[0, 2, 4], 0].tolist() == [0, 2, 4]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert said[0].startswith(f"skipped: {pictures[1].name}: got")
    assert said[1].startswith(f"skipped: {pictures[3].name}: got")
    assert said[2] == "2 of 5 pictures cannot be read; their rows are NaN"
    features(Encoder("picture"), pictures, chunk=2)
    assert capsys.readouterr().out == ""
    Image.new("RGB", (8, 8), (3, 0, 0)).save(pictures[3])
    assert features(Encoder("picture"), pictures, chunk=2)[3, 0] == 3


def test_all_pictures_broken(pictures, capsys):
    for path in pictures:
        path.write_bytes(b"")
    assert np.isnan(features(Encoder("picture"), pictures)).all()
    assert "5 of 5 pictures cannot be read" in capsys.readouterr().out


def test_names_of_files_that_are_no_utf8_can_be_shown(at):
    name = os.fsencode(str(at)) + b"/caf\xe9 \n.jpg"
    try:
        Path(os.fsdecode(name)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system refuses such names")
    with pytest.raises(ValueError) as error:
        read_picture(os.fsdecode(name))
    str(error.value).encode()
    one_line(error, "caf")
    features(Encoder("picture"), [Path(os.fsdecode(name))])


BAD_SAMPLES = [
    ("text", [], "samples: got 0"),
    ("text", "a red boat", "a list of texts"),
    ("text", [3, "a"], "got 'int'"),
    ("text", [None], "got 'NoneType'"),
    ("text", [Path("a.txt")], "accepted: a list of texts"),
    ("picture", [], "a list of paths"),
    ("picture", "a.jpg", "a list of paths"),
    ("picture", [NOISE], "got 'ndarray'"),
    ("picture", [Image.new("RGB", (3, 3))], "got 'Image'"),
]


@pytest.mark.parametrize("modality, samples, words", BAD_SAMPLES, ids=range(len(BAD_SAMPLES)))
def test_samples_that_are_refused(modality, samples, words):
    with pytest.raises(ValueError) as error:
        features(Encoder(modality), samples)
    one_line(error, words)


@pytest.mark.parametrize("chunk", [0, -1, 2.5, None])
def test_a_chunk_that_is_none(chunk):
    with pytest.raises(ValueError) as error:
        features(Encoder(), CAPTIONS, chunk=chunk)
    one_line(error, "chunk: got")


# Kills, damage, a full disk


def test_killed_in_the_middle_loses_one_chunk_at_most(at):
    note = at / "note"

    class Slow(Encoder):
        def encode(self, samples):
            time.sleep(0.02)
            return super().encode(samples)

    for wanted in (30, 60):
        process = FORK.Process(target=features, args=(Slow(note=note), CAPTIONS, "", 10))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        while not note.exists() or len(note.read_text().splitlines()) < wanted:
            time.sleep(0.005)
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    rows = features(Slow(note=note), CAPTIONS, chunk=10)
    assert (np.asarray(rows) == Encoder().encode(CAPTIONS)).all()
    done = note.read_text().splitlines()
    assert set(done) == set(CAPTIONS)
    assert len(done) <= 100 + 2 * 10  # two kills


def test_an_error_of_an_encoder_keeps_what_was_done():
    encoder = Encoder()
    plain = encoder.encode

    def encode(samples):
        if "caption 42" in samples:
            raise KeyError("boom")
        return plain(samples)

    encoder.encode = encode
    with pytest.raises(KeyError, match="boom"):
        features(encoder, CAPTIONS, chunk=10)
    assert encoder.seen == CAPTIONS[:40]
    again = Encoder()
    assert (np.asarray(features(again, CAPTIONS, chunk=10)) == plain(CAPTIONS)).all()
    assert again.seen == CAPTIONS[40:]


def test_a_full_disk_is_one_line_and_loses_nothing(monkeypatch):
    from lib import cache

    encoder, real, writes = Encoder(), open, []

    class Full:
        def __init__(self, stream):
            self.stream = stream

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.stream.close()

        def seek(self, place):
            self.stream.seek(place)

        def write(self, content):
            writes.append(content)
            if len(writes) > 3:
                self.stream.write(memoryview(content).cast("B")[:5])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.stream.write(content)

    def fake(path, mode="r"):
        return Full(real(path, mode)) if mode == "r+b" else real(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "open", fake, raising=False)
        with pytest.raises(ValueError) as error:
            features(encoder, CAPTIONS, chunk=10)
        one_line(error, "UNPAIRED_CACHE", "No space left on device", "make room there")
    again = Encoder()
    features(again, CAPTIONS, chunk=10)
    assert again.seen == CAPTIONS[30:]
