"""The script for the day a GPU is there runs on the pretend one."""

import sys
from pathlib import Path

import pytest


@pytest.mark.heavy  # a third of a minute
def test_benchmark(cuda: str, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    import gpu

    gpu.main(["--small"], cuda)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("cluster spectral") and "%" in line for line in lines)
    assert sum("not run" in line for line in lines) == 1  # the commands after the first two
    assert sum(line.endswith("equal") for line in lines) == 2
