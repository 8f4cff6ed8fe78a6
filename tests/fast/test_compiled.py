import subprocess
import sys
from pathlib import Path

import pytest

LOOP = """
import numpy as np
from speechscope.fast.compiled import compiled

@compiled
def double(x):
    for i in range(len(x)):
        x[i] *= 2

x = np.arange(3.0)
double(x)
print(x.tolist(), sum(double.stats.cache_hits.values()))
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    (tmp_path / "loop.py").write_text(LOOP)
    return tmp_path / "kept"


def run(path: Path | None) -> str:
    command = [sys.executable, *(["-c", LOOP] if path is None else [str(path)])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


def test_what_was_compiled_is_kept_and_is_whole(kept: Path) -> None:
    loop = kept.parent / "loop.py"
    assert run(loop) == "[0.0, 2.0, 4.0] 0"
    assert run(loop) == "[0.0, 2.0, 4.0] 1"
    (file,) = kept.rglob("*.loop")
    whole = file.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:100], whole[:middle] + b"\0" + whole[middle + 1 :]):
        file.write_bytes(damaged)
        assert run(loop) == "[0.0, 2.0, 4.0] 0"
        assert file.read_bytes() != damaged
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_loops_are_compiled_where_nothing_can_be_kept(kept: Path) -> None:
    kept.write_text("a file")  # no folder
    assert run(kept.parent / "loop.py") == "[0.0, 2.0, 4.0] 0"
    assert run(None) == "[0.0, 2.0, 4.0] 0"  # the source is no file, as in an archive
