"""Figures and images of the user's as PNG, bounded in size, and the figures that pyplot holds open.

Drawing a figure runs what its artists do when they are drawn; that is what the user asked to see. `drawing`
knows when that does no harm.
"""

from __future__ import annotations

import importlib
import io
import struct
from typing import Any

from claude_nb.kernel.look.kinds import know
from claude_nb.kernel.look.real import attribute, class_contents, is_a, is_from, library

# The longest side in pixels, and the largest file, that are worth sending.
PIXELS = 2000
LARGEST = 5_000_000

# A picture that is larger than this is not even unpacked.
UNPACKED_PIXELS = 50_000_000

# How far drawn things may stand outside of a figure and still be shown, as a multiple of its size.
OUTSIDE = 3.0
PADDING = 0.1

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# What Pillow writes as PNG without losing anything a reader would miss.
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


def picture_of(value: Any) -> bytes | None:
    """The PNG of a figure or axes of matplotlib, an image of Pillow or of IPython; None for anything else."""
    try:
        png = drawn(value)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # whatever an artist of the user's may raise
        return None
    return png if png is not None and len(png) <= LARGEST else None


def open_figures() -> list[tuple[str, Any]]:
    """The figures that pyplot holds, as `Figure 1`, by number; none where pyplot is not imported."""
    if library("matplotlib.pyplot", "get_fignums") is None:
        return []
    # pyplot's public functions would make the figure that is asked for the current one.
    holder = library("matplotlib._pylab_helpers", "Gcf")
    managers = dict(class_contents(holder).get("figs", {})) if holder is not None else {}
    return [(f"Figure {number}", manager.canvas.figure) for number, manager in sorted(managers.items())]


def is_drawn(value: Any) -> bool:
    """Whether its picture comes from a library that must not be used by two threads at a time."""
    try:
        return know(value).kind in ("figure", "axes", "picture")
    except Exception:
        return False


def whole_of(value: Any) -> Any:
    """The figure that axes or a part of a figure stand in, as it is displayed; any other value itself."""
    found = value.get_figure() if know(value).kind == "axes" else value
    while is_from(type(found), "matplotlib") and attribute(found, "_parent") is not None:
        found = attribute(found, "_parent")
    return found


def drawn(value: Any) -> bytes | None:
    """The value as PNG, whatever its size as a file."""
    known = know(value)
    if known.kind == "figure":
        return figure_png(value)
    if known.kind == "axes":
        return figure_png(whole_of(value))
    if known.kind == "picture":
        return image_png(value)
    return displayed_png(value)


def figure_png(figure: Any) -> bytes | None:
    """A figure as the notebook shows it: with what stands a little outside, at most `PIXELS` on a side."""
    figure = whole_of(figure)
    if know(figure).kind != "figure":
        return None
    png = saved(figure, PIXELS)
    return png if len(png) <= LARGEST else saved(figure, PIXELS // 3)


def saved(figure: Any, pixels: int) -> bytes:
    """The PNG of a figure, drawn by a canvas of its own."""
    box = shown_part(figure)
    dpi = min(figure.dpi, (pixels - 2) / max(box.width, box.height, *figure.get_size_inches()))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", backend="agg", dpi=dpi, bbox_inches=box)
    return buffer.getvalue()


def shown_part(figure: Any) -> Any:
    """All that is drawn, in inches, or the figure itself if something stands far away."""
    # The figure's own way to measure would draw it first, however large it is.
    measuring = importlib.import_module("matplotlib.backends.backend_agg").RendererAgg(8, 8, figure.dpi)
    box, limits = figure.get_tightbbox(measuring).padded(PADDING), figure.get_size_inches() * OUTSIDE
    fits = 0 < box.width <= limits[0] and 0 < box.height <= limits[1]
    return box if fits else figure.bbox_inches


def image_png(image: Any) -> bytes | None:
    """A copy of an image, made smaller if it is large."""
    width, height = image.size
    if not 0 < width * height <= UNPACKED_PIXELS:
        return None
    copy = image.copy()
    if copy.mode not in MODES:
        copy = copy.convert("RGB")
    png = thumbnail(copy, PIXELS)
    return png if len(png) <= LARGEST else thumbnail(copy, PIXELS // 3)


def thumbnail(image: Any, pixels: int) -> bytes:
    """The PNG of an image, which is made smaller for that."""
    image.thumbnail((pixels, pixels))
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    return buffer.getvalue()


def displayed_png(value: Any) -> bytes | None:
    """The data of an `IPython.display.Image`, if that is a PNG of moderate size."""
    shown = library("IPython.core.display", "Image")
    if shown is None or not is_a(value, shown):
        return None
    data = attribute(value, "data")
    if type(data) is not bytes or not data.startswith(SIGNATURE) or len(data) < 24:
        return None
    return data if max(struct.unpack(">II", data[16:24])) <= PIXELS else smaller(data)


def smaller(data: bytes) -> bytes | None:
    """A PNG that is too large, made smaller if Pillow is there to do it."""
    opened = library("PIL.Image", "open")
    return image_png(opened(io.BytesIO(data))) if opened is not None else None
