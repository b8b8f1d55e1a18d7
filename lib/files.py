"""A user's own pictures and texts, and features of millions of them on the disk.

read_picture(source)        a path (JPEG, PNG, ..., SVG), a PIL image or an array -> RGB
read_table(path)            CSV, JSON lines or plain lines -> a list of {column: text}
read_collection(folder)     pictures/ and captions.csv, a few of them paired
features(encoder, samples)  (n, d), written chunk by chunk, resumed after a kill, mapped
"""

import csv
import hashlib
import io
import json
import math
import subprocess
import sys
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageOps

from lib import cache
from lib.validation import check_package, invalid

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # others may run a program
RISKY = ("filter", "pattern", "mask", "marker", "image")  # in an SVG: small to write, long to draw
LONGEST = 20  # seconds for a drawing that has one
DRAW = """
import sys, resvg_py
svg = sys.stdin.buffer.read().decode()
sys.stdout.buffer.write(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=224, height=224)))
"""
VERSIONS = {}  # of what reads and encodes, as far as it is here
for name in ("pillow", "resvg_py", "tokenizers", "torch", "transformers"):
    with suppress(PackageNotFoundError):
        VERSIONS[name] = version(name)
LARGE = 2**20  # pixels; a larger picture is made smaller, so that a chunk of them fits in memory


def read_picture(source):
    """An RGB image of PIL: turned as EXIF says, on white where transparent, 16 bits made 8.

    source  a path, a PIL image, or an array (h, w, 3) uint8; drawings as SVG need the extra `real`

    Above LARGE pixels its sides are halved, or divided by a larger whole number. Raises ValueError
    that names what is broken, truncated, too large (Image.MAX_IMAGE_PIXELS), a line (100 times as
    long as wide), an SVG that refers to other files, or no picture.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            got = f"{source.dtype}, shape {source.shape}"
            raise invalid("picture", got, "an array (h, w, 3) uint8")
        source = Image.fromarray(source)
    if not isinstance(source, str | Path | Image.Image):
        raise invalid("picture", type(source).__name__, "a path, a PIL image, or an array")
    name = source if isinstance(source, str | Path) else "picture"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if isinstance(source, Image.Image):
                return _plain(source)
            with _open(Path(source)) as image:
                return _plain(image)
    except ImportError:
        raise
    except Exception as error:  # Pillow raises nearly anything for damaged files
        got = f"{type(error).__name__} {error}"
        raise invalid(str(name), got, "a whole picture that Pillow can read") from None


def _open(path):
    if path.suffix.lower() == ".svg":
        return Image.open(io.BytesIO(_drawn(path.read_text(encoding="utf-8-sig"))))
    image = Image.open(path, formats=FORMATS)
    if image.format == "JPEG" and image.width * image.height > LARGE:
        image.draft(None, (512, 512))
    return image


def _drawn(svg):
    """The PNG of an SVG; refuses what would show another file, hang, or crash.

    resvg obeys no limits: what may take for ever is drawn in a process of its own.
    """
    depth, uses, risky = 0, 0, len(svg) > 10**6
    for event, element in ElementTree.iterparse(io.StringIO(svg), ("start", "end")):
        depth += 1 if event == "start" else -1
        links = [value for name, value in element.items() if name.endswith("href")]
        if depth > 100 or not all(
            link.startswith(("#", "data:", "http:", "https:")) for link in links
        ):
            raise ValueError("a drawing nested too deeply" if depth > 100 else f"file {links[0]}")
        tag = element.tag.rpartition("}")[2]
        uses += tag == "use" and event == "start"
        risky = risky or tag in RISKY or uses > 10
    resvg = check_package("resvg_py")
    if not risky:
        return bytes(resvg.svg_to_bytes(svg_string=svg, width=224, height=224))
    try:
        command = [sys.executable, "-c", DRAW]
        done = subprocess.run(command, input=svg.encode(), capture_output=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        raise ValueError(f"a drawing that takes more than {LONGEST} s") from None
    if done.returncode:
        raise ValueError("a drawing that resvg cannot draw")
    return done.stdout


def _plain(image):
    image.load()
    if max(image.size) > 100 * min(image.size):
        raise ValueError("{} x {} pixels, a line".format(*image.size))
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        top = 65535 if image.mode.startswith("I;16") else max(values.max(), 1)
        image = Image.fromarray((values.clip(0, top) / top * 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB")
    return image.reduce(math.isqrt(max(image.width * image.height - 1, 0) // LARGE) + 1)


def read_table(path):
    """The rows of a CSV file, of JSON lines (.jsonl), or of plain lines (.txt): a list of dicts.

    {column: text}; the one column of plain lines is 'caption'. Raises ValueError, naming file and
    line, for what is not UTF-8, is none of the three, has no row, or a row of another length.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise invalid(str(path), error.strerror, "a file that can be read") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        got = f"line {line}: byte {error.object[error.start]:#x}"
        raise invalid(str(path), got, "text in UTF-8: save it anew in that encoding") from None
    if "\0" in text:
        raise invalid(str(path), "zero bytes", "text in UTF-8: save it anew in that encoding")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if path.suffix.lower() == ".csv":
        rows = _csv(path, text)
    elif path.suffix.lower() == ".jsonl":
        rows = [_json(path, k, line) for k, line in enumerate(lines, 1) if line.strip()]
    elif path.suffix.lower() == ".txt":
        rows = [{"caption": line.strip()} for line in lines if line.strip()]
    else:
        raise invalid(str(path), path.suffix, "a file that ends in .csv, .jsonl or .txt")
    if not rows:
        raise invalid(str(path), "no row", "one or more")
    return rows


def _csv(path, text):
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        got = f"line {reader.reader.line_num}: {error}"
        raise invalid(str(path), got, "comma-separated values, quoted where they need it") from None
    header = reader.fieldnames or []
    if len(set(header)) < len(header):
        raise invalid(str(path), f"header {header}", "another name for every column")
    for k, row in enumerate(rows, 1):
        if None in row or None in row.values():
            got = f"row {k} with more or fewer cells than the header {header}"
            raise invalid(str(path), got, "as many in every row; quote texts with commas")
    return rows


def _json(path, number, line):
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not all(isinstance(cell, str) for cell in row.values()):
        accepted = 'an object of texts, such as {"caption": "a red boat"}'
        raise invalid(str(path), f"line {number}: {line[:40]}", accepted)
    return row


class Collection(NamedTuple):
    """pictures: n paths; captions: m texts; pairs (k, 2): whose caption is whose picture."""

    pictures: list
    captions: list
    pairs: np.ndarray


def read_collection(folder):
    """The `Collection` of a folder: pictures/ and below it; captions.csv, or .jsonl.

    Its columns are `picture`, a file's name within pictures/, and `caption`. Where `picture` is
    empty the caption belongs to nobody; a picture may have several captions, or none. Other files
    below pictures/ are counted, in one line. Raises ValueError for what is missing, and for names
    that are not there.
    """
    folder = Path(folder).expanduser()
    where = folder / "pictures"
    files = sorted(path for path in where.rglob("[!.]*") if path.is_file())
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    others = [path.name for path in files if path.suffix.lower() not in SUFFIXES]
    accepted = f"files that end in {', '.join(SUFFIXES)}"
    if not pictures:
        raise invalid(str(where), "no picture", accepted)
    if others:
        print(f"{where}: left out {len(others)}, the first {others[0]}; accepted: {accepted}")
    tables = [folder / name for name in ("captions.csv", "captions.jsonl")]
    table = next((path for path in tables if path.exists()), tables[0])
    rows = read_table(table)
    for k, row in enumerate(rows, 1):
        if not {"picture", "caption"} <= row.keys():
            accepted = "columns with the names picture and caption"
            raise invalid(str(table), f"row {k} with {list(row)}", accepted)
    # macOS writes an accent as a letter of its own: NFC makes it one again
    names = [normalize("NFC", path.relative_to(where).as_posix()) for path in pictures]
    numbers = {name: k for k, name in enumerate(names)}
    rows = [(normalize("NFC", row["picture"].strip()), row["caption"].strip()) for row in rows]
    unknown = [name for name, _ in rows if name and name not in numbers]
    if unknown:
        got = f"{len(unknown)} pictures that are not in {where.name}/, the first {unknown[0]}"
        raise invalid(str(table), got, "names of files there, or an empty cell")
    silent = sum(not caption for _, caption in rows)
    if silent:
        raise invalid(str(table), f"{silent} empty captions", "a caption in every row")
    pairs = [(numbers[name], k) for k, (name, _) in enumerate(rows) if name]
    captions = [caption for _, caption in rows]
    return Collection(pictures, captions, np.array(pairs, dtype=int).reshape(-1, 2))


def features(encoder, samples, progress="", chunk=256):
    """Features (n, d) of a list of texts or of pictures: float32, mapped from a file, read-only.

    They are made `chunk` by `chunk` and kept in the cache as they come: a process that is killed
    loses one chunk, and memory holds no more. They are made anew for another encoder, other
    versions of the libraries, other texts, and files of another name, size or time. A picture that
    cannot be read is named, and its row is NaN. progress: the words of a bar; none: no bar.
    """
    of_pictures = encoder.modality == "picture"
    kind = str | Path if of_pictures else str
    got = next((type(x).__name__ for x in samples if not isinstance(x, kind)), len(samples))
    if isinstance(got, str) or not got or isinstance(samples, str):
        raise invalid("samples", got, f"a list of {'paths' if of_pictures else 'texts'}, not empty")
    samples = [Path(sample) for sample in samples] if of_pictures else samples
    signature, skipped = hashlib.sha256(), []
    for sample in samples:
        signature.update(f"{_signature(sample)}\n".encode())

    def make(start, stop):
        part = list(samples[start:stop])
        if not of_pictures:
            return encoder.encode(part)
        read = [_read_or_none(sample) for sample in part]
        skipped.extend(sample for sample, picture in zip(part, read) if picture is None)
        blank = Image.new("RGB", (64, 64), "white")
        made = encoder.encode([picture or blank for picture in read])
        made[[picture is None for picture in read]] = np.nan
        return made

    key = {"encoder": encoder.key, "versions": VERSIONS, "samples": signature.hexdigest()}
    made = cache.rows(key, len(samples), make, chunk, progress)
    if skipped:
        print(f"{len(skipped)} of {len(samples)} pictures cannot be read; their rows are NaN")
    return made


def _signature(sample):
    """What tells a sample from others: a text itself; a file's path, size and times."""
    if not isinstance(sample, Path):
        return json.dumps(sample)
    try:
        found = sample.stat()  # st_ctime: of a copy that keeps the old time, of another right
        times = found.st_mtime_ns, found.st_ctime_ns
        return json.dumps([str(sample.absolute()), found.st_size, times])
    except OSError as error:
        return json.dumps([str(sample.absolute()), error.strerror])


def _read_or_none(sample):
    try:
        return read_picture(sample)
    except ValueError as error:
        print("skipped:", str(error).replace(str(sample), sample.name))
        return None
