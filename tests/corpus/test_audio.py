from pathlib import Path

import corpora
import numpy as np
import pytest
import soundfile

from speechscope.corpus.audio import BadRecording, read_audio


def write(path: Path, samples: np.ndarray, rate: int = 16000, container: str = "WAV") -> Path:
    subtype = "FLOAT" if container == "WAV" else "PCM_16"
    soundfile.write(path, samples, rate, format=container, subtype=subtype)
    return path


@pytest.mark.parametrize("container", ["WAV", "FLAC", "NIST"])
def test_samples_come_back(tmp_path: Path, container: str) -> None:
    samples = corpora.recording()
    read, scale = read_audio(write(tmp_path / "a", samples, container=container), 16000)
    assert scale == 1.0
    np.testing.assert_allclose(read, samples, atol=2**-15)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = corpora.recording(seed=1)
    read, _ = read_audio(write(tmp_path / "a", np.stack([left, 0 * left], axis=1)), 16000)
    np.testing.assert_allclose(read, left / 2, atol=1e-6)


def test_another_rate_keeps_the_pitch(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(22050) / 22050).astype(np.float32)
    read, scale = read_audio(write(tmp_path / "a", tone, 22050), 16000)
    assert len(read) == 16000 and scale == pytest.approx(16000 / 22050)
    assert np.abs(np.fft.rfft(read)).argmax() == 500


@pytest.mark.parametrize("container", ["WAV", "NIST", "FLAC"])
def test_a_truncated_file_is_found(tmp_path: Path, container: str) -> None:
    path = write(tmp_path / "a", corpora.recording(), container=container)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadRecording, match=r"is truncated|cannot be read"):
        read_audio(path, 16000)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(100, dtype=np.float32), "is silent"),
        (np.zeros(0, dtype=np.float32), "holds no samples"),
        (np.array([0.1, np.nan], dtype=np.float32), "not numbers"),
    ],
)
def test_useless_recordings_are_named(tmp_path: Path, samples: np.ndarray, reason: str) -> None:
    with pytest.raises(BadRecording, match=reason):
        read_audio(write(tmp_path / "a", samples), 16000)


def test_what_is_not_audio_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("not a recording")
    with pytest.raises(BadRecording, match="cannot be read"):
        read_audio(tmp_path / "a", 16000)
