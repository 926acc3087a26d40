"""The last gate before a page: only these tags, attributes, classes and addresses leave it.

What comes here was written by us and is escaped already. It is parsed all the same, as a browser does, and
written anew, so that a slip of ours shows as missing layout and not as a script.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from claude_nb.render.html_code import token_classes

if TYPE_CHECKING:
    import nh3

_TAGS = """
    p h1 h2 h3 h4 h5 h6 em strong s code pre span a ul ol li blockquote table thead tbody tr th td hr br div
    details summary b i small sub sup kbd u del ins mark
"""
_MATH_TAGS = """
    math mrow mi mo mn mtext mspace ms mfrac msqrt mroot mstyle mpadded mphantom msub msup msubsup
    munder mover munderover mmultiscripts mprescripts none mtable mtr mtd
"""
_CLASSES = {
    "div": {"cnb-code", "cnb-math", "cnb-table", "cnb-text", "cnb-notice", "cnb-note"}
    | {f"cnb-{kind}" for kind in ("info", "warning", "error", "interrupted")},
    "details": {"cnb-tool", "cnb-thinking", "cnb-turn"},
    "span": {"cnb-task", "cnb-image", "cnb-add", "cnb-del", "cnb-symbol"},
    "code": {"cnb-tex", "cnb-address", "cnb-subject"},
    "th": {"cnb-left", "cnb-right", "cnb-center"},
    "td": {"cnb-left", "cnb-right", "cnb-center"},
}
_BOOLEAN = {"true", "false"}
# What the converter writes for `\\,`, `\\quad` and the like; any width could push the page away.
_SPACES = {"-0.167em", "0.167em", "0.222em", "0.278em", "0.333em", "0.5em", "1em", "2em"}
_SIZES = {"1.2em", "1.623em", "2.047em", "2.470em", "3em"}
_ALIGNED = {"left", "right", "center", "left right", "right left"}
_DIRECTED = """
    p h1 h2 h3 h4 h5 h6 ul ol li blockquote table th td summary div code
"""
_DIRECTIONS = {"dir": {"ltr", "rtl"}}
_VALUES: dict[str, dict[str, set[str]]] = {
    **dict.fromkeys(_DIRECTED.split(), _DIRECTIONS),
    "details": {
        **_DIRECTIONS,
        "open": {""},
        "data-state": {"running", "ok", "failed", "refused", "interrupted"},
    },
    "math": {"display": {"inline", "block"}},
    "mi": {"mathvariant": {"normal", "bold", "italic", "bold-italic", "double-struck", "script", "fraktur"}},
    "mo": {
        "stretchy": _BOOLEAN,
        "fence": _BOOLEAN,
        "separator": _BOOLEAN,
        "movablelimits": _BOOLEAN,
        "largeop": _BOOLEAN,
        "form": {"prefix", "infix", "postfix"},
        "minsize": _SIZES,
        "maxsize": _SIZES,
    },
    "mspace": {"width": _SPACES},
    "mover": {"accent": _BOOLEAN},
    "munder": {"accentunder": _BOOLEAN},
    "munderover": {"accent": _BOOLEAN, "accentunder": _BOOLEAN},
    "mfrac": {"linethickness": {"0", "0px"}},
    "mstyle": {"displaystyle": _BOOLEAN, "scriptlevel": {"0", "1", "2"}},
    "mtable": {"columnalign": _ALIGNED, "displaystyle": _BOOLEAN},
    "mtd": {"columnalign": _ALIGNED},
}
# Without "*" the library would allow `lang` and `title` everywhere.
_ATTRIBUTES: dict[str, set[str]] = {"*": set(), "a": {"href"}, "ol": {"start"}, "div": {"data-language"}}
_SCHEMES = {"http", "https", "mailto"}


@cache
def _cleaner() -> nh3.Cleaner:
    import nh3

    return nh3.Cleaner(
        tags={*_TAGS.split(), *_MATH_TAGS.split()},
        clean_content_tags={"script", "style"},
        attributes=_ATTRIBUTES,
        tag_attribute_values=_VALUES,
        allowed_classes={**_CLASSES, "span": _CLASSES["span"] | token_classes()},
        set_tag_attribute_values={"a": {"target": "_blank"}},
        link_rel="noopener noreferrer nofollow",
        url_schemes=_SCHEMES,
        url_relative="deny",
    )


def clean(html: str) -> str:
    """`html` with nothing in it but what is allowed."""
    return _cleaner().clean(html)
