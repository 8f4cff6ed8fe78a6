"""Killed at any moment, a command leaves the old artifact or none, and can be run again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import corpora
import numpy as np
import pytest

STAGES: dict[str, tuple[list[str], str]] = {
    "synth": (["synth", "made", "--speakers", "4", "--sentences", "4", "--workers", "2"], "made"),
    "prepare": (["prepare", "timit", "--workers", "2"], "corpus.zarr"),
    "train": (["train", "--epochs", "3", "--per-class", "60"], "model.pt"),
    "decode-train": (["decode-train", "--epochs", "1", "--per-class", "10"], "decoder.pt"),
    "invert": (
        ["invert", "--layer", "1,9", "--method", "bp,decode+bp", "--steps", "150", "--all"],
        "inversion.zarr",
    ),
}


def start(workdir: Path, arguments: list[str]) -> "subprocess.Popen[bytes]":
    # Its own process group: a kill reaches the worker processes too.
    return subprocess.Popen(
        [sys.executable, "-m", "speechscope", "-C", str(workdir), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finish(workdir: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "speechscope", "-C", str(workdir), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def sound(workdir: Path, name: str) -> None:
    """Fail if what stands at the final name is not a whole artifact."""
    path = workdir / name
    if not path.exists():
        return
    if name == "made":
        for phn in path.rglob("*.PHN"):
            assert phn.with_suffix(".WAV").stat().st_size > 44 and phn.read_text().endswith("\n")
        assert len(list(path.rglob("*.PHN"))) == 16
    else:
        finish(workdir, "check", "--deep", name)


def kill_repeatedly(workdir: Path, stage: str, kills: int) -> None:
    arguments, name = STAGES[stage]
    rng = np.random.default_rng(list(stage.encode()))
    begun = time.monotonic()
    finish(workdir, *arguments)
    whole = time.monotonic() - begun
    for number in range(kills):
        # Half of the runs replace an old artifact, half start from none.
        fresh = number % 2 == 0
        if fresh:
            path = workdir / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        process = start(workdir, arguments if fresh else [*arguments, "--force"])
        time.sleep(float(rng.uniform(0.05, 1.0)) * whole)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        sound(workdir, name)
        if not fresh:
            assert (workdir / name).exists(), "the old artifact is gone"
        if fresh and not (workdir / name).exists():
            finish(workdir, *arguments)  # what was left behind does not stand in the way
    finish(workdir, *arguments, "--force")
    assert not [p.name for p in workdir.iterdir() if p.name.startswith(f".{name}")]


def lay_out(workdir: Path, stage: str) -> None:
    """Run the stages before `stage` on a small corpus."""
    corpora.timit(workdir / "timit", speakers=4, sentences=6)
    for earlier, (arguments, _) in STAGES.items():
        if earlier == stage:
            return
        if earlier != "synth":
            finish(workdir, *arguments)


def test_prepare_survives_three_kills(tmp_path: Path) -> None:
    lay_out(tmp_path, "prepare")
    kill_repeatedly(tmp_path, "prepare", 3)


@pytest.mark.heavy
@pytest.mark.parametrize("stage", STAGES)
def test_every_writing_command_survives_twenty_kills(tmp_path: Path, stage: str) -> None:
    lay_out(tmp_path, stage)
    kill_repeatedly(tmp_path, stage, 20)
