"""One style for every figure: a look per thing and per method, captions, files that do not change.

    axis.plot(x, y, **LOOK["X + Y"], label="X and Y")     the same thing looks the same everywhere
    show(figure, "01_two_strips", "What is to be seen.")  picture, caption, file
    slider(draw, angle=FloatSlider(...))                  draw(angle=...) anew for every position

A look is a colour, a marker and a line style, so that colour is never the only cue. Every colour
has a contrast of 3 to 1 or more on white. Gains and losses share one map, GAIN: blue is a gain,
red a loss, white is nothing.
"""

import base64
import io
from html import escape
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import HTML, display
from PIL import Image

from lib.claims import write_atomically

# fmt: off
LOOK = {name: dict(color=color, marker=marker, linestyle=line) for name, color, marker, line in [
    ("X",             "#0b5fa5", "o", "-"),   # the target alone; a method that sees nothing else
    ("Y",             "#c8590a", "s", "--"),  # the auxiliary alone
    ("X + Y",         "#00755e", "D", (0, (7, 1.5))),  # both, unpaired: UML
    ("Z",             "#2f7f94", "^", "-."),  # a third modality
    ("more X",        "#4a93d9", "o", "--"),
    ("theory",        "#1a1a1a", "",  "-"),
    ("truth",         "#1a1a1a", "*", ""),
    ("control",       "#868686", "x", ":"),
    ("noise",         "#c2397f", "v", "-."),
    ("linear",        "#8a6d00", "P", "--"),
    ("false promise", "#b01e2e", "X", "--"),
    ("UML (init)",    "#00755e", "^", ":"),
    ("Procrustes",    "#6b7fae", ">", ":"),
    ("CCA",           "#a8761c", "^", "-."),
    ("weighted CCA",  "#7a4a1e", "s", "--"),  # SOTAlign's teacher here
    ("contrastive",   "#b0644a", "v", ":"),
    ("SAIL",          "#d0483e", "X", "--"),
    ("SOTAlign",      "#7c3fa8", "o", "-"),   # started at random maps
    ("SOTAlign, started at the teacher", "#7c3fa8", "D", "--"),
]}
# fmt: on
COLOURS = {name: look["color"] for name, look in LOOK.items()}
LINE = {name: {**look, "marker": ""} for name, look in LOOK.items()}  # for curves of many points
DOTS = {name: {**look, "linestyle": ""} for name, look in LOOK.items()}  # for single points
GAIN = sns.diverging_palette(15, 245, s=85, l=42, as_cmap=True)
PIXELS_PER_INCH = 96  # at which a figure is shown; the picture itself has 1.5 times as many


def style(size="page"):
    """Set the style for all figures that follow; size 'page', or 'projector' for larger type."""
    sns.set_theme(
        context={"page": "notebook", "projector": "talk"}[size],
        style="ticks",
        rc={
            "axes.prop_cycle": plt.cycler(color=list(dict.fromkeys(COLOURS.values()))),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": "medium",
            "figure.constrained_layout.use": True,
            "figure.dpi": PIXELS_PER_INCH,
            "figure.figsize": (8, 3.6),
            "legend.frameon": False,
            "legend.handlelength": 2.8,
            "lines.linewidth": 2,
            "savefig.bbox": "tight",
            "savefig.facecolor": "white",
            "svg.fonttype": "path",
            "svg.hashsalt": "unpaired",
        },
    )


def show(figure, name, caption, out=""):
    """Show `figure` with its caption below, which is its alternative text too; close it.

    out  where the run writes its JSON; the figure goes to <out without .json>/<name>.svg, without
         a date, so that the same figure is the same file. Empty: no file
    """
    if out:
        buffer = io.BytesIO()
        metadata = {"Date": None, "Title": name, "Description": caption}
        figure.savefig(buffer, format="svg", metadata=metadata)
        write_atomically(Path(out).with_suffix("") / f"{name}.svg", buffer.getvalue())
    png, width = _png(figure)
    plt.close(figure)
    # JupyterLab shows the text in place of a folded output: it must not give the picture away
    bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": f"picture {name}"}
    display(bundle, raw=True, metadata={"image/png": {"alt": caption, "width": width}})
    display(HTML(f"<p><small><em>{escape(caption)}</em></small></p>"))


def slider(draw, **controls):
    """Show controls, and the figure draw(**values) below them, redrawn whenever one is moved.

    controls  ipywidgets, such as FloatSlider(min=0, max=90, value=45), by argument of `draw`

    The picture is a PNG in a widgets.Image. Widgets that write to ipywidgets' Output can block a
    batch run for ever (nbclient issue 312).
    """
    image = widgets.Image(format="png")

    def redraw(change=None):
        figure = draw(**{name: control.value for name, control in controls.items()})
        image.value, pixels = _png(figure)
        image.layout.width = f"{pixels}px"
        plt.close(figure)

    for name, control in controls.items():
        control.description = control.description or name.replace("_", " ")
        control.continuous_update = False
        control.observe(redraw, names="value")
    redraw()
    display(widgets.VBox([*controls.values(), image]), metadata={"tags": ["widget"]})


def ellipse(axis, centre, covariance, n_sigma=2, **line):
    """Draw where v'(theta - centre) stays within `n_sigma` standard deviations.

    centre (2,), covariance (2, 2)
    """
    turn = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    points = np.asarray(centre)[:, None] + n_sigma * np.linalg.cholesky(covariance) @ circle
    return axis.plot(*points, **line)


def _png(figure):
    """The figure as a PNG of at most 256 colours, and the width in pixels to show it at."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=1.5 * PIXELS_PER_INCH)
    picture = Image.open(buffer).convert("RGB")
    small = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue(), round(picture.width / 1.5)
