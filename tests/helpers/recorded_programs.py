"""Studies that start our programs, with the programs left out."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

__all__ = ["record_programs"]


def record_programs(
    study: ModuleType, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Any, ...]]:
    """The words of every program that the study starts from now on; each leaves this report."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        study, "run_program_measured", lambda *words: calls.append(words) or (1.2, 0.1)
    )
    monkeypatch.setattr(study, "read_json", lambda path: report)
    return calls
