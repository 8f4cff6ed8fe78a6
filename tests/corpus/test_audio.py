import io
import os
import struct
import tracemalloc
from pathlib import Path

import corpora
import fuzzing
import numpy as np
import pytest
import soundfile

from speechscope.corpus.audio import length_of, read_audio
from speechscope.corpus.utterances import BadRecording


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


@pytest.mark.parametrize(
    "container", ["WAV", "WAVEX", "RF64", "NIST", "AIFF", "FLAC", "OGG", "MP3"]
)
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_truncated_file_is_found(
    tmp_path: Path, container: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a"
    soundfile.write(path, corpora.recording(2.0), 16000, format=container)
    read_audio(path, 16000)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BadRecording, match=r"is truncated|cannot be read"):
        read_audio(path, 16000)
    capfd.readouterr()  # what libsndfile's MP3 decoder says itself


def test_an_ogg_file_without_its_last_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a"
    soundfile.write(path, corpora.recording(2.0), 16000, format="OGG")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"OggS")])
    with pytest.raises(BadRecording, match="its last page is missing"):
        read_audio(path, 16000)


def wav_bytes(samples: np.ndarray, subtype: str = "PCM_16") -> bytearray:
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format="WAV", subtype=subtype)
    return bytearray(file.getvalue())


def put(content: bytearray, position: int, form: str, value: int) -> bytes:
    struct.pack_into(form, content, position, value)
    return bytes(content)


@pytest.mark.parametrize(
    ("position", "form", "value", "reason"),
    [
        (22, "<H", 2, "contradicts itself"),
        (24, "<I", 8000, "contradicts itself"),
        (28, "<I", 8000, "contradicts itself"),
        (32, "<H", 4, "contradicts itself"),
        (40, "<I", 0, "goes on for 25600 bytes after the 0"),
        (40, "<I", 1000, "goes on for 24600 bytes after the 1000"),
        (40, "<I", 26000, "is truncated: 12800 of the 13000 samples"),
        (40, "<I", 0x60000000, "is truncated"),
        (36, "<I", 0x41414141, "cannot be read|has no sound"),
    ],
)
def test_a_header_that_does_not_fit_its_file_is_found(
    tmp_path: Path, position: int, form: str, value: int, reason: str
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(put(wav_bytes(corpora.recording()), position, form, value))
    with pytest.raises(BadRecording, match=reason):
        read_audio(path, 16000)


def test_what_was_written_to_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    content = wav_bytes(corpora.recording())
    put(content, 4, "<I", 0xFFFFFFFF)
    put(content, 40, "<I", 0xFFFFFFFF)
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav", 16000)[0]) == len(corpora.recording())


def test_chunks_before_and_after_the_sound_are_no_sound(tmp_path: Path) -> None:
    content = wav_bytes(corpora.recording())
    junk = b"LIST" + struct.pack("<I", 5001) + bytes(5002)
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(content[:36]) + junk + bytes(content[36:]) + junk)
    assert len(read_audio(path, 16000)[0]) == len(corpora.recording())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadRecording, match="99 bytes of its chunk 'LIST' are missing"):
        read_audio(path, 16000)


def sphere(tmp_path: Path, old: str, new: str) -> Path:
    file = io.BytesIO()
    soundfile.write(file, corpora.recording(), 16000, format="NIST", subtype="PCM_16")
    content = file.getvalue()
    assert old.encode() in content[:1024]
    head = content[:1024].replace(old.encode(), new.encode())[:1024].ljust(1024)
    path = tmp_path / "a.sph"
    path.write_bytes(head + content[1024:])
    return path


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("sample_count -i 12800", "sample_count -i 99999", "is truncated: 12800 of the 99999"),
        ("sample_count -i 12800", "sample_count -i 1000", "12800 samples, but .* counts 1000"),
        ("sample_count -i 12800", "sample_cant -i 12800", "without sample_count"),
        ("end_head", "xxx_head", "without an end|cannot be read"),
        ("sample_coding -s3 pcm", "sample_coding -s26 pcm,embedded-shorten-v2", "shorten|cannot"),
    ],
)
def test_a_sphere_header_that_does_not_fit_is_found(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    with pytest.raises(BadRecording, match=reason):
        read_audio(sphere(tmp_path, old, new), 16000)


@pytest.mark.parametrize("container", ["NIST", "FLAC", "AIFF"])
def test_memory_is_not_filled_by_what_a_header_promises(tmp_path: Path, container: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, corpora.recording(), 16000, format=container, subtype="PCM_16")
    content = bytearray(file.getvalue())
    if container == "NIST":
        head = content[:1024].replace(b"sample_count -i 12800", b"sample_count -i 99999999999")
        content[:1024] = head[:1024]
    elif container == "FLAC":
        content[22:26] = b"\xff" * 4  # the low 32 bits of the number of samples
    else:
        put(content, content.index(b"COMM") + 10, ">I", 0xFFFFFFF0)
    path = tmp_path / "a"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(BadRecording):
            read_audio(path, 16000)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


def test_a_nonsensical_rate_is_refused(tmp_path: Path) -> None:
    for rate in (1, 1_000_000_007):
        path = write(tmp_path / "a", corpora.recording(), rate)
        with pytest.raises(BadRecording, match="has a sampling rate of"):
            read_audio(path, 16000)


def test_a_recording_of_hours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speechscope.corpus.audio.LONGEST_HOURS", 0.5 / 3600)
    path = write(tmp_path / "a", corpora.recording(0.4))
    read_audio(path, 16000)
    with pytest.raises(BadRecording, match="cut it into utterances"):
        read_audio(write(path, corpora.recording(0.6)), 16000)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with fuzzing.time_limit(5), pytest.raises(BadRecording, match="is not a regular file"):
        read_audio(tmp_path / "a.wav", 16000)
    (tmp_path / "b.wav").symlink_to(tmp_path / "b.wav")
    for name in ("b.wav", "gone.wav", "x\0.wav"):
        with pytest.raises(BadRecording, match="cannot be read"):
            read_audio(tmp_path / name, 16000)
    with pytest.raises(BadRecording, match="is not a regular file"):
        read_audio(tmp_path, 16000)


def test_long_recordings_are_read_in_blocks(tmp_path: Path) -> None:
    stereo = np.stack([corpora.recording(2.0, seed) for seed in (1, 2)], axis=1)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.tile(stereo, (20, 1)), 16000, subtype="FLOAT")
    read, _ = read_audio(path, 16000)
    np.testing.assert_allclose(read, np.tile(stereo.mean(axis=1), 20), atol=1e-6)


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


@pytest.mark.parametrize(("subtype", "channels"), [("PCM_S8", 2), ("PCM_16", 1), ("PCM_24", 3)])
def test_a_flac_file_is_held_against_its_digest(
    tmp_path: Path, subtype: str, channels: int
) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, (3000, channels))
    path = tmp_path / "a.flac"
    soundfile.write(path, sound, 16000, subtype=subtype)
    assert len(read_audio(path, 16000)[0]) == 3000
    content = bytearray(path.read_bytes())
    assert content[22:26] == (3000).to_bytes(4, "big")
    content[24] ^= 1  # libsndfile would read 256 samples less and say nothing
    path.write_bytes(content)
    with soundfile.SoundFile(path) as file:
        assert len(file.read()) == 3000 - 256
    with pytest.raises(BadRecording, match="MD5"):
        read_audio(path, 16000)
    content[24] ^= 1
    content[26:42] = bytes(16)  # of an encoder that writes none
    path.write_bytes(content)
    assert len(read_audio(path, 16000)[0]) == 3000


def test_a_file_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    path.write_text("words")

    def denied(self: Path, *how: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    for read in (length_of, lambda path: read_audio(path, 16000)):
        with pytest.raises(BadRecording, match=r"cannot be read \(Permission denied\)"):
            read(path)
