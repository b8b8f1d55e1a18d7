"""Drawings that explain: spaces, clouds, arrows, boxes and networks, in the style of the plots.

    figure, axis = canvas(7, 2.5)                      a sheet, one unit is about an inch
    box(axis, (1, 1), "encoder of X", "X")             things have the colours of lib.plots.LOOK
    arrow(axis, (2, 1), (3, 1), "A")
    cloud(axis, (4, 1), "X", covariance=[[1, 0], [0, 0.2]], size=0.2)
    network(axis, (6, 1), (4, 2, 4), "X + Y")

Every function takes the axis first, then places as (x, y), and returns nothing.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch

from lib.plots import COLOURS, LOOK


def canvas(width, height, panels=1):
    """An empty sheet of `width` by `height` inches: (figure, axis), or axes, one per panel.

    Each panel has coordinates from 0 to width / panels and from 0 to height, no frame, no ticks.
    """
    figure, axes = plt.subplots(1, panels, figsize=(width, height), squeeze=False)
    for axis in axes[0]:
        axis.set(xlim=(0, width / panels), ylim=(0, height), aspect="equal")
        axis.axis("off")
    return figure, axes[0] if panels > 1 else axes[0, 0]


def text(axis, at, words, name="theory", size=10, **style):
    """Words centred at a place, in the colour of `name`."""
    style = {"ha": "center", "va": "center", **style}
    axis.text(*at, words, color=COLOURS[name], fontsize=size, **style)


def box(axis, at, words, name="theory", width=1.3, height=0.6, size=10, fill=True):
    """A rounded box around words, its centre at `at`; fill=False leaves it white."""
    corner = (at[0] - width / 2, at[1] - height / 2)
    look = dict(boxstyle="round,pad=0,rounding_size=0.08", edgecolor=COLOURS[name], linewidth=1.6)
    face = (*plt.matplotlib.colors.to_rgb(COLOURS[name]), 0.13 if fill else 0)
    axis.add_patch(FancyBboxPatch(corner, width, height, facecolor=face, **look))
    text(axis, at, words, name, size)


def arrow(axis, start, end, words="", name="theory", bend=0.0, both=False, line="-", size=9):
    """An arrow with words beside its middle; bend > 0 curves it to the left of its way.

    both  heads at either end;  line  a matplotlib line style, ':' for what is only wished
    """
    head = dict(arrowstyle="<|-|>" if both else "-|>", mutation_scale=12, shrinkA=2, shrinkB=2)
    look = dict(color=COLOURS[name], linewidth=1.6, linestyle=line)
    curve = f"arc3,rad={-bend}"
    axis.add_patch(FancyArrowPatch(start, end, connectionstyle=curve, **head, **look))
    if words:
        way = np.subtract(end, start)
        left = np.array([-way[1], way[0]]) / np.linalg.norm(way)
        text(
            axis,
            np.add(start, way / 2) + (0.14 + bend * 0.5 * np.linalg.norm(way)) * left,
            words,
            name,
            size,
        )


def cloud(axis, at, name, n=25, size=0.35, covariance=((1, 0), (0, 1)), seed=0, words=""):
    """n points around a place with the marker of `name`, words below; returns the points (n, 2)."""
    root = np.linalg.cholesky(np.asarray(covariance, dtype=float))
    draws = np.random.default_rng(seed).standard_normal((n, 2)).clip(-2, 2)
    points = np.asarray(at) + size * draws @ root.T
    look = dict(color=COLOURS[name], marker=LOOK[name]["marker"], linestyle="", alpha=0.75)
    axis.plot(*points.T, markersize=4, **look)
    if words:
        text(axis, (at[0], at[1] - 2.4 * size), words, name, 9)
    return points


def space(axis, at, name, words="", width=1.8, height=1.3):
    """The outline of a space, an ellipse, with its name below."""
    look = dict(edgecolor=COLOURS[name], facecolor="none", linewidth=1.4, linestyle="--")
    axis.add_patch(Ellipse(at, width, height, **look))
    if words:
        text(axis, (at[0], at[1] - height / 2 - 0.15), words, name, 9)


def network(axis, at, widths, name="theory", gap=0.55, spread=0.22):
    """A small network: a column of dots per layer, lines between, its centre at `at`."""
    left = at[0] - gap * (len(widths) - 1) / 2
    layers = [
        [(left + gap * k, at[1] + spread * (i - (n - 1) / 2)) for i in range(n)]
        for k, n in enumerate(widths)
    ]
    for before, after in zip(layers, layers[1:]):
        for start in before:
            for end in after:
                axis.plot(*zip(start, end), color=COLOURS[name], linewidth=0.6, alpha=0.5, zorder=1)
    for layer in layers:
        axis.plot(*zip(*layer), "o", color=COLOURS[name], markersize=6, zorder=2)
