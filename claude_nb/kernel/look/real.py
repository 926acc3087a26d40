"""What a value really is, whatever its class says: read from the type itself, without running its code.

A class can define `__class__`, `__getattribute__` or `__dict__`, and its metaclass `__name__`, `__mro__`,
`__eq__` or `__hash__`. So everything is read through the descriptors of `type`, and types are compared by
identity.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

_NAME = type.__dict__["__name__"]
_QUALNAME = type.__dict__["__qualname__"]
_MODULE = type.__dict__["__module__"]
_BASES = type.__dict__["__mro__"]
_DICT = type.__dict__["__dict__"]
_MODULE_DICT: Any = vars(ModuleType)["__dict__"]


def name_of(cls: type) -> str:
    """The class's name."""
    return str(_NAME.__get__(cls))


def qualname_of(cls: type) -> str:
    """The class's name with those of the classes and functions that it stands in."""
    return str(_QUALNAME.__get__(cls))


def module_of(cls: type) -> str:
    """The name of the module that the class says it is from, or an empty string."""
    try:
        module = _MODULE.__get__(cls)
    except AttributeError:
        return ""
    return module if type(module) is str else ""


def bases_of(cls: type) -> tuple[type, ...]:
    """The class and all its bases, nearest first."""
    bases: tuple[type, ...] = _BASES.__get__(cls)
    return bases


def class_contents(cls: type) -> Mapping[str, Any]:
    """What stands in the class itself."""
    contents: Mapping[str, Any] = _DICT.__get__(cls)
    return contents


def is_a(value: Any, cls: type) -> bool:
    """Whether the value's type is `cls` or derived from it, without asking the value."""
    return any(base is cls for base in bases_of(type(value)))


def attributes_of(value: Any) -> dict[str, Any]:
    """The value's own attributes: its `__dict__`, read without `__getattribute__`. Not a copy."""
    for cls in bases_of(type(value)):
        descriptor = class_contents(cls).get("__dict__")
        if type(descriptor) is GetSetDescriptorType:
            found = descriptor.__get__(value)
            return found if is_a(found, dict) else {}
    return {}


def slots_of(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that stand in slots and have a value."""
    for cls in bases_of(type(value)):
        for name, descriptor in dict(class_contents(cls)).items():
            if type(descriptor) is MemberDescriptorType:
                try:
                    yield name, descriptor.__get__(value)
                except AttributeError:
                    continue


def attribute(value: Any, name: str) -> Any:
    """One attribute out of the value's `__dict__` or slots, or None."""
    found = dict.get(attributes_of(value), name)
    return (
        found if found is not None else next((held for slot, held in slots_of(value) if slot == name), None)
    )


def module_contents(module: Any) -> dict[str, Any]:
    """What stands in a module; nothing if it is none."""
    return _MODULE_DICT.__get__(module) if is_a(module, ModuleType) else {}


def library(module: str, name: str) -> Any:
    """`module.name` if the module is imported already, else None."""
    return module_contents(sys.modules.get(module)).get(name)


def is_from(cls: type, package: str) -> bool:
    """Whether a class is the package's own: it stands in a module of it under the name that it bears."""
    module = module_of(cls)
    inside = module == package or module.startswith(package + ".")
    return inside and library(module, name_of(cls)) is cls


def overrides(cls: type, base: type, names: tuple[str, ...]) -> bool:
    """Whether the class, or a base of it that is not one of `base`, defines one of the names."""
    known = {id(known) for known in bases_of(base)}
    strange = [cls for cls in bases_of(cls) if id(cls) not in known]
    return any(name in class_contents(cls) for cls in strange for name in names)
