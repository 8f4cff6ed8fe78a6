"""The pretend device, built once, and a folder in which all processes of pytest share artifacts."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from device import building


def pytest_collection_finish(session: pytest.Session) -> None:
    """Register the device before any test runs: autograd counts devices at its first way back."""
    here = Path(__file__).parent
    if any(here in item.path.parents for item in session.items) and not building.lacking():
        from device import fakegpu  # noqa: F401


@pytest.fixture(scope="session")
def fakegpu() -> Any:
    """The pretend device; where it cannot be built, a skip that says why."""
    reason = building.lacking()
    if reason:
        pytest.skip(f"the pretend GPU cannot be built: {reason}")
    from device import fakegpu

    return fakegpu


@pytest.fixture
def cuda(fakegpu: Any) -> Iterator[str]:
    """Have ``--device cuda`` and ``auto`` mean the pretend device; its name in PyTorch."""
    from device import rows

    with rows.pretend(fakegpu.NAME):
        yield fakegpu.NAME


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory in which `rows.make` makes what is read."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "device"
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # where others.py lies
    return folder
