"""Which address a link may have, and how it is written.

Allowed are `http`, `https`, `mailto`, a fragment, and a plain relative path (`src/model.py#L12`), which a
front end opens as a file. All else (`javascript:`, `data:`, `file:`, `//host`, `/logout`) is not a link.
"""

from __future__ import annotations

import re

from claude_nb.render.escape import inline_code

_REMOTE = re.compile(r"(?:https?://[^\s/?#]|mailto:[^\s/])", re.IGNORECASE)
_RELATIVE = re.compile(r"(?!/)[\w.,+=@~/-]*(?:#[\w.,:=-]*)?", re.ASCII)
_KEPT = re.compile(r"[^A-Za-z0-9\-._~:/?#@!&+,;=%]")
_ENTITY = re.compile(r"&(?=#?\w+;)")
BARE = re.compile(r"https?://[^\s<>\"'`\\^{|}\u27e6\u27e7]+", re.IGNORECASE)
_TRAILING = "?!.,:*_~;'\"&]"
_SHOWN = 300  # characters of an address that is not a link


def address(href: str, *, inside: bool = False) -> str | None:
    """`href` as it may stand in `(...)` and `<...>`, or None if it may not. `inside`: within emphasis."""
    href = _KEPT.sub(_percent, href.strip()).replace("@@", "@%40").replace("&amp;", "&")
    if not (_REMOTE.match(href) or (href and _RELATIVE.fullmatch(href))):
        return None
    if inside:
        href = href.replace("_", "%5F").replace("~", "%7E")
    return _ENTITY.sub("%26", href)  # some decode entities once, some twice


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace"))


def is_remote(href: str) -> bool:
    return _REMOTE.match(href) is not None


def bare_end(url: str) -> int:
    """How much of what looks like an address belongs to it, as GitHub counts: no trailing punctuation, and a
    closing parenthesis only with its opening one."""
    end = len(url)
    unpaired = url.count(")") - url.count("(")
    while end and (url[end - 1] in _TRAILING or (url[end - 1] == ")" and unpaired > 0)):
        unpaired -= url[end - 1] == ")"
        end -= 1
    return end


def shown(href: str) -> str:
    """An address that is not linked, as code."""
    return inline_code(href if len(href) <= _SHOWN else href[:_SHOWN] + "\u2026", inside=True)
