"""Characters that nobody sees: which of them a script needs where they stand, so that they may stay.

Persian words are held apart by non-joiners, many Indian letters come of joiners, emoji are put together by
them, and flags of regions are spelled by tags. A mark of direction beside Hebrew or Arabic letters sets the
full stop in its place, and a soft hyphen inside a word is one more way to break it. Anywhere else such
characters only hide that two texts differ, so there they are shown as what they are.
"""

from __future__ import annotations

import re
import unicodedata

HIDDEN = re.compile(
    r"\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"  # the flag of a region
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_JOINERS, _MARKS = "\u200c\u200d", "\u200e\u200f\u061c"
# Scripts whose letters change their form by a joiner: Arabic and its kin, those of India, Mongolian ...
_JOINING = re.compile("[\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefe]")
_WITHOUT_BLANKS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # Thai, Lao, Burmese, Khmer
_MONGOLIAN = re.compile("[\u1820-\u18aa]")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_NEAR = 4  # characters, such as a full stop and a blank, between a mark of direction and its letter


def is_needed(found: re.Match[str], *, prose: bool) -> bool:
    """Whether a match of `HIDDEN` may stay. `prose`: in a text to be read, not in code or a name."""
    char = found[0]
    if len(char) > 1:  # the flag
        return True
    before, after = found.string[: found.start()][-1:], found.string[found.end() : found.end() + 1]
    if char in _JOINERS:
        return bool(_JOINING.match(before)) or (char == "\u200d" and _is_emoji(before) and _is_emoji(after))
    if "\U000e0100" <= char <= "\U000e01ef":
        return bool(_HAN.match(before))
    if "\u180b" <= char <= "\u180f":
        return bool(_MONGOLIAN.match(before))
    if not prose:
        return False
    if char == "\u00ad":
        return before.isalpha() and after.isalpha()
    if char == "\u200b":
        return bool(_WITHOUT_BLANKS.match(before) and _WITHOUT_BLANKS.match(after))
    return char in _MARKS and _beside_right_to_left(found)


def _is_emoji(char: str) -> bool:
    """A picture, its colour of skin, or what makes a sign one."""
    return char != "" and (char == "\ufe0f" or unicodedata.category(char) in ("So", "Sk"))


def _beside_right_to_left(found: re.Match[str]) -> bool:
    """On one side of it the nearest letter is Hebrew, Arabic or of a kindred script."""
    before = found.string[max(0, found.start() - _NEAR) : found.start()]
    after = found.string[found.end() : found.end() + _NEAR]
    return _begins_right_to_left(before[::-1]) or _begins_right_to_left(after)


def _begins_right_to_left(text: str) -> bool:
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind in ("L", "R", "AL") and char not in _MARKS:
            return kind != "L"
    return False
