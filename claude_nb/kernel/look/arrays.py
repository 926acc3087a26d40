"""Arrays and tensors: shape, type, range and some values. Of a large one a sample is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from claude_nb.kernel.look.briefly import brief
from claude_nb.kernel.look.real import attribute, attributes_of, is_a, library, name_of
from claude_nb.kernel.look.sizes import memory_of, size_of
from claude_nb.kernel.look.text import count, memory

# Larger arrays are sampled, by so many blocks of neighbours; of values that lie far apart in memory each may
# cost reading from a disk, so the blocks are shorter.
WHOLE = 200_000
BLOCKS = 16
BLOCK = 4096
SPARSE_BLOCK = 256
NEIGHBOURS = 64

# How many single values are shown, and how many modules of a network are walked through.
VALUES = 12
MODULES = 20_000


def sample(array: Any) -> Any:
    """All values of a small ndarray in one dimension, or some from all over a large one."""
    if array.size <= WHOLE:
        return array.ravel()
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    flat = array.transpose(order).flat
    block = BLOCK if abs(array.strides[order[-1]]) <= NEIGHBOURS else SPARSE_BLOCK
    step = (array.size - block) // (BLOCKS - 1)
    return library("numpy", "concatenate")([flat[i * step : i * step + block] for i in range(BLOCKS)])


def statistics(values: Any) -> dict[str, str]:
    """Smallest, largest, mean and missing of a one-dimensional array of numbers, truth values or times."""
    kind = values.dtype.kind
    found: dict[str, str] = {}
    if kind in "fcmM":
        missing = library("numpy", "isnat" if kind in "mM" else "isnan")(values)
        if missing.any():
            found["nan"] = f"{int(missing.sum()):,}"
            values = values[~missing]
    if kind not in "biufmM" or not values.size:
        return found
    if kind == "b":
        return {"true": f"{int(values.sum()):,}", **found}
    with library("numpy", "errstate")(all="ignore"):
        found = {"min": number(values.min()), "max": number(values.max()), **found}
        if kind in "iuf":
            found["mean"] = number(values.mean(dtype="float64"))
    return found


def number(value: Any) -> str:
    """A number of numpy's with six digits; a time as it is."""
    return f"{float(value):.6g}" if value.dtype.kind == "f" else str(value)


def describe_array(array: Any, original: Any) -> list[str]:
    """Shape, type, memory, range and the first values of an ndarray."""
    lines = [f"shape: {tuple(array.shape)}, dtype: {str(array.dtype)[:300]}, memory: {memory(array.nbytes)}"]
    if "MaskedArray" in name_of(type(original)):
        lines += ["masked: the values below are shown without the mask"]
    if not array.size:
        return lines
    if array.dtype.kind in "biufcmM":
        lines += [range_line(array)]
    return [*lines, f"values:{values_text(array)}"]


def range_line(array: Any) -> str:
    """The statistics as a line that says of how many values they are."""
    values = sample(array)
    told = ", ".join(f"{name} {value}" for name, value in statistics(values).items())
    sampled = f" (of a sample of {values.size:,} values)" if values.size < array.size else ""
    return f"range: {told or 'none'}{sampled}"


def values_text(array: Any) -> str:
    """The first values; a small matrix in rows."""
    if array.ndim == 2 and array.shape[0] <= VALUES and array.shape[1] <= VALUES:
        return "".join(f"\n  {', '.join(map(element, row))}" for row in rows_of(array))
    first = [element(value) for value in array.flat[:VALUES]]
    return " " + ", ".join(first) + ", ..." * (int(array.size) > VALUES)


def rows_of(array: Any) -> Sequence[Any]:
    """The rows of a small matrix."""
    return [array[i].flat[:] for i in range(array.shape[0])]


def element(value: Any) -> str:
    """One value of an array."""
    if is_a(value, library("numpy", "floating")):
        return f"{float(value):.6g}"
    return str(brief(value)[:60])


def describe_tensor(tensor: Any) -> list[str]:
    """Shape, type, device; values only if they are in main memory, so that no device is waited for."""
    line = f"shape: {tuple(tensor.shape)}, dtype: {tensor.dtype}, device: {tensor.device}"
    lines = [f"{line}, requires_grad: {tensor.requires_grad}, memory: {memory(memory_of(tensor))}"]
    values = values_on_cpu(tensor)
    return lines if values is None or not values.size else [*lines, *describe_array(values, values)[1:]]


def values_on_cpu(tensor: Any) -> Any:
    """A tensor's memory as an ndarray, without a copy; None where there is no such thing."""
    plain = tensor.device.type == "cpu" and tensor.layout is library("torch", "strided")
    if not plain or library("numpy", "ndarray") is None or tensor.is_quantized:
        return None
    try:
        return tensor.detach().numpy()
    except (TypeError, RuntimeError):  # types that numpy has not, such as bfloat16
        return None


def describe_network(network: Any) -> list[str]:
    """How many parameters a module of torch has, and its first children."""
    parameters = {id(held): held for part in parts_of(network) for held in own_parameters(part)}
    total = sum(held.numel() for held in parameters.values())
    trained = sum(held.numel() for held in parameters.values() if held.requires_grad)
    devices = sorted({str(held.device) for held in parameters.values()})
    lines = [
        f"{count(total, 'parameter')}, {trained:,} of them trainable; on {', '.join(devices) or 'no device'}"
    ]
    children = children_of(network)
    return lines + [f"  ({name}): {name_of(type(child))} {size_of(child)}" for name, child in children[:30]]


def parts_of(network: Any) -> list[Any]:
    """The module and all those in it, once each."""
    found = {id(network): network}
    pending = [network]
    while pending and len(found) < MODULES:
        for _, child in children_of(pending.pop()):
            if id(child) not in found:
                found[id(child)] = child
                pending.append(child)
    return list(found.values())


def children_of(network: Any) -> list[tuple[str, Any]]:
    """The modules in a module, as its own dictionary holds them."""
    held = attribute(network, "_modules")
    children = list(dict.items(held)) if is_a(held, dict) else []
    return [(str(name), child) for name, child in children if type(name) is str and attributes_of(child)]


def own_parameters(network: Any) -> list[Any]:
    """The parameters of a module itself, of torch's own class."""
    held = attribute(network, "_parameters")
    known = library("torch.nn", "Parameter"), library("torch", "Tensor")
    parameters = list(dict.values(held)) if is_a(held, dict) else []
    return [value for value in parameters if any(type(value) is cls for cls in known)]
