"""Tensors and networks, as `look` tells of them. Collected where torch is installed: conftest.py says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from huge_kit import ROWS
from work_kit import allocated, calls

from claude_nb.kernel.look import brief, fingerprint, inspect_value

pytestmark = pytest.mark.pure


def test_tensors_and_networks_are_told() -> None:
    told = inspect_value("t", torch.tensor([[1.0, 2.0], [3.0, 6.0]], requires_grad=True))
    assert "shape: (2, 2), dtype: torch.float32, device: cpu, requires_grad: True" in told
    assert "min 1, max 6, mean 3" in told
    assert brief(torch.zeros(2, 3)) == "Tensor 2 x 3 float32"
    away = inspect_value("m", torch.empty(5, device="meta"))
    assert "device: meta" in away
    assert "values" not in away
    assert "dtype: torch.bfloat16" in inspect_value("b", torch.ones(3, dtype=torch.bfloat16))

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.again = torch.nn.Linear(3, 4)

        def parameters(self, recurse: bool = True) -> Any:
            raise AssertionError("was run")

        def __getattr__(self, name: str) -> Any:
            raise AssertionError("was run")

    told = inspect_value("net", Net())
    assert "16 parameters, 16 of them trainable; on cpu" in told
    assert "(first): Linear" in told
    big = torch.zeros(1).expand(ROWS, 10)
    assert calls(lambda: inspect_value("big", big)) < 40_000
    assert allocated(lambda: inspect_value("big", big)) < 40 * 1024 * 1024
    held = torch.zeros(3)
    before = fingerprint(held)
    held.add_(1)
    assert fingerprint(held) != before
