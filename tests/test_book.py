"""The book: all pages, links that lead somewhere, nothing from elsewhere; opened in Chromium."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

from lib.parameters import notebooks

ROOT = Path(__file__).parent.parent
TEXTS = ["README.md", "TEACHING.md", "CLAIMS.md", "LICENSE", "LICENSE-TEXT", "CITATION.cff"]
NOTEBOOKS = [f"notebooks/{name}" for name in notebooks()]
PAGES = ["index", *NOTEBOOKS, "TEACHING", "CLAIMS"]
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
in_browser = pytest.mark.skipif(
    not (CHROMIUM and os.environ.get("REQUIRE_BROWSER")),
    reason="`make browser` runs it, where a browser is installed",
)


def make(folder):
    ready = ["-o", f"{sys.prefix}/.ready-book", f"VENV={sys.prefix}"]
    command = ["make", *ready, "book"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def lay_out(folder, *names):
    """What `make book` reads, in a folder of its own, with these notebooks."""
    for part in ("Makefile", *TEXTS):
        shutil.copy(ROOT / part, folder)
    for part in ("book", "figures", "slurm"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "notebooks" / "evidence").mkdir(parents=True)
    for name in names:
        shutil.copy(ROOT / f"{name}.ipynb", folder / f"{name}.ipynb")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The book, made as a user makes it."""
    folder = tmp_path_factory.mktemp("book")
    lay_out(folder, *NOTEBOOKS)
    made = make(folder)
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stdout == "The book is made; open build/book/index.html\n" and not made.stderr
    return folder / "build" / "book"


@pytest.fixture(scope="module")
def soups(site):
    """{page: its parsed HTML, without code, which takes long}, with those of search and index."""
    texts = {page: (site / f"{page}.html").read_text() for page in [*PAGES, "search", "genindex"]}
    code = re.compile(r"(?<=<pre>).*?(?=</pre>)", re.DOTALL)
    return {page: BeautifulSoup(code.sub("", text), "html.parser") for page, text in texts.items()}


def test_shelves_in_order_and_each_page_with_its_neighbours(soups):
    shelves = [caption.text for caption in soups["index"].select("nav.bd-links p.caption")]
    assert shelves == ["Lessons", "Evidence", "Teaching", "Ledger"]
    for before, page, after in zip([None, *PAGES], PAGES, [*PAGES[1:], None]):
        for neighbour, which in ((before, "left-prev"), (after, "right-next")):
            link = soups[page].select_one(f"a.{which}")
            assert bool(link) == bool(neighbour), page
            assert not link or link["href"].endswith(f"{Path(neighbour).name}.html")


def test_a_button_downloads_the_committed_notebook(site, soups):
    for page in NOTEBOOKS:
        link = soups[page].select_one("a.btn-download-source-button")
        source = (site / page).parent / link["href"]
        assert source.read_bytes() == (ROOT / f"{page}.ipynb").read_bytes()


def test_every_link_leads_to_a_file_and_a_place_in_it(site, soups):
    ids = {page: {e["id"] for e in soup.select("[id]")} for page, soup in soups.items()}
    followed = 0
    for page, soup in soups.items():
        for tag in soup.select("[href], [src]"):
            link = urlsplit(tag.get("href") or tag.get("src"))
            if link.scheme or link.netloc:
                continue
            target = (site / page).parent / unquote(link.path) if link.path else site / page
            target = target.resolve() if link.path else target.with_suffix(".html")
            assert target.exists(), f"{page}: {tag}"
            if link.fragment and target.suffix == ".html":
                there = target.relative_to(site.resolve() if link.path else site)
                assert unquote(link.fragment) in ids[str(there.with_suffix(""))], f"{page}: {tag}"
                followed += 1
    assert followed > 500


def test_nothing_is_fetched_from_elsewhere(site, soups):
    for page, soup in soups.items():
        for tag in soup.select("[src], link[href]"):
            link = urlsplit(tag.get("src") or tag["href"])
            assert link.scheme in ("", "data") and not link.netloc, f"{page}: {tag}"
    sheets = list(site.rglob("*.css"))
    assert sheets and any(sheet.name == "book.css" for sheet in sheets)
    for sheet in sheets:
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_every_picture_has_words(soups):
    pictures = [(page, img) for page, soup in soups.items() for img in soup.select("img")]
    assert len(pictures) > 190
    for page, img in pictures:
        assert len(img.get("alt", "")) > 25 and not img["alt"].endswith((".png", ".svg")), page


def test_answers_are_folded_with_their_mathematics_and_lists(soups):
    lessons = [soup for page, soup in soups.items() if "evidence" not in page]
    inside = {e.name for soup in lessons for e in soup.select("details:not(.hide) *")}
    assert {"summary", "p", "li", "table", "pre", "strong"} <= inside
    assert sum(len(soup.select("details:not(.hide) .math")) for soup in lessons) > 100
    assert sum(len(soup.select("details.hide img")) for soup in lessons) > 30  # tagged `reveal`


def test_first_uses_lead_into_the_glossary(soups):
    for page in NOTEBOOKS:
        links = [a["href"] for a in soups[page].select("a:has(.term)")]
        assert len(links) == len(set(links)) >= 3, page
        assert all("#term-" in link for link in links)
    assert soups["notebooks/08_match_softly_with_transport"].select('a[href$="#term-klot"]')


def test_people_and_distributions_are_no_terms(soups):
    assert not soups["TEACHING"].select(".term")  # students are people there
    words = {term.text for soup in soups.values() for term in soup.select(".term")}
    assert "student" in words
    assert "Student" not in words  # his intervals


def test_broken_links_and_pictures_without_words_fail_with_a_line_each(tmp_path):
    name = "notebooks/00_start_here"
    lay_out(tmp_path, name)
    path = tmp_path / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source += "\n[a](13_gone.ipynb) [b](../CLAIMS.md#99.gone)"
    notebook.cells[0].source += "\n![](../figures/01_two_strips.svg)"
    drawing = next(cell for cell in notebook.cells if cell.id == "four-cells")
    del drawing.outputs[0].metadata["image/png"]["alt"]
    nbformat.write(notebook, path)
    for _ in range(2):  # a second try finds the same
        made = make(tmp_path)
        assert made.returncode
        for words in (
            "13_gone.ipynb",
            "'99.gone'",
            "a picture without alt text: ../figures/01_two_strips.svg",
            "a picture without alt text in cell four-cells",
        ):
            lines = [line for line in made.stderr.splitlines() if words in line]
            assert len(lines) == 1 and f"{name}.ipynb" in lines[0], words


# In a browser


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The script of axe-core, which npm brings."""
    folder = tmp_path_factory.mktemp("axe")
    try:
        command = ["npm", "pack", "axe-core@4.14.1"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"npm brings no axe-core: {error}")
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        return package.extractfile("package/axe.min.js").read().decode()


@pytest.fixture
def phone(browser):
    """A page 390 pixels wide in the dark, and what it complains of and asks others for."""
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.set_default_timeout(120_000)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda line: line.type == "error" and page.complaints.append(line.text))
    page.on("requestfailed", lambda request: page.complaints.append(request.url))
    page.on("request", lambda r: r.url.startswith("http") and page.complaints.append(r.url))
    yield page
    page.close()


def open_all(page, address):
    """Open the page, wait for its mathematics, unfold what is folded."""
    page.goto(address)
    page.evaluate("window.MathJax && MathJax.startup.promise")
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")


@in_browser
@pytest.mark.parametrize("name", [*PAGES, "search", "genindex"])
def test_a_page_opens_from_disk_on_a_phone(site, phone, name):
    open_all(phone, (site / f"{name}.html").as_uri())
    assert not phone.complaints
    assert phone.evaluate("document.documentElement.dataset.theme") == "dark"
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.locator("mjx-merror").count() == 0
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).length"
    assert phone.evaluate(broken) == 0
    phone.evaluate("document.querySelectorAll('div.math').forEach(m => m.scrollTo(-9, 0))")
    begun_late = "[...document.querySelectorAll('div.math')].filter(m => m.scrollLeft < 0).length"
    assert phone.evaluate(begun_late) == 0  # a wide formula begins at its beginning


@in_browser
@pytest.mark.parametrize("name", [*PAGES, "search", "genindex"])
def test_axe_finds_nothing_serious(site, phone, axe, name):
    open_all(phone, (site / f"{name}.html").as_uri())
    phone.evaluate(axe)
    for scheme, options in (("dark", {}), ("light", {"runOnly": ["color-contrast"]})):
        phone.emulate_media(color_scheme=scheme)
        theme = f"document.documentElement.dataset.theme === '{scheme}'"
        phone.wait_for_function(theme)
        options = json.dumps({**options, "preload": False, "resultTypes": ["violations"]})
        what = "{exclude: ['mjx-container svg', 'mjx-assistive-mml']}"
        found = phone.evaluate(f"axe.run({what}, {options})")["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert not [(v["id"], v["nodes"][0]["html"]) for v in serious], scheme


@in_browser
def test_search_finds_a_word(site, phone):
    phone.goto((site / "search.html").as_uri() + "?q=transport")
    phone.wait_for_selector("#search-results li a[href*='08_match_softly']")
    assert not phone.complaints
