"""What the book makes of a page: words for pictures, folds, anchors, links into the glossary."""

import functools
import re

import nbformat
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

GLOSSARY = "notebooks/00_start_here"
ROW = re.compile(r"^\| (\*\*.+) \| (.+) \| ([\d, ]+) \|$", re.MULTILINE)
TERM = re.compile(r"\*\*(.+?)\*\*")
OTHERS = r"95 % \(?Student|\d heads|its plan \(|plans for"  # the same words, but other things
EVERYDAY = {"block", "code", "design", "draw"}  # linked only where the glossary says "first in"
FOLDED = {"source_hidden": "hide-input", "outputs_hidden": "hide-output"}
LOG = logging.getLogger(__name__)


def read_notebook(app, docname, source):
    """Tell MyST-NB what the notebook says in JupyterLab's words; anchors in the glossary."""
    if not docname.startswith("notebooks/"):
        return
    notebook = nbformat.reads(source[0], as_version=4)
    for cell in notebook.cells:
        hidden = cell.metadata.get("jupyter", {})
        tags = [tag for name, tag in FOLDED.items() if hidden.get(name)]
        cell.metadata["tags"] = cell.metadata.get("tags", []) + tags
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt")
                cell.metadata["mystnb"] = {"image": {"alt": alt or ""}}
                if not alt:
                    LOG.warning("a picture without alt text in cell %s", cell.id, location=docname)
        if docname == GLOSSARY:
            cell.source = ROW.sub(lambda row: TERM.sub(_with_anchor, row[0]), cell.source)
    source[0] = nbformat.writes(notebook)


class Anchors(SphinxTransform):
    """Turn `<a id="..."></a>` into targets that links can be checked against."""

    default_priority = 100

    def apply(self):
        for raw in list(self.document.findall(nodes.raw)):
            found = re.fullmatch(r'<a id="([^"]+)">', raw.astext())
            if found:
                target = nodes.target(ids=[found[1]], names=[found[1].lower()])
                raw.parent.remove(raw.next_node(descend=False, siblings=True))
                raw.replace_self(target)
                self.document.note_explicit_target(target)


class AltText(SphinxTransform):
    """Warn of pictures in prose without alt text; `read_notebook` has seen those of the cells."""

    default_priority = 110

    def apply(self):
        for image in self.document.findall(nodes.image):
            if not image.get("alt") and "mime_type" not in image.parent:
                LOG.warning("a picture without alt text: %s", image["uri"], location=image)


class GlossaryLinks(SphinxTransform):
    """Link the first use of each term on a page to its row in the glossary.

    Not in TEACHING.md, where students are people and plans are timetables.
    """

    default_priority = 120

    def apply(self):
        if self.env.docname == "TEACHING":
            return
        forms = _forms(self.app.srcdir / f"{GLOSSARY}.ipynb")
        longest_first = sorted(forms, key=len, reverse=True)
        terms = "|".join(map(re.escape, longest_first))
        pattern = re.compile(rf"{OTHERS}|\b(?P<term>{terms})\b", re.IGNORECASE)
        number = (re.findall(r"/(\d\d)_", self.env.docname) or ["none"])[0]
        seen = set()
        for text in list(self.document.findall(nodes.Text)):
            if not self._is_prose(text):
                continue
            parts, end = [], 0
            for found in pattern.finditer(text):
                if not found["term"]:
                    continue
                term, meaning, first = forms[found[0].lower()]
                everyday = term in EVERYDAY and not (number in first and found[0].islower())
                if term in seen or everyday:
                    continue
                seen.add(term)
                parts += [
                    nodes.Text(text[end : found.start()]),
                    self._link(found[0], term, meaning),
                ]
                end = found.end()
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(text[end:])])

    def _is_prose(self, text):
        node = text.parent
        if isinstance(node, nodes.strong | nodes.emphasis):
            node = node.parent
        in_glossary = self.env.docname == GLOSSARY and isinstance(node.parent, nodes.entry)
        return isinstance(node, nodes.paragraph) and not in_glossary

    def _link(self, words, term, meaning):
        link = pending_xref(
            refdomain="doc",
            reftype="myst",
            refdoc=self.env.docname,
            reftarget=GLOSSARY,
            reftargetid=_anchor(term),
            refexplicit=True,
            reftitle=meaning,
        )
        link += nodes.inline("", "", nodes.inline("", words, classes=["term"]))
        return link


def finish(app, pagename, templatename, context, doctree):
    """Names that are read aloud are those that are seen; wide formulas scroll with the keyboard."""
    body = context.get("body", "").replace(' aria-label="Toggle hidden content"', "")
    context["body"] = body.replace('<div class="math ', '<div tabindex="0" class="math ')


@functools.cache
def _forms(path):
    """{term or its plural, in lower case: (term, meaning, where it comes first)}."""
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    forms = {}
    for words, meaning, first in ROW.findall(text):
        for term in TERM.findall(words):
            plural = f"{term[:-1]}ies" if term.endswith("y") else f"{term}s"
            forms |= {form.lower(): (term, meaning, first) for form in (term, plural)}
    return forms


def _anchor(term):
    return "term-" + re.sub(r"\W+", "-", term.lower())


def _with_anchor(term):
    return f'<a id="{_anchor(term[1])}"></a>{term[0]}'


def setup(app):
    """What Sphinx calls."""
    app.connect("source-read", read_notebook)
    app.connect("html-page-context", finish)
    for transform in (Anchors, AltText, GlossaryLinks):
        app.add_transform(transform)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
