"""`jupyter claude sweep`: end what dead kernels and their dead guards have left."""

from __future__ import annotations

import argparse
import json
from typing import Any

from claude_nb.registry import Registry
from claude_nb.sweep import SweepReport, sweep


def run(arguments: argparse.Namespace) -> int:
    """Sweep once and say what was done."""
    report = sweep(Registry.default())
    print(json.dumps(as_data(report), indent=2) if arguments.json else f"{report}.")
    return 0


def as_data(report: SweepReport) -> dict[str, Any]:
    """The report for a program: who was ended, and what was set right, removed and left alone."""
    return {
        "ended": [{"pid": process.pid, "start": process.start} for process in sorted(report.ended)],
        "set_right": [{"name": record.name, "folder": record.folder} for record in report.set_right],
        "removed": [str(folder) for folder in report.removed],
        "left_alone": report.left_alone,
    }
