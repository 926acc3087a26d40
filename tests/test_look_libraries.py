"""Looking at what numpy, pandas, polars, pyarrow, xarray, matplotlib and torch hold. Pure, real libraries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr
from huge_kit import HUGE
from look_kit import Traces, hostile_values
from work_kit import allocated, calls

from claude_nb.kernel.look import brief, fingerprint, inspect_value, variables

pytestmark = pytest.mark.pure

MEGABYTE = 1024 * 1024


def line_of(text: str, beginning: str) -> list[str]:
    """The words of the first line that begins so."""
    return next(line.split() for line in text.splitlines() if line.startswith(beginning))


def penguins() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "mass": [3.5, None, 4.5],
            "name": ["Ada", None, "Bo"],
            "born": pd.to_datetime(["2020-01-01", "2021-01-01", None]),
            "kind": pd.Categorical(["a", "b", "a"]),
            "eggs": pd.array([1, None, 3], dtype="Int64"),
            "ringed": [True, False, True],
        }
    )


def test_a_frame_of_pandas_is_told_by_columns_and_rows() -> None:
    told = inspect_value("df", penguins())
    assert told.startswith("df: pandas.")
    assert "3 x 6" in told
    assert line_of(told, "mass") == ["mass", "float64", "1", "3.5", "4.5", "4"]
    assert line_of(told, "eggs") == ["eggs", "Int64", "1", "1", "3", "2"]
    assert line_of(told, "kind") == ["kind", "category", "0"]
    assert line_of(told, "ringed") == ["ringed", "bool", "0", "2"]
    assert line_of(told, "0 ")[:3] == ["0", "3.5", "Ada"]
    assert brief(penguins()) == "DataFrame 3 x 6"
    assert "pandas.DataFrame  3 x 6" in variables({"df": penguins()})


def test_series_and_indexes_of_pandas_are_told() -> None:
    assert line_of(inspect_value("s", penguins()["mass"]), "mass") == [
        "mass",
        "float64",
        "1",
        "3.5",
        "4.5",
        "4",
    ]
    several = pd.MultiIndex.from_product([[1, 2], ["a", "b"]])
    assert "MultiIndex, (1, 'a') to (2, 'b')" in inspect_value("i", several)
    assert "RangeIndex, empty" in inspect_value("s", pd.Series([], dtype="float64"))


def test_frames_of_polars_and_tables_of_pyarrow_are_told() -> None:
    data = {"a": [1, 2, None], "b": ["x", "y" * 1000, None], "c": [[1], [2], [3]]}
    told = inspect_value("p", pl.DataFrame(data))
    assert line_of(told, "a ") == ["a", "Int64", "1", "1", "2", "1.5"]
    assert line_of(told, "1 ")[1:] == ["x", "..."]
    told = inspect_value("t", pa.table(data))
    assert line_of(told, "b ") == ["b", "string"]
    assert line_of(told, "2 ") == ["2", "<1,000", "bytes>", "..."]
    assert brief(pa.table(data)) == "Table 3 x 3"
    assert "lazy: not collected" in inspect_value("l", pl.DataFrame(data).lazy())


def test_arrays_are_told_by_shape_type_and_range() -> None:
    told = inspect_value("a", np.array([[1.0, 2.0], [np.nan, 5.0]]))
    assert "shape: (2, 2), dtype: float64" in told
    assert "range: min 1, max 5, nan 1, mean 2.66667" in told
    assert "  nan, 5" in told
    assert brief(np.zeros((2, 3), "int8")) == "ndarray 2 x 3 int8"
    assert brief(np.float32(1.5)) == "1.5"


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(0),
        np.array(3),
        np.array([np.nan]),
        np.array([1 + 2j]),
        np.array(["2020-01-01", "NaT"], "M8[D]"),
        np.array([b"a"]),
        np.zeros(2, [("a", "i4"), ("b", "O")]),
        np.ma.masked_array([1, 2], [0, 1]),
        np.array([np.inf, -np.inf]),
        np.array([None, object()]),
        np.zeros((0, 5)),
        np.full(3, 65504, "float16"),
        np.arange(10)[::-3],
    ],
    ids=lambda array: f"{type(array).__name__} {array.dtype} {array.shape}",
)
def test_odd_arrays_are_told_too(array: Any) -> None:
    told = inspect_value("a", array)
    assert f"shape: {array.shape}" in told
    assert variables({"a": array}).startswith("1 variable")
    assert fingerprint(array) == fingerprint(array)


def test_xarrays_data_is_told_without_being_loaded() -> None:
    class Never(xr.backends.BackendArray):
        shape, dtype = (3, 10**9), np.dtype("float32")

        def __getitem__(self, key: Any) -> Any:
            raise AssertionError("was loaded")

    lazy = xr.Variable(("x", "y"), xr.core.indexing.LazilyIndexedArray(Never()))
    data = xr.Dataset({"far": lazy, "near": ("x", [1.0, 2.0, 4.0])}, {"x": [10, 20, 30]}, {"unit": "K"})
    told = inspect_value("ds", data)
    assert "dimensions: x: 3, y: 1,000,000,000" in told
    assert line_of(told, "far")[:4] == ["far", "x,", "y", "3"]
    assert "min 1, max 4" in told
    assert "10 to 30" in told
    assert "unit: 'K'" in told
    assert "1,000,000,000" in inspect_value("da", data["far"])
    assert brief(data["far"]) == "DataArray 3 x 1,000,000,000 float32"


def test_a_figure_is_told_in_words() -> None:
    figure = matplotlib.figure.Figure()
    left, _ = figure.subplots(1, 2)
    left.plot([1, 2], label="growth")
    left.set(title="Mass", xlabel="year")
    told = inspect_value("fig", figure)
    assert "axes: 2" in told
    assert "title 'Mass', x 'year', lines: 1" in told
    assert "growth" in told
    assert "data: x from 0 to 1, y from 1 to 2" in told
    assert left._stale_viewlims["x"], "what the look is not to settle"
    left.set_xlim(-1, 7)
    left.get_ylim()
    assert "  x from -1 to 7, y from 0.95 to 2.05" in inspect_value("fig", figure)


@pytest.mark.parametrize("name", list(HUGE))
def test_huge_data_costs_no_more_than_small_data(name: str, tmp_path: Path) -> None:
    value = HUGE[name](tmp_path)
    told = inspect_value("big", value)
    assert "could not be read" not in told
    assert len(told) <= 6000
    assert calls(lambda: inspect_value("big", value)) < 40_000
    assert calls(lambda: variables({"big": value})) < 1_000
    assert calls(lambda: fingerprint(value)) < 100
    assert allocated(lambda: inspect_value("big", value)) < 40 * MEGABYTE  # three long texts at the most
    assert allocated(lambda: variables({"big": value})) < MEGABYTE
    assert allocated(lambda: fingerprint(value)) < MEGABYTE
    if name.startswith("memmap"):
        blocks_in_use = (tmp_path / "big").stat().st_blocks
        assert blocks_in_use < 1000, "was written to"


def test_a_lazy_frame_is_not_collected(tmp_path: Path) -> None:
    ran: list[str] = []

    def trap(data: Any) -> Any:
        ran.append("ran")
        return data

    lazy = pl.DataFrame({"a": [1]}).lazy().map_batches(trap)
    missing = pl.LazyFrame({"a": [1]}).with_columns(pl.col("not there"))
    for frame in (lazy, missing):
        assert "not collected" in inspect_value("lazy", frame)
        assert "LazyFrame" in variables({"lazy": frame})
    assert ran == []


class Silent:
    """An object for polars, which itself asks those it is given for everything but their text."""

    def __repr__(self) -> str:
        raise AssertionError("was asked")

    __str__ = __repr__


def test_what_a_frame_holds_is_not_asked(tmp_path: Path) -> None:
    traces = Traces(tmp_path)
    values = [value for name, value in hostile_values(traces).items() if name != "inside"]
    column = np.empty(len(values), object)
    for i, value in enumerate(values):
        column[i] = value
    holders = {
        "frame": pd.DataFrame({"objects": pd.Series(column, dtype=object)}),
        "series": pd.Series(column, dtype=object),
        "array": column,
        "polars": pl.DataFrame({"o": pl.Series([Silent(), Silent()], dtype=pl.Object)}),
        "set": xr.DataArray([1.0], attrs={"own": values[0]}),
    }
    assert traces.left() == []
    for name, holder in holders.items():
        told = inspect_value(name, holder)
        assert traces.left() == [], name
        assert "could not be read" not in told, name
        fingerprint(holder)
        assert brief(holder)
    assert variables(holders)
    assert traces.left() == []


def test_subclasses_of_library_classes_do_not_get_a_word_in(tmp_path: Path) -> None:
    traces = Traces(tmp_path)

    def trap(*_: Any, **__: Any) -> Any:
        traces.done.append("trap")
        raise RuntimeError

    names = (
        "shape",
        "dtypes",
        "columns",
        "index",
        "iloc",
        "__len__",
        "__repr__",
        "__getitem__",
        "head",
        "dtype",
    )
    traps = {name: property(trap) for name in names}
    loud_frame = type("LoudFrame", (pd.DataFrame,), traps)
    hostile_frame = type("HostileFrame", (pd.DataFrame,), {"__getattribute__": trap})
    loud_array = type("LoudArray", (np.ndarray,), {**traps, "min": trap, "flat": property(trap)})
    loud_series = type("LoudSeries", (pd.Series,), traps)
    loud_polars = type("LoudPolars", (pl.DataFrame,), traps)
    values = {
        "frame": loud_frame(pd.DataFrame({"a": [1.0, 2.0]})),
        "array": np.ndarray.view(np.arange(3.0), loud_array),
        "hostile": object.__new__(hostile_frame),
        "series": object.__new__(loud_series),
        "polars": object.__new__(loud_polars),
    }
    traces.done.clear()
    told = {name: inspect_value(name, value) for name, value in values.items()}
    assert line_of(told["frame"], "a ") == ["a", "float64", "0", "1", "2", "1.5"]
    assert "range: min 0, max 2" in told["array"]
    assert variables(values)
    assert [fingerprint(value) == fingerprint(value) for value in values.values()] == [True] * 5
    assert traces.left() == []


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (penguins, lambda df: df.insert(0, "new", 1)),
        (penguins, lambda df: df.pop("mass")),
        (penguins, lambda df: setattr(df, "columns", list("abcdef"))),
        (penguins, lambda df: df.loc.__setitem__(9, df.loc[0])),
        (lambda: np.zeros(3), lambda array: array.__setitem__(0, 1)),
        (lambda: pl.DataFrame({"a": [1]}), lambda df: df.insert_column(0, pl.Series("b", [1]))),
    ],
    ids=["column", "dropped", "renamed", "row", "array", "polars"],
)
def test_a_change_in_place_is_noticed(make: Callable[[], Any], change: Callable[[Any], Any]) -> None:
    value = make()
    before = fingerprint(value)
    assert fingerprint(value) == before
    change(value)
    assert fingerprint(value) != before


def test_fingerprints_cost_a_few_calls() -> None:
    values = [
        penguins(),
        np.zeros((100, 100)),
        pl.DataFrame({"a": [1]}),
        {"a": 1},
        [1],
        "text",
        1,
        object(),
    ]
    assert calls(lambda: [fingerprint(value) for value in values]) < 50 * len(values)


def test_no_library_is_imported_for_looking() -> None:
    code = """
import sys
from claude_nb.kernel import look, pictures
class Frame: pass
values = {"frame": Frame(), "rows": [1], "f": len}
look.variables(values), [look.inspect_value(*item) for item in values.items()]
pictures.picture_of(values["frame"]), pictures.open_figures()
libraries = {"numpy", "pandas", "polars", "pyarrow", "xarray", "torch", "matplotlib", "PIL"}
print(libraries & set(sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
