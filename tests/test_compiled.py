import subprocess
import sys
from pathlib import Path

import pytest

LOOP = """
import numpy as np
from speechscope.compiled import compiled

@compiled
def double(x):
    for i in range(len(x)):
        x[i] *= 2

x = np.arange(3.0)
double(x)
print(x.tolist())
"""


def test_what_was_compiled_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, kept = tmp_path / "loop.py", tmp_path / "kept"
    path.write_text(LOOP)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(kept))
    for _ in range(2):
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[0.0, 2.0, 4.0]"
    assert len(list(kept.rglob("*.nbc"))) == 1


def test_loops_are_compiled_where_nothing_can_be_kept() -> None:
    # The source is no file, as in an archive.
    command = [sys.executable, "-c", LOOP]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[0.0, 2.0, 4.0]"
