"""A process of ``torchrun`` that dies costs the epoch it was in, and changes nothing."""

import subprocess
import sys
from pathlib import Path

import corpora
import pytest
import torch

from speechscope import cli
from speechscope.store.checkpoint import Checkpoint

TRAIN = ("train", "--epochs", "3", "--per-class", "6", "--batch", "16", "--device", "cpu")

# The second process ends itself in the epoch after the first that was saved.
PROGRAM = """
import os, shutil, signal, threading, time
from pathlib import Path

def die():
    while not Path(".dying.pt.resume").exists():
        time.sleep(0.002)
    shutil.copy(".dying.pt.resume", "at-death.pt")
    os.kill(os.getpid(), signal.SIGKILL)

if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0"):
    threading.Thread(target=die, daemon=True).start()
from speechscope.cli import main
main()
"""


@pytest.fixture
def corpus(workdir: Path) -> Path:
    corpora.timit(workdir / "timit")
    assert cli.run(["prepare", "timit", "-q"]) == 0
    (workdir / "program.py").write_text(PROGRAM)
    return workdir


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [sys.executable, *launch, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.mark.heavy
def test_a_process_that_dies_is_replaced_and_the_weights_are_the_same(corpus: Path) -> None:
    done = torchrun(corpus, "-m", "speechscope", *TRAIN, "-o", "whole.pt")
    assert done.returncode == 0, done.stderr
    again = ("--max-restarts=1", "program.py", *TRAIN, "--resume", "-o", "dying.pt")
    done = torchrun(corpus, *again)
    assert done.returncode == 0, done.stderr
    assert not (corpus / ".dying.pt.resume").exists()
    whole, dying = (Checkpoint(corpus / f"{name}.pt", "model") for name in ("whole", "dying"))
    # The epochs before were not done again: not even their durations changed.
    before = Checkpoint(corpus / "at-death.pt").values["state"]["history"]
    assert 1 <= len(before) < 3
    for one, other in zip(before, dying.values["history"], strict=False):
        assert one["seconds"] == other["seconds"]
    for one, other in zip(whole.values["history"], dying.values["history"], strict=True):
        assert one["loss"] == other["loss"]
    for name, value in whole.values["state"]["weights"].items():
        assert torch.equal(value, dying.values["state"]["weights"][name]), name
