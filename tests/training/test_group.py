"""Several processes, as torchrun starts them."""

import subprocess
import sys
from pathlib import Path

import corpora
import pytest
import torch

from speechscope.store import checkpoint


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("group")
    corpora.timit(folder / "timit")
    done = run(folder, "prepare", "timit")
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, *arguments: str, processes: int = 0) -> subprocess.CompletedProcess[str]:
    python = [sys.executable, "-m"]
    if processes:
        python += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    return subprocess.run(
        [*python, "speechscope", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


TRAIN = ("train", "--epochs", "2", "--per-class", "6", "--batch", "32", "--device", "cpu")


@pytest.mark.parametrize(
    "plain", ["", pytest.param("1", marks=pytest.mark.heavy)], ids=["fast", "plain"]
)
def test_two_processes_give_the_weights_of_one(
    corpus: Path, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHSCOPE_PLAIN", plain)
    assert run(corpus, *TRAIN, "-f", "-o", "one.pt").returncode == 0
    done = run(corpus, *TRAIN, "-f", "-o", "two.pt", processes=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["two.pt"]  # the first process alone speaks
    one, two = (
        checkpoint.Checkpoint(corpus / f"{name}.pt", "model").values for name in ("one", "two")
    )
    history = [[epoch["loss"] for epoch in each["history"]] for each in (one, two)]
    assert history[0] == pytest.approx(history[1], rel=1e-3)
    for name, value in one["state"]["weights"].items():
        # AdaGrad's first steps are signs of derivatives, and those near 0 are rounding.
        difference = (value - two["state"]["weights"][name]).abs()
        assert float(difference.mean()) < 1e-3 * float(value.abs().mean()), name
        assert torch.isfinite(difference).all()
