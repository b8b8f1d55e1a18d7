"""The book: lessons, evidence and ledger as one site, from committed outputs; see `make book`."""

import sys
from importlib.metadata import files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
mathjax = next(f for f in files("sphinx-mathjax-offline") if f.name == "tex-svg.js")

project = "Unpaired"
html_title = project
copyright = "the authors, CC BY 4.0"
extensions = ["myst_nb", "pages"]
include_patterns = ["index.md", "TEACHING.md", "CLAIMS.md"]
include_patterns += ["notebooks/[0-9]*.ipynb", "notebooks/evidence/[0-9]*.ipynb"]

nb_execution_mode = "off"
nb_code_prompt_show = "Show {type}"
nb_code_prompt_hide = "Hide {type}"
nb_render_markdown_format = "myst"
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_theme_options = {
    "home_page_in_toc": True,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the side bar has the search already
}
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_static_path = ["book.css", str(mathjax.locate())]
html_css_files = ["book.css"]
html_show_search_summary = False  # it would fetch pages, which no browser lets file:// do
mathjax_path = mathjax.name  # glyphs are in this one file: no fonts, no network
mathjax3_config = {"options": {"enableMenu": False}}
