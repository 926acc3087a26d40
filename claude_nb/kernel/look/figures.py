"""matplotlib's figures in words: their axes, titles and what is drawn."""

from __future__ import annotations

from typing import Any

from claude_nb.kernel.look.real import attribute, is_from, name_of
from claude_nb.kernel.look.text import one_line

# How many axes, and how many labels of each, are told about.
SHOWN = 20
LABELS = 10

# The limits of axes without data are infinite.
LARGEST = 1e300

DRAWN = ("lines", "patches", "collections", "images", "texts")


def describe_figure(figure: Any) -> list[str]:
    """Size, title and axes."""
    width, height = figure.get_size_inches()
    axes = list(figure.axes)
    lines = [f"{width:g} x {height:g} inches at {figure.dpi:g} dpi, axes: {len(axes)}"]
    title = figure.get_suptitle()
    lines += [f"title: {one_line(title, 200)}"] if title else []
    return [*lines, *(line for part in axes[:SHOWN] for line in describe_axes(part))]


def describe_axes(axes: Any) -> list[str]:
    """Titles, limits, legend, and how many things of what sort are drawn."""
    if not any(is_from(type(axes), package) for package in ("matplotlib", "mpl_toolkits")):
        return [f"{name_of(type(axes))}"]
    texts = {"title": axes.get_title(), "x": axes.get_xlabel(), "y": axes.get_ylabel()}
    told = [f"{name} {one_line(text, 100)!r}" for name, text in texts.items() if text]
    drawn = [f"{name}: {len(getattr(axes, name))}" for name in DRAWN if len(getattr(axes, name))]
    lines = [f"- {name_of(type(axes))}: {', '.join([*told, *drawn]) or 'empty'}"]
    lines += _limits(axes)
    labels = [str(line.get_label()) for line in list(axes.lines)[:LABELS]]
    shown = [one_line(label, 60) for label in labels if not label.startswith("_")]
    return [*lines, *([f"  lines: {', '.join(shown)}"] if shown else [])]


def _limits(axes: Any) -> list[str]:
    """From where to where the axes go; before that is settled, which reading them would do, the data does."""
    view = attribute(axes, "xy_viewLim") or attribute(axes, "_viewLim")
    stale = attribute(axes, "_stale_viewlims")
    settled = view is not None and type(stale) is dict and not any(stale.values())
    box = view if settled else attribute(axes, "xy_dataLim") or attribute(axes, "dataLim")
    if box is None:
        return []
    x, y = box.intervalx, box.intervaly
    if not all(-LARGEST < bound < LARGEST for bound in (*x, *y)):
        return []
    what = "" if settled else "data: "
    return [f"  {what}x from {x[0]:.6g} to {x[1]:.6g}, y from {y[0]:.6g} to {y[1]:.6g}"]
