"""Figures and images as PNG, bounded. Pure, real libraries."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from PIL import Image

from claude_nb.kernel.pictures import LARGEST, PIXELS, open_figures, picture_of

pytestmark = pytest.mark.pure


def size_of(png: bytes | None) -> tuple[int, int]:
    """Width and height of a PNG, which has to be whole."""
    assert png is not None
    assert len(png) <= LARGEST
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image.size


def drawing(**options: Any) -> Figure:
    figure = Figure(**options)
    figure.subplots().plot([1, 2, 4], label="growth")
    return figure


@pytest.fixture
def pyplot() -> Iterator[Any]:
    mpl.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_a_figure_becomes_a_png_and_stays_as_it_was() -> None:
    figure = drawing()
    before = (figure.dpi, figure.canvas, tuple(figure.get_size_inches()))
    width, height = size_of(picture_of(figure))
    assert 400 < width < 800
    assert 300 < height < 600
    assert (figure.dpi, figure.canvas, tuple(figure.get_size_inches())) == before


def test_axes_stand_for_their_figure() -> None:
    figure = drawing()
    assert size_of(picture_of(figure.axes[0])) == size_of(picture_of(figure))
    inner = Figure().subfigures(1, 2)[0].subplots()
    assert size_of(picture_of(inner))[0] > 300


def test_a_legend_beside_the_axes_is_in_the_picture() -> None:
    figure = drawing()
    plain, _ = size_of(picture_of(figure))
    figure.axes[0].legend(bbox_to_anchor=(1.5, 1))
    assert size_of(picture_of(figure))[0] > plain


@pytest.mark.parametrize("options", [{"figsize": (300, 2)}, {"dpi": 5000}, {"figsize": (60, 60), "dpi": 300}])
def test_a_huge_figure_is_drawn_small(options: Any) -> None:
    assert max(size_of(picture_of(drawing(**options)))) <= PIXELS


def test_what_stands_far_away_does_not_make_the_picture_huge() -> None:
    figure = drawing()
    figure.text(90, 90, "far away")
    assert max(size_of(picture_of(figure))) <= 700


def test_a_figure_that_cannot_be_drawn_is_none() -> None:
    class Broken(Artist):
        def draw(self, renderer: Any) -> None:
            raise RuntimeError

    figure = drawing()
    figure.add_artist(Broken())
    assert picture_of(figure) is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK", "F", "I;16", "HSV", "YCbCr"])
def test_images_of_pillow_become_pngs(mode: str) -> None:
    image = Image.new(mode, (30, 20))
    assert size_of(picture_of(image)) == (30, 20)
    assert image.mode == mode


def test_a_large_image_is_made_smaller_and_an_enormous_one_is_left() -> None:
    image = Image.new("L", (5000, 100))
    assert size_of(picture_of(image)) == (PIXELS, 40)
    assert image.size == (5000, 100)
    assert picture_of(Image.new("1", (10_000, 10_000))) is None


def test_an_image_of_a_file_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "small.jpg")
    with Image.open(tmp_path / "small.jpg") as image:
        assert size_of(picture_of(image)) == (30, 20)


def test_noise_that_does_not_compress_is_still_below_the_bound() -> None:
    noise = Image.effect_noise((2000, 2000), 100).convert("RGB")
    mixed = Image.merge("RGB", [Image.effect_noise((2000, 2000), 90) for _ in range(3)])
    for image in (noise, mixed):
        assert max(size_of(picture_of(image))) > 300


def test_what_ipython_displays_is_taken_as_it_is() -> None:
    from IPython.display import Image as Displayed

    png = picture_of(Image.new("RGB", (30, 20)))
    assert picture_of(Displayed(data=png)) == png
    assert picture_of(Displayed(url="http://localhost/picture.png")) is None
    large = io.BytesIO()
    Image.new("L", (9000, 90)).save(large, "png")
    assert size_of(picture_of(Displayed(data=large.getvalue()))) == (PIXELS, 20)


def test_anything_else_has_no_picture() -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError("was run")

    for value in (None, 1, "text", b"\x89PNG\r\n\x1a\n", [], Hostile()):
        assert picture_of(value) is None


def test_the_figures_that_pyplot_holds_are_found(pyplot: Any) -> None:
    assert open_figures() == []
    second, first = pyplot.figure(2), pyplot.figure(1)
    pyplot.figure(2)
    assert open_figures() == [("Figure 1", first), ("Figure 2", second)]
    assert pyplot.gcf() is second
