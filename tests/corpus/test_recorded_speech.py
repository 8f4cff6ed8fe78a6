import json
from pathlib import Path

import pytest

from speechscope.cli import run


@pytest.mark.heavy
@pytest.mark.real
def test_every_recording_is_read_and_no_item_lost_for_a_wrong_reason(
    real_speech: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prepare", str(real_speech / "librispeech-phones"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["utterances"], facts["skipped"]) == (351, [])
    labels = (real_speech / "librispeech-phones").rglob("*.PHN")
    segments = sum(len(path.read_text().splitlines()) for path in labels)
    dropped = facts["dropped"]["longer than 2554 samples"]
    assert facts["items"] + dropped == segments
