"""The pictures as which values were displayed last."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import Any

_KEPT = 20


class ShownPictures:
    """Remembers the last of them by their values, none of which it keeps alive."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[int, tuple[weakref.ref[Any], bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, value: Any, png: bytes) -> None:
        """The value was displayed as this picture."""
        with self._lock:
            self._pictures[id(value)] = (weakref.ref(value), png)
            self._pictures.move_to_end(id(value))
            while len(self._pictures) > _KEPT:
                self._pictures.popitem(last=False)

    def of(self, value: Any) -> bytes | None:
        """How the value was displayed last."""
        with self._lock:
            held, png = self._pictures.get(id(value), (None, None))
        return png if held is not None and held() is value else None
