"""Values of every library that are far too large to be read as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import xarray as xr

# Rows of ten float64 that make five gigabytes.
ROWS = 62_500_000


def big_memmap(folder: Path) -> Any:
    """Five gigabytes in a file that takes no room."""
    return np.memmap(folder / "big", "float64", "w+", shape=(ROWS, 10))


LONG_CELLS = {"long": ["x" * 10_000_000] * 3, "lists": [list(range(100_000))] * 3}

HUGE: dict[str, Callable[[Path], Any]] = {
    "array": lambda _: np.broadcast_to(np.float64(1.5), (ROWS, 10)),
    "transposed": lambda _: np.broadcast_to(np.float64(1.5), (ROWS, 10)).T,
    "memmap": big_memmap,
    "memmap across": lambda folder: big_memmap(folder).T,
    "memmap column": lambda folder: big_memmap(folder)[:, 3],
    "frame": lambda _: pd.DataFrame(np.broadcast_to(np.float64(1.5), (ROWS, 10)), copy=False),
    "frame in a file": lambda folder: pd.DataFrame(big_memmap(folder), copy=False),
    "series": lambda _: pd.Series(np.broadcast_to(np.float64(1.5), ROWS * 10), copy=False),
    "objects": lambda _: np.broadcast_to(np.array("x", object), (ROWS, 10)),
    "column of objects": lambda _: pd.Series([b"x"] * 3_000_000, dtype=object).to_frame("held"),
    "wide": lambda _: pd.DataFrame(np.broadcast_to(np.float64(1.5), (10, 200_000)), copy=False),
    "data array": lambda _: xr.DataArray(np.broadcast_to(np.float64(1.5), (ROWS, 10))),
    "lazy": lambda _: pl.LazyFrame().select(pl.int_range(0, ROWS * 10)).with_columns(pl.all() * 2),
    "polars": lambda _: pl.DataFrame({"a": np.zeros(5_000_000), "b": np.arange(5_000_000)}),
    "arrow": lambda _: pa.table({"a": np.zeros(5_000_000), "b": np.arange(5_000_000)}),
    "text": lambda _: "x" * 50_000_000,
    "list": lambda _: [0] * 10_000_000,
    "cells": lambda _: pd.DataFrame({"long": ["x" * 10_000_000] * 3}),
    "polars cells": lambda _: pl.DataFrame(
        {"long": ["x" * 10_000_000] * 3, "lists": [list(range(10**5))] * 3}
    ),
    "arrow cells": lambda _: pa.table({"long": ["x" * 10_000_000] * 3, "lists": [list(range(10**5))] * 3}),
}
