"""Functions, classes and modules: signature, documentation and source, without importing or calling anything.

`inspect.signature` and `inspect.getsource` follow `__wrapped__`, `__signature__` and the attributes of every
module there is, so they are used only for what is code without doubt.
"""

from __future__ import annotations

import inspect
import itertools
import linecache
import re
import stat
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

from claude_nb.kernel.look.literals import literal
from claude_nb.kernel.look.real import (
    bases_of,
    class_contents,
    module_contents,
    module_of,
    name_of,
    qualname_of,
)
from claude_nb.kernel.look.text import one_line

# A longer function or class is cut, and a larger file not opened.
SOURCE_LINES = 150
SOURCE_BYTES = 2_000_000

# How many methods and attributes of a class are listed.
LISTED = 40


def signature_of(function: Any) -> str:
    """`name(a, b=1, *rest)`, of a function, method or builtin; defaults only where they are simple."""
    function = underlying(function)
    if type(function) is FunctionType:
        return f"{function.__name__}({', '.join(parameters(function))})"
    if type(function) is BuiltinFunctionType:
        return builtin_signature(function)
    return name_of(type(function))


def builtin_signature(function: BuiltinFunctionType) -> str:
    """A builtin as its own documentation writes it."""
    written = getattr(function, "__text_signature__", None) or "(...)"
    return f"{function.__name__}{written.replace('$module, ', '').replace('$self, ', '')}"


def underlying(function: Any) -> Any:
    """The function behind a method."""
    return function.__func__ if type(function) is MethodType else function


def parameters(function: FunctionType) -> Iterator[str]:
    """The parameters as they stand in a `def`."""
    code = function.__code__
    names = code.co_varnames
    positional, keywords = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    defaults = function.__defaults__ or ()
    first_default = positional - len(defaults)
    for i in range(positional):
        yield names[i] + (shown_default(defaults[i - first_default]) if i >= first_default else "")
        if i + 1 == code.co_posonlyargcount:
            yield "/"
    has_rest = bool(code.co_flags & inspect.CO_VARARGS)
    if has_rest or keywords > positional:
        yield "*" + (names[keywords] if has_rest else "")
    for name in names[positional:keywords]:
        given = function.__kwdefaults__ or {}
        yield name + (shown_default(given[name]) if name in given else "")
    if code.co_flags & inspect.CO_VARKEYWORDS:
        yield "**" + names[keywords + has_rest]


def shown_default(value: Any) -> str:
    """`=3`, or `=...` for what is not simple."""
    return f"={literal(value, 30) or '...'}"


def describe_function(function: Any) -> list[str]:
    """Signature, place, documentation and source."""
    lines = [signature_of(function)]
    function = underlying(function)
    if type(function) is not FunctionType:
        return [*lines, *first_line_of(getattr(function, "__doc__", None))]
    code = function.__code__
    lines += [f"defined in {code.co_filename}, line {code.co_firstlineno}"]
    source = source_of(code.co_filename, code.co_firstlineno)
    return [*lines, *(["", *source] if source else first_line_of(function.__doc__))]


def describe_class(cls: type) -> list[str]:
    """Bases, documentation, methods and attributes, and the source if it is at hand."""
    bases = ", ".join(f"{module_of(base)}.{qualname_of(base)}" for base in bases_of(cls)[1:-1])
    lines = [f"class {module_of(cls)}.{qualname_of(cls)}" + (f", derived from {bases}" if bases else "")]
    source = class_source(cls)
    if source:
        return [*lines, "", *source]
    lines += first_line_of(class_contents(cls).get("__doc__"))
    entries = [(name, held) for name, held in dict(class_contents(cls)).items() if is_of_interest(name)]
    return [*lines, *(f"  {member(name, held)}" for name, held in entries[:LISTED])]


def is_of_interest(name: str) -> bool:
    """Whether it is what the author of a class has written, for those who use it."""
    return name == "__init__" or not name.startswith("__")


def member(name: str, held: Any) -> str:
    """A line about what stands in a class."""
    if type(held) is staticmethod or type(held) is classmethod:
        held = held.__func__
    if type(held) is FunctionType:
        return f"def {signature_of(held)}"
    if type(held) is property:
        return f"{name}: property"
    return f"{name} = {one_line(literal(held) or name_of(type(held)), 80)}"


def describe_module(module: Any) -> list[str]:
    """Name, version, file, documentation and the names in it."""
    contents = module_contents(module)
    lines = [f"module {text_or(contents.get('__name__'), 'without a name')}"]
    for label, name in (("version", "__version__"), ("file", "__file__")):
        if type(contents.get(name)) is str:
            lines += [f"{label}: {contents[name][:300]}"]
    lines += first_line_of(contents.get("__doc__"))
    names = sorted(name for name in list(contents) if type(name) is str and not name.startswith("_"))
    return [*lines, f"{len(names):,} public names: {', '.join(names[:100])}{', ...' * (len(names) > 100)}"]


def text_or(value: Any, otherwise: str) -> str:
    """The value if it is a str."""
    return value if type(value) is str else otherwise


def first_line_of(doc: Any) -> list[str]:
    """The first line of a documentation, if there is one."""
    return [line[:300] for line in doc[:2000].strip().splitlines()[:1]] if type(doc) is str else []


def class_documentation(cls: type) -> list[str]:
    """The first line of a class's documentation."""
    return first_line_of(class_contents(cls).get("__doc__"))


def source_of(file: str, line: int) -> list[str]:
    """The lines of the definition that begins at a line of a file or of a cell."""
    lines = list(itertools.islice(lines_of(file), line - 1, line - 1 + SOURCE_LINES))
    try:
        block = inspect.getblock(lines)
    except (SyntaxError, tokenize.TokenError):
        block = lines
    return [line.rstrip("\n") for line in block] + ["... [shortened]"] * (len(block) == SOURCE_LINES)


def lines_of(file: str) -> list[str]:
    """The lines of a source: what the interpreter keeps of a cell, or of a usual file of moderate size."""
    if file in linecache.cache:
        return linecache.getlines(file)
    try:
        status = Path(file).stat()
    except (OSError, ValueError):
        return []
    if not stat.S_ISREG(status.st_mode) or status.st_size > SOURCE_BYTES:
        return []
    return linecache.getlines(file)


def class_source(cls: type) -> list[str]:
    """The source of a class, found above the first of its methods."""
    code = first_method(cls)
    if code is None:
        return []
    lines = lines_of(code.co_filename)
    opening = re.compile(rf"\s*class\s+{re.escape(name_of(cls))}\b")
    for number in range(min(code.co_firstlineno, len(lines)), 0, -1):
        if opening.match(lines[number - 1]):
            return source_of(code.co_filename, number)
    return []


def first_method(cls: type) -> CodeType | None:
    """The code of the first function that was written in the class."""
    written = [
        held.__code__
        for held in list(class_contents(cls).values())
        if type(held) is FunctionType and held.__qualname__ == f"{qualname_of(cls)}.{held.__name__}"
    ]
    return min(written, key=lambda code: code.co_firstlineno, default=None)
