"""A corpus that grew: what has not changed is taken as it was, and it is as if all were read."""

import shutil
import time
from pathlib import Path

import corpora
import numpy as np
import pytest
from preparing import SETTINGS

from speechscope.cli import run
from speechscope.corpus.audio import read_audio
from speechscope.corpus.store import Corpus

UNITS = {
    "segment": [],
    "frame": ["--recipe", "pellegrini2016", "--phone-set", "timit-48"],
    "window": ["--recipe", "muckenhirn2019"],
    "utterance": ["--recipe", "krug2018"],
}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings whose sound was read, by name."""
    names: list[str] = []
    plain = read_audio

    def counted(path: Path, rate: int) -> tuple[np.ndarray, float]:
        names.append(path.stem)
        return plain(path, rate)

    monkeypatch.setattr("speechscope.corpus.reading.read_audio", counted)
    return names


@pytest.mark.parametrize("unit", UNITS)
def test_only_what_changed_is_read(unit: str, workdir: Path, read: list[str]) -> None:
    root = corpora.spoken(workdir / "timit", speakers=2, sentences=3)
    time.sleep(1.1)  # a corpus says the second it was begun in
    assert run(["prepare", "timit", "-q", *UNITS[unit]]) == 0
    assert len(read) == 9
    # One is new, in front of all; one has other labels, one is gone, one is damaged.
    corpora.utterance(root / "TRAIN/DR1/FAA00", "SX9", seed=5)
    (root / "TRAIN/DR1/FAA00/SX9.TXT").write_text("0 12800 a word\n")
    (root / "TRAIN/DR1/FAB00/SX1.PHN").write_text("0 1600 aa\n1600 3200 s\n3200 30000 h#\n")
    (root / "TRAIN/DR2/FAB10/SX10.WAV").unlink()
    (root / "TRAIN/DR2/FAB10/SX10.PHN").unlink()
    damaged = root / "TRAIN/DR2/FAB10/SX11.WAV"
    damaged.write_bytes(damaged.read_bytes()[:9000])
    read.clear()
    time.sleep(1.1)
    assert run(["prepare", "timit", "-q", "--update", *UNITS[unit]]) == 4
    assert sorted(read) == ["SX1", "SX11", "SX9"]
    assert run(["prepare", "timit", "-q", "-o", "all.zarr", *UNITS[unit]]) == 4
    updated, whole = Corpus(workdir / "corpus.zarr"), Corpus(workdir / "all.zarr")
    assert sorted(updated.artifact) == sorted(whole.artifact)
    for name in whole.artifact:
        one, two = updated.artifact.read(name), whole.artifact.read(name)
        if one.dtype.kind == "O":
            assert one.tolist() == two.tolist()
        else:
            np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-7)
    for name in ("skipped", "dropped", "seconds"):
        assert updated.config[name] == whole.config[name]
    read.clear()
    assert run(["prepare", "timit", "-q", "--update", *UNITS[unit]]) == 4
    assert read == ["SX11"]  # what was wrong with it may be so no more
    for name in whole.artifact:
        np.testing.assert_array_equal(
            Corpus(workdir / "corpus.zarr").artifact.read(name), updated.artifact.read(name)
        )


def test_other_settings_read_all_again(
    workdir: Path, read: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    corpora.timit(workdir / "timit", speakers=1, sentences=2)
    time.sleep(1.1)
    assert run(["prepare", "timit", "-q", "--update"]) == 0  # there is none yet
    read.clear()
    assert run(["prepare", "timit", "--update", "--bins", "101"]) == 0
    assert len(read) == 4
    assert "corpus.zarr was prepared otherwise: all is read again" in capsys.readouterr().err
    read.clear()
    # Another split asks for nothing to be read.
    assert run(["prepare", "timit", "--update", "--bins", "101", "--split", "share:0.5"]) == 0
    assert read == [] and SETTINGS.update is False
    assert run(["prepare", "timit", "--update", "--shard", "1/2"]) == 2


def test_a_class_more_reads_all_again(workdir: Path, read: list[str]) -> None:
    root = corpora.timit(workdir / "timit", speakers=1, sentences=2)
    options = ["--phone-set", "as-is"]
    assert run(["prepare", "timit", "-q", *options]) == 0
    read.clear()
    shutil.copytree(root / "TRAIN/DR1/FAB00", root / "TRAIN/DR1/FZZ00")
    (root / "TRAIN/DR1/FZZ00/SX0.PHN").write_text("0 1600 new\n")
    assert run(["prepare", "timit", "-q", "--update", *options]) == 0
    assert len(read) == 6
