"""`doctor` says whether a machine is fit, and with exit code 1 what to do where it is not."""

import json
from pathlib import Path

import pytest

from speechscope.cli import run
from speechscope.networks import kernels
from speechscope.stages.doctor import KNOWN


def found(text: str) -> dict[str, tuple[str, str]]:
    rows = json.loads(text)
    assert all(set(row) == {"looked at", "found", "verdict"} for row in rows)
    return {row["looked at"]: (row["found"], row["verdict"]) for row in rows}


def test_a_fit_machine_has_a_line_for_everything(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechscope.stages.doctor.STEPS", 3)
    assert run(["doctor", "--json"]) == 0
    rows = found(capsys.readouterr().out)
    assert {verdict for _, verdict in rows.values()} == {"ok"}
    assert {"python", "torch", "cpu", "cuda", "kernels", "FLAC", "fonts", "disk", "speed"} <= set(
        rows
    )
    took, known = rows["speed"][0].split("; quiet, ")
    assert "ms a training step" in took
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    assert all(f"| {name} | {ms:g} ms |" in page for name, ms in KNOWN) and KNOWN[0][0] in known
    assert list(workdir.iterdir()) == []


def test_a_wrong_kernel_is_exit_code_1_with_its_layer_and_the_remedy(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechscope.stages.doctor.STEPS", 3)
    name = next(kernels.cases())[0]
    monkeypatch.setattr(kernels, "cases", lambda: [next(iter(CASES))])
    monkeypatch.setattr(kernels, "faults", lambda *_: ["torch.float32 output: 1.2"])
    assert run(["doctor", "--json"]) == 1
    captured = capsys.readouterr()
    what, verdict = found(captured.out)[f"layer {name}"]
    assert what == "torch.float32 output: 1.2" and "another release of PyTorch" in verdict
    assert f"not fit: layer {name}" in captured.err


CASES = list(kernels.cases())[:1]


def test_a_disk_that_cannot_be_written_is_named(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("speechscope.stages.doctor.STEPS", 3)
    monkeypatch.setattr(kernels, "cases", lambda: CASES)
    monkeypatch.setattr("tempfile.mkdtemp", full)
    assert run(["doctor", "--json"]) == 1
    what, verdict = found(capsys.readouterr().out)["disk"]
    assert "No space left" in what and "can be written" in verdict


def test_letters_that_a_font_lacks_are_named(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechscope.stages.doctor.STEPS", 3)
    monkeypatch.setattr("speechscope.stages.doctor.LETTERS", "aə\ue001")
    monkeypatch.setattr(kernels, "cases", lambda: CASES)
    assert run(["doctor", "--json"]) == 1
    what, verdict = found(capsys.readouterr().out)["fonts"]
    assert what.endswith("without \ue001") and "install the DejaVu" in verdict
