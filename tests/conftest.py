"""Fixtures shared by the tests."""

import os
from pathlib import Path

import pytest

# The networks of the tests are tiny: threads would only wait for each other, and for pytest's.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A setting of the person who runs the tests must not reach them.
for _name in [name for name in os.environ if name.startswith("SPEECHSCOPE_")]:
    del os.environ[_name]

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def real_speech() -> Path:
    """The folder of recorded speech beside the checkout, or a skip that says so."""
    if not SHARED.is_dir():
        pytest.skip(f"recorded speech is not at {SHARED}")
    return SHARED
