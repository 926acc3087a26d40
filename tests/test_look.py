"""Looking at a namespace: what is told of Python's own values, and that nothing is touched. Pure."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import itertools
import math
import threading
from pathlib import Path
from typing import Any

import pytest
from look_kit import Traces, hostile_values
from work_kit import calls

from claude_nb.kernel.look import brief, fingerprint, inspect_value, resolve, variables

pytestmark = pytest.mark.pure


def a_function(a: int, /, b: int = 1, *rest: int, c: int, d: Any = None, **more: int) -> int:
    """What it does."""
    return a + b + c


class Point:
    """A place in the plane.

    More about it.
    """

    def __init__(self, x: float) -> None:
        self.x = x

    @property
    def danger(self) -> None:
        raise AssertionError("was run")


class Slotted:
    __slots__ = ("held", "not_there")

    def __init__(self) -> None:
        self.held = 7


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Row:
    name: str
    size: int


Pair = collections.namedtuple("Pair", "left right")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        (10**5000, "<int of 16,610 bits>"),
        ("hi", "'hi'"),
        ("x" * 500, "'" + "x" * 80 + "'... (length 500)"),
        (b"hi", "b'hi'"),
        ([1, 2, 3], "[1, 2, 3]"),
        ((1,), "(1,)"),
        ((), "()"),
        ({}, "{}"),
        (set(), "set()"),
        (frozenset({1}), "frozenset({1})"),
        (list(range(1000)), "list of 1,000 items: [0, 1, 2, 3, 4, ...]"),
        ({"a": [1, [2]]}, "{'a': [1, list of 1 item]}"),
        (Pair(1, 2), "Pair of 2 items: [1, 2]"),
        (collections.OrderedDict(a=1), "OrderedDict of 1 item: {'a': 1}"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (decimal.Decimal("1.10"), "Decimal('1.10')"),
        (Colour.RED, "Colour.RED"),
        (Point, "class Point"),
        (Point(1), "Point"),
        (itertools, "module itertools"),
        (a_function, "function a_function(a, /, b=1, *rest, c, d=None, **more)"),
        (range(3), "range(0, 3, 1)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_told_in_one_short_line(value: Any, text: str) -> None:
    assert brief(value) == text


@pytest.mark.parametrize(
    "value", ["two\nlines", ["\n" * 50], {"k" * 900: "v" * 900}, [[["x" * 99] * 9] * 9] * 9]
)
def test_a_line_stays_one_line_and_short(value: Any) -> None:
    assert "\n" not in brief(value)
    assert len(brief(value)) <= 100


def test_a_function_is_told_with_its_source() -> None:
    told = inspect_value("f", a_function)
    assert "a_function(a, /, b=1, *rest, c, d=None, **more)" in told
    assert "    return a + b + c" in told
    assert "class Point" not in told


def test_a_class_is_told_with_its_source_and_an_object_with_its_attributes() -> None:
    assert "def danger(self) -> None:" in inspect_value("Point", Point)
    told = inspect_value("p", Point(2.5))
    assert "test_look.Point" in told
    assert "A place in the plane.\n" in told
    assert "  x: 2.5" in told


def test_slots_and_the_fields_of_a_dataclass_are_read() -> None:
    assert "  held: 7" in inspect_value("s", Slotted())
    assert "not_there" not in inspect_value("s", Slotted())
    assert "  name: 'a'\n  size: 3" in inspect_value("r", Row("a", 3))


def test_a_container_is_told_by_length_types_and_first_values() -> None:
    told = inspect_value("xs", [1, "two", *range(1000)])
    assert "1,002 items" in told
    assert "int (999), str (1)" in told
    assert "  [1] 'two'" in told
    assert "  ... and 972 more" in told
    assert "  'train': [1, 2]" in inspect_value("data", {"train": [1, 2]})


def test_what_can_be_used_once_is_not_used() -> None:
    numbers = (number for number in range(3))
    iterator = iter([1, 2])

    async def work() -> None:
        raise AssertionError("was run")

    coroutine = work()
    try:
        assert "not advanced" in inspect_value("g", numbers)
        assert "not advanced" in inspect_value("i", iterator)
        assert "not awaited" in inspect_value("c", coroutine)
        assert "CORO_CREATED" in inspect_value("c", coroutine)
    finally:
        coroutine.close()
    assert list(numbers) == [0, 1, 2]
    assert list(iterator) == [1, 2]


def test_a_file_is_neither_read_nor_moved(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("some text")
    with (tmp_path / "notes").open() as file:
        file.read(3)
        assert "not read and not moved" in inspect_value("file", file)
        assert "mode rb, open" in inspect_value("file", file)
        assert file.read() == "e text"


@pytest.mark.parametrize("budget", [0, 1, 30, 200, 6000])
@pytest.mark.parametrize("value", ["x" * 50_000, list(range(1000)), a_function, b"\0" * 9000, math], ids=type)
def test_the_budget_is_kept(value: Any, budget: int) -> None:
    assert len(inspect_value("name" * 200, value, budget=budget)) <= budget


def test_a_container_that_holds_itself_is_no_trouble() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    tree: dict[str, Any] = {}
    tree["self"] = tree
    assert brief(circle) == "[1, [1, list of 2 items]]"
    assert "'self'" in inspect_value("tree", tree)
    assert fingerprint(circle) == fingerprint(circle)


def test_nothing_of_a_hostile_value_runs(tmp_path: Path) -> None:
    traces = Traces(tmp_path)
    values = hostile_values(traces)
    for own, value in values.items():
        told = inspect_value(own, value)
        assert traces.left() == [], own
        assert "could not be read" not in told, own
        assert brief(value)
        assert isinstance(fingerprint(value), tuple)
        assert traces.left() == [], own
    table = variables(values)
    assert all(own in table for own in values)
    assert traces.left() == []
    assert calls(lambda: variables(values)) < 300 * len(values)


def test_the_traps_do_snap(tmp_path: Path) -> None:
    traces = Traces(tmp_path)
    with pytest.raises(RuntimeError):
        repr(hostile_values(traces)["everything"])
    assert traces.left() == ["repr", "deleted"]


def test_ten_thousand_variables_cost_a_few_calls_each(tmp_path: Path) -> None:
    traces = Traces(tmp_path)
    namespace = {f"v{i}": i for i in range(5000)} | {f"w{i}": [i] * i for i in range(5000)}
    namespace |= hostile_values(traces)
    assert calls(lambda: variables(namespace)) < 40 * len(namespace)
    assert "10,011 variables; the newest 100 are shown" in variables(namespace)
    assert len(variables(namespace)) < 12_000
    assert calls(lambda: variables(namespace, pattern="v*")) < 40 * len(namespace)
    assert calls(lambda: [fingerprint(value) for value in namespace.values()]) < 20 * len(namespace)
    assert traces.left() == []


def test_the_table_shows_the_users_own_variables_only() -> None:
    namespace = {"In": [], "Out": {}, "exit": 1, "quit": 1, "get_ipython": len, "_": 1, "_3": 1, "__x": 1}
    assert variables(namespace) == "No variables."
    told = variables(
        namespace | {"rows": [1, 2], "secret": 1, "math": math, "f": a_function, "Point": Point},
        hidden={"secret"},
    )
    lines = told.splitlines()
    assert lines[0] == "1 variable:"
    assert lines[1].split() == ["name", "type", "size", "memory"]
    assert lines[2].split()[:4] == ["rows", "list", "2", "items"]
    assert lines[3:] == ["functions: f", "classes: Point", "modules: math"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("df_*", ["df_a", "df_b"]),
        ("_B", ["df_b"]),
        ("nope", []),
        ("d[f]_a", ["df_a"]),
        ("", ["df_a", "df_b", "x"]),
    ],
)
def test_a_pattern_picks_names(pattern: str, found: list[str]) -> None:
    lines = variables({"df_a": 1, "df_b": 2, "x": 3}, pattern=pattern).splitlines()
    assert [line.split()[0] for line in lines[2:]] == found


def test_what_is_left_out_is_said() -> None:
    told = variables({f"v{i}": i for i in range(9)}, limit=3)
    assert told.startswith("9 variables; the newest 3 are shown.")
    assert [line.split()[0] for line in told.splitlines()[2:]] == ["v6", "v7", "v8"]


def test_names_that_no_cell_can_write_do_no_harm() -> None:
    strange: dict[Any, Any] = {3: 1, "two\nlines": 2, "n" * 5000: 3, None: 4}
    told = variables(strange)
    assert "two lines" in told
    assert len(told) < 1000


def test_a_namespace_may_change_while_it_is_looked_at() -> None:
    namespace: dict[str, Any] = {"kept": [0] * 10}
    over = threading.Event()

    def change() -> None:
        for i in itertools.count():
            namespace[f"v{i % 500}"] = [i]
            namespace.pop(f"v{(i * 7) % 500}", None)
            namespace["kept"].append(i) if i % 2 else namespace["kept"].clear()
            if over.is_set():
                return

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(200):
            assert "kept" in variables(namespace, limit=1000)
            assert inspect_value("kept", namespace["kept"])
    finally:
        over.set()
        changing.join()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1, 2),
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("a", "b"),
        ("a", b"a"),
        ([1], [1]),
        (None, 0),
        ("x" * 5000, "x" * 5001),
        (10**3000, 10**3000 + 1),
    ],
    ids=lambda value: repr(value)[:10],
)
def test_another_value_has_another_fingerprint(before: Any, after: Any) -> None:
    assert fingerprint(before) != fingerprint(after)


@pytest.mark.parametrize(
    "value",
    [1, math.nan, "text", 10**50, [1], {"a": 1}, Point(1), Point, math],
    ids=lambda value: type(value).__name__,
)
def test_the_same_value_has_the_same_fingerprint(value: Any) -> None:
    assert fingerprint(value) == fingerprint(value)


def test_a_container_that_grew_has_another_fingerprint() -> None:
    for container, grow in (
        ([], lambda xs: xs.append(1)),
        ({}, lambda xs: xs.update(a=1)),
        (set(), lambda xs: xs.add(1)),
    ):
        before = fingerprint(container)
        grow(container)
        assert fingerprint(container) != before


NAMESPACE = {
    "df": 1,
    "_": 2,
    "_3": 3,
    "Out": {3: "three"},
    "data": {"train": {"x": [10, 20]}, 0: "zero"},
    "xs": [1, (2, 3)],
    "größe": 5,
    "point": Point(1),
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("df", 1),
        ("_", 2),
        ("_3", 3),
        ("Out[3]", "three"),
        ('data["train"]["x"][-1]', 20),
        ("data[0]", "zero"),
        ("xs[1][0]", 2),
        ("größe", 5),
    ],
)
def test_a_path_names_a_value(path: str, value: Any) -> None:
    assert resolve(NAMESPACE, path) == value


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nope", "there is no variable `nope`"),
        ("data['no']", "`data` has no item 'no'"),
        ("xs[7]", "`xs` has no item 7"),
        ("xs['a']", "`xs` has no item 'a'"),
        ("df[0]", "`df` is of type int: only dicts, lists and tuples have such items"),
        ("point.danger", "only variables and their items by a literal key can be named"),
        ("xs[df]", "only a str or an int can stand in the brackets"),
        ("xs[True]", "only a str or an int can stand in the brackets"),
        ("xs[0:1]", "only a str or an int can stand in the brackets"),
        ("print()", "only variables and their items by a literal key can be named"),
        ("1 +", "is not the name of a variable"),
        ("", "is not the name of a variable"),
        ("x\0", "is not the name of a variable"),
        ("(" * 499, "is not the name of a variable"),
        ("xs" + "[0]" * 5000, "is too long"),
    ],
    ids=lambda text: text[:20],
)
def test_what_a_path_cannot_name_is_said(path: str, message: str) -> None:
    with pytest.raises(KeyError) as caught:
        resolve(NAMESPACE, path)
    assert message in caught.value.args[0]


def test_a_path_does_not_ask_containers_of_the_users(tmp_path: Path) -> None:
    traces = Traces(tmp_path)
    with pytest.raises(KeyError):
        resolve(hostile_values(traces), "filled['inside']")
    assert traces.left() == []


def test_a_running_event_loop_does_not_matter() -> None:
    async def look() -> str:
        return inspect_value("task", asyncio.current_task())

    # Not `asyncio.run`, which takes from the thread the loop that a library has left in it, unclosed.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        assert "_asyncio.Task" in runner.run(look())
