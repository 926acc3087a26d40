"""A token of a value that changes when the variable is bound anew or the value has visibly changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from claude_nb.kernel.look.kinds import know
from claude_nb.kernel.look.real import is_a, name_of
from claude_nb.kernel.look.sizes import str_only

# Longer texts are told by their ends; of more columns only the number is looked at.
SHORT = 200

# Numbers up to so many bits are their own token.
BITS = 256

Fingerprint = tuple[Any, ...]

CONSTANTS = {id(cls) for cls in (type(None), bool, type(...), type(NotImplemented))}


def fingerprint(value: Any) -> Fingerprint:
    """A token of plain numbers and strings. Costs microseconds, whatever the value's size."""
    cls = type(value)
    maker = SIMPLE.get(id(cls))
    try:
        if maker is not None:
            return (name_of(cls), *maker(value))
        return (id(value), name_of(cls), *size_token(value))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of polars is no Exception
        return (id(value), name_of(cls))


def size_token(value: Any) -> Fingerprint:
    """What tells a change in place, of the kinds that can be changed."""
    known = know(value)
    if known.kind == "pandas frame" and known.value is not value:
        return labelled_frame(known.value)
    maker = SIZED.get(known.kind)
    return maker(known.value) if maker is not None else ()


def whole_number(value: int) -> Fingerprint:
    """An int; a very long one by its object."""
    return (value,) if value.bit_length() <= BITS else (id(value), value.bit_length())


def text(value: str | bytes) -> Fingerprint:
    """A short text itself; of a long one the object, the length and the ends."""
    return (value,) if len(value) <= SHORT else (id(value), len(value), value[:20], value[-20:])


def sequence(value: Any) -> Fingerprint:
    """Length, and which objects stand at the ends."""
    length = len(value)
    return (id(value), length, id(value[0]), id(value[-1])) if length else (id(value), 0)


def container(value: Any) -> Fingerprint:
    """The length, by Python's own method."""
    base = next(base for base in (dict, list, tuple, set, frozenset) if is_a(value, base))
    return (base.__len__(value),)


def array(value: Any) -> Fingerprint:
    """Shape, type, and the values at the ends."""
    ends = (repr(value.item(0)), repr(value.item(-1))) if value.size and value.dtype.kind in "biuf" else ()
    return (value.shape, value.dtype.num, *ends)


def pandas_frame(value: Any) -> Fingerprint:
    """Shape and columns: an Index of pandas never changes, so its identity is enough; so are the types."""
    return (value.shape, id(value.columns), id(value.index))


def labelled_frame(value: Any) -> Fingerprint:
    """Shape and the names of the columns, where the Index is a new one each time."""
    return (value.shape, *map(str_only, value.columns[:SHORT].tolist()))


def polars_frame(value: Any) -> Fingerprint:
    """Shape and columns."""
    return (value.shape, *(value.columns if value.width <= SHORT else ()))


SIMPLE: dict[int, Callable[[Any], Fingerprint]] = {
    **{kind: lambda value: (repr(value),) for kind in CONSTANTS},
    id(int): whole_number,
    # A NaN does not equal itself.
    **{id(cls): lambda value: (repr(value),) for cls in (float, complex)},
    **{id(cls): text for cls in (str, bytes)},
    **{id(cls): sequence for cls in (list, tuple)},
    id(bytearray): lambda value: (id(value), len(value)),
}

SIZED: dict[str, Callable[[Any], Fingerprint]] = {
    **dict.fromkeys(("dict", "list", "tuple", "set"), container),
    "array": array,
    "pandas frame": pandas_frame,
    "pandas series": lambda series: (len(series), id(series.index)),
    "polars frame": polars_frame,
    "polars series": lambda series: (series.len(), series.name),
    "tensor": lambda tensor: (tuple(tensor.shape), str(tensor.dtype), tensor._version),
    "xarray dataset": lambda data: (len(data.variables),),
}
