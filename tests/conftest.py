"""Fixtures shared by the tests."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

NOT_THERE = ("torch", "parselmouth", "xarray", "kaldi", "checkpoint")

# The networks of the tests are tiny: threads would only wait for each other, and for pytest's.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A setting of the person who runs the tests must not reach them.
for _name in [name for name in os.environ if name.startswith("SPEECHSCOPE_")]:
    del os.environ[_name]

# Without PyTorch, which has no build for the newest Python, what does without it is still tested
# (.ci/run).
if find_spec("torch") is None:
    collect_ignore_glob = [
        str(path)
        for path in Path(__file__).parent.rglob("test_*.py")
        if any(word in path.read_text() for word in NOT_THERE)
    ]

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
