"""Looks that can be told apart, pictures with captions, sliders that redraw."""

import base64
import io

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.display import HTML
from PIL import Image

from lib import drawings, plots


def luminance(colour):
    rgb = np.array(plt.matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("name", plots.LOOK)
def test_every_colour_has_a_contrast_of_three_to_one_on_white(name):
    assert 1.05 / (luminance(plots.COLOURS[name]) + 0.05) >= 3


def test_no_two_looks_are_alike_and_grey_is_lighter_than_green():
    looks = [tuple(look.values()) for look in plots.LOOK.values()]
    assert len(set(looks)) == len(looks)
    green, grey = (luminance(plots.COLOURS[name]) + 0.05 for name in ("X + Y", "control"))
    assert grey / green > 1.4  # apart where red and green are not
    together = ("X", "Y", "X + Y", "control", "noise")  # in one picture, without markers
    assert len({str(plots.LINE[name]["linestyle"]) for name in together}) == len(together)


def test_a_gain_is_blue_and_a_loss_red():
    loss, gain = plots.GAIN(0.0)[:3], plots.GAIN(1.0)[:3]
    assert gain[2] > gain[0] and loss[0] > loss[2]
    assert min(plots.GAIN(0.5)[:3]) > 0.9


@pytest.fixture
def shown(monkeypatch):
    seen = []
    monkeypatch.setattr(plots, "display", lambda *what, **how: seen.append((what, how)))
    return seen


def figure(y=1.0):
    fig, axis = plt.subplots()
    axis.plot([0, 1], [0, y])
    return fig


def test_a_figure_is_shown_with_its_caption_and_closed(shown):
    plots.show(figure(), "00_line", "A line that <rises>.")
    (picture,), how = shown[0]
    png = Image.open(io.BytesIO(base64.b64decode(picture["image/png"])))
    alt, width = how["metadata"]["image/png"]["alt"], how["metadata"]["image/png"]["width"]
    assert alt == "A line that <rises>."
    assert picture["text/plain"] == "picture 00_line"  # shown in place of a folded output
    assert png.width == pytest.approx(1.5 * width, abs=2)
    (caption,), _ = shown[1]
    assert isinstance(caption, HTML) and "A line that &lt;rises&gt;." in caption.data
    assert plt.get_fignums() == []


def test_the_file_beside_the_record_is_the_same_every_time(shown, tmp_path):
    for folder in ("a", "b"):
        plots.style()
        plots.show(figure(), "00_line", "A line.", str(tmp_path / folder / "seed0.json"))
    one, other = (tmp_path / f / "seed0" / "00_line.svg" for f in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()
    assert b"A line." in one.read_bytes()


def test_a_slider_redraws_an_image(shown):
    slider = widgets.FloatSlider(min=0, max=5, value=1)
    log = widgets.FloatLogSlider(base=2, min=-2, max=2, value=1)
    drawn = []

    def draw(height, log_scale):
        drawn.append((height, log_scale))
        return figure(height)

    plots.slider(draw, height=slider, log_scale=log)
    (box,), how = shown[0]
    assert how["metadata"] == {"tags": ["widget"]}
    image = box.children[-1]
    assert isinstance(image, widgets.Image) and slider.description == "height"
    assert log.description == "log scale" and slider.continuous_update is False
    before = image.value
    slider.value = 3
    assert image.value != before
    log.value = 2
    assert drawn == [(1, 1), (3, 1), (3, 2)]
    assert plt.get_fignums() == []


def test_an_ellipse_has_its_standard_deviations():
    fig, axis = plt.subplots()
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    (line,) = plots.ellipse(axis, (1, 2), covariance, n_sigma=3)
    off = np.array(line.get_data()) - np.array([[1], [2]])
    distance = (off * np.linalg.solve(covariance, off)).sum(0)
    np.testing.assert_allclose(distance, 9)
    plt.close(fig)


def test_drawings_stay_on_their_sheet():
    fig, axis = drawings.canvas(6, 3)
    drawings.box(axis, (1, 1.5), "box", "X")
    drawings.arrow(axis, (1.7, 1.5), (3, 1.5), "words", "Y", bend=0.2)
    points = drawings.cloud(axis, (4, 1.5), "Z", n=30, covariance=[[1, 0.5], [0.5, 1]])
    drawings.network(axis, (5.2, 1.5), (2, 3, 2))
    drawings.text(axis, (3, 0.4), "text")
    assert points.shape == (30, 2)
    assert axis.get_xlim() == (0, 6) and axis.get_ylim() == (0, 3)
    assert not axis.axison
    _, panels = drawings.canvas(6, 2, panels=3)
    assert len(panels) == 3 and panels[0].get_xlim() == (0, 2)
    plt.close("all")
