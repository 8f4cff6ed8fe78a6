"""Windows of utterances that a letter network answers with a letter."""

from pathlib import Path

import corpora
import numpy as np
import pytest
import soundfile
import torch

from speechscope.cli import run
from speechscope.corpus.letters import SPOKEN
from speechscope.corpus.store import Corpus
from speechscope.errors import SpeechscopeError
from speechscope.networks import subject
from speechscope.networks.layers import unpadded
from speechscope.networks.subject import LetterWindows
from speechscope.networks.wav2letter import FRAMES, Wav2Letter


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds an utterance: 300 frames."""
    root = tmp_path_factory.mktemp("letters")
    for split, name in (("TRAIN", "FAA0"), ("TEST", "FAB0")):
        folder = root / "timit" / split / "DR1" / name
        folder.mkdir(parents=True)
        for number in range(2):
            samples = corpora.recording(3.0, seed=number)
            soundfile.write(folder / f"SX{number}.WAV", samples, 16000, subtype="PCM_16")
            (folder / f"SX{number}.PHN").write_text(corpora.labels(len(samples)))
            (folder / f"SX{number}.TXT").write_text(f"0 {len(samples)} Some letters.\n")
    path = root / "corpus.zarr"
    arguments = ["prepare", str(root / "timit"), "--recipe", "krug2018", "-q", "-o", str(path)]
    assert run(arguments) == 0
    return path


def network() -> Wav2Letter:
    torch.manual_seed(0)
    made = Wav2Letter(128, 0.02).eval().requires_grad_(False)
    # So that it answers with letters.
    made.parameters_of("conv12")[1].data[len(SPOKEN) :] = -1e3
    return made


@pytest.mark.parametrize("at_once", [subject.AT_ONCE, 7])
def test_a_window_without_padding_gives_the_answer_in_the_utterance(
    corpus: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "AT_ONCE", at_once)  # of an hour, many times as many
    whole = network()
    windows = LetterWindows(corpus, whole)
    assert windows.input_shape == (1, 128, FRAMES)
    items = windows.items("test")
    part = unpadded(whole, len(whole.table), windows.input_shape)
    x = torch.from_numpy(windows.centred(items))
    scores = part(x)[:, :, 0, 0]
    plain = Corpus(corpus)
    edges, wanted, places = plain.artifact.read("input_offset"), [], []
    for utterance in np.flatnonzero(plain.splits == 2):
        values = plain.utterance_inputs(np.array([utterance]))[0] - plain.mean[..., None]
        found = whole(torch.from_numpy(values)[None])[0]
        # 206 frames are seen, 101 of them before the frame an answer is counted at, 2 apart.
        for output in range(51, (values.shape[2] - 105) // 2 + 1):
            wanted.append(found[:, output])
            places.append(edges[utterance] + 2 * output - 101)
    assert items.tolist() == places
    torch.testing.assert_close(scores, torch.stack(wanted), rtol=1e-4, atol=1e-5)
    assert windows.labels[items].tolist() == scores.argmax(1).tolist()


def test_answers_that_are_no_letters_are_left_out(corpus: Path) -> None:
    whole = network()
    bias = whole.parameters_of("conv12")[1].data
    bias[-1] = 1e3
    with pytest.raises(SpeechscopeError, match="no test utterance answered with a letter"):
        LetterWindows(corpus, whole).items("test")
