"""What would be read: without anything being written, and the same in the report."""

import json
from pathlib import Path

import cases
import corpora
import pytest

from speechscope.cli import run
from speechscope.corpus.store import Corpus
from speechscope.registry import CHAPTERS
from speechscope.settings import make
from speechscope.stages.report import Report


def shown(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, str]:
    assert run(["prepare", "corpus", "--dry-run", "--json", *options]) == 0
    return {row["what"]: row["found"] for row in json.loads(capsys.readouterr().out)}


def test_a_dry_run_says_what_prepare_does(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpora.timit(workdir / "corpus", speakers=2, sentences=3)
    (workdir / "corpus/TRAIN/DR1/FAB00/SX0.PHN").write_text("0 1600 aa\n1600 3200 xyz\n")
    found = shown(capsys)
    assert found == {
        "layout": "timit, 9 recordings",
        "speakers": "3: FAB00 3 recordings, FAB10 3 recordings, FAB20 3 recordings",
        "splits": "train 6 recordings of 2 speakers (36 items), "
        "test 3 recordings of 1 speakers (21 items)",
        "phone set": "timit-48 knows 65 of 66 labels",
        "labels": "8: h# 16, aa 9, s 8, tcl 8, t 8, iy 8, q 8, xyz 1",
        "left out": "label q 8",
        "cannot be used": "corpus/TRAIN/DR1/FAB00/SX0.PHN: 1600-3200: unknown phone 'xyz'",
        "note 1": "--phone-set timit-48: it knows 98% of the labels",
        "note 2": "labels end before 50% of the recording, or count in another unit "
        "(1 recordings): corpus/TRAIN/DR1/FAB00/SX0.PHN (0.20 of 0.80 s)",
    }
    assert [path.name for path in workdir.iterdir()] == ["corpus"]
    assert run(["prepare", "corpus", "-q"]) == 4
    prepared = Corpus(workdir / "corpus.zarr")
    assert len(prepared.splits) == 36 + 21
    settings = make(Report, "report", {"artifacts": (prepared.path,)})
    facts = CHAPTERS["corpus"](prepared.path, settings).facts
    for what in ("layout", "speakers", "splits", "left out", "cannot be used"):
        assert facts[what] == found[what]
    # The labels are the classes they became.
    assert facts["labels"] == "6: sil 16, aa 9, iy 8, s 8, t 8, cl 8"


def test_a_dry_run_says_what_would_be_refused(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.timit(rate=48000)(workdir / "corpus")
    found = shown(capsys)
    assert "corpus/TRAIN/DR1/FCJF0/SX37.WAV: has labels at another" in found["cannot be used"]
    assert found["refused"].startswith("corpus has no usable training segment")
    found = shown(capsys, "--label-rate", "16000")
    assert "refused" not in found and found["left out"] == "longer than 2554 samples 2"


def test_tiers_and_speakers_are_shown(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases.both(".eaf", cases.eaf(("phones", "Kim", cases.FIVE), ("phones", "Lee", cases.FIVE)))(
        workdir / "corpus"
    )
    found = shown(capsys)
    assert found["layout"] == "elan, 4 recordings; tiers phones 4"
    assert found["speakers"] == "2: Kim 2 recordings, Lee 2 recordings"
