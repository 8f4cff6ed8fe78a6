"""The synthesized corpus: its layout, that it repeats, and that its labels fit its sound."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from speechscope.corpus.layouts.timit import Timit
from speechscope.corpus.phones import PHONES_48, TIMIT_61, TO_48
from speechscope.corpus.utterances import Segment, Utterance
from speechscope.errors import SpeechscopeError
from speechscope.stages.synth import Synth
from speechscope.synth.corpus import SynthReport, is_synthetic, synthesize
from speechscope.synth.speakers import TEST_SHARE

SPEAKERS, SENTENCES = 3, 5
STOPS = {"p": "pcl", "t": "tcl", "k": "kcl", "b": "bcl", "d": "dcl", "g": "gcl"}


def digest(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def make(directory: Path, **settings: object) -> SynthReport:
    directory.mkdir()
    wanted: dict[str, Any] = {"speakers": SPEAKERS, "sentences": SENTENCES} | settings
    return synthesize(directory, Synth(directory=directory, **wanted))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SynthReport]:
    directory = tmp_path_factory.mktemp("synth") / "timit"
    return directory, make(directory, workers=2)


def segments(path: Path) -> list[Segment]:
    return list(Timit().marks(Utterance("", "", path.stem, path, path)).segments)


def read(path: Path) -> tuple[NDArray[np.float64], list[Segment]]:
    samples, _ = soundfile.read(path.with_suffix(".WAV"))
    return samples, segments(path.with_suffix(".PHN"))


def test_layout_is_timits(corpus: tuple[Path, SynthReport]) -> None:
    directory, _ = corpus
    scan = Timit().scan(directory)
    assert scan.problems == ()
    assert len(scan.utterances) == SPEAKERS * SENTENCES
    speakers = {(u.split, u.speaker) for u in scan.utterances}
    assert sorted(split for split, _ in speakers) == ["test", "train", "train"]
    for utterance in scan.utterances:
        region, speaker = utterance.audio.parts[-3:-1]
        assert region in {f"DR{n}" for n in range(1, 9)}
        assert len(speaker) == 5 and speaker[0] in "FM" and speaker[4].isdigit()
        assert utterance.name[:2] in {"SA", "SX", "SI"}
        for suffix in (".WAV", ".PHN", ".WRD", ".TXT"):
            assert utterance.audio.with_suffix(suffix).is_file()


def test_report_counts_what_was_written(corpus: tuple[Path, SynthReport]) -> None:
    directory, report = corpus
    labels = [segments(path) for path in directory.rglob("*.PHN")]
    assert (report.speakers, report.utterances) == (SPEAKERS, SPEAKERS * SENTENCES)
    assert report.phones == sum(map(len, labels))
    assert report.seconds == pytest.approx(sum(segments[-1].stop for segments in labels) / 16_000)


def test_recordings_are_16_bit_riff_at_16_khz(corpus: tuple[Path, SynthReport]) -> None:
    for path in corpus[0].rglob("*.WAV"):
        info = soundfile.info(path)
        found = (info.format, info.subtype, info.samplerate, info.channels)
        assert found == ("WAV", "PCM_16", 16_000, 1)
        samples, _ = soundfile.read(path, dtype="int16")
        assert np.abs(samples.astype(int)).max() < 32_767
        # Never digitally silent: 5 ms hold 80 samples of noise.
        assert np.lib.stride_tricks.sliding_window_view(samples, 80).any(axis=1).all()


def test_labels_are_contiguous_timit_phones(corpus: tuple[Path, SynthReport]) -> None:
    for path in corpus[0].rglob("*.PHN"):
        samples, segments = read(path)
        assert segments[0].start == 0 and segments[-1].stop == len(samples)
        assert all(a.stop == b.start for a, b in pairwise(segments))
        assert all(segment.stop - segment.start >= 64 for segment in segments)  # 4 ms
        assert {segment.label for segment in segments} <= set(TIMIT_61)
        assert segments[0].label == segments[-1].label == "h#"


def test_words_and_text_are_those_read(corpus: tuple[Path, SynthReport]) -> None:
    for path in corpus[0].glob("*/*/*/*.TXT"):
        start, stop, sentence = path.read_text().strip().split(" ", 2)
        words = segments(path.with_suffix(".WRD"))
        phones = segments(path.with_suffix(".PHN"))
        assert (int(start), int(stop)) == (0, phones[-1].stop)
        assert [word.label for word in words] == [
            "".join(c for c in word.lower() if c.isalpha() or c == "'") for word in sentence.split()
        ]
        assert all(word.start < word.stop for word in words)
        assert all(a.stop <= b.start for a, b in pairwise(words))
        assert {word.start for word in words} <= {phone.start for phone in phones}


def test_closures_are_quiet_and_releases_are_not(corpus: tuple[Path, SynthReport]) -> None:
    rises, depths = [], []
    for path in corpus[0].rglob("*.PHN"):
        samples, segments = read(path)
        high = np.diff(samples, n=2, prepend=[0.0, 0.0])  # +12 dB per octave
        loud = np.sqrt(np.mean(np.square(samples)))
        for closure, release in pairwise(segments):
            if STOPS.get(release.label) == closure.label:
                before = high[release.start - 80 : release.start - 16]
                after = high[release.start : release.start + 80]
                rises.append(10 * np.log10(np.mean(after**2) / np.mean(before**2)))
                inside = samples[closure.start + 32 : closure.stop - 16]
                depths.append(20 * np.log10(loud / np.sqrt(np.mean(inside**2))))
    assert len(rises) > 50
    # A closure is silence or a voice bar; a release is a burst of noise.
    assert np.quantile(depths, 0.05) > 6
    assert np.quantile(rises, 0.05) > 10


def test_fricatives_and_vowels_lie_where_they_should(corpus: tuple[Path, SynthReport]) -> None:
    centres: dict[str, list[float]] = {}
    for path in corpus[0].rglob("*.PHN"):
        samples, segments = read(path)
        for segment in segments:
            power = np.square(np.abs(np.fft.rfft(samples[segment.start : segment.stop])))
            hertz = np.linspace(0, 8000, len(power))
            centre = float(np.sum(power * hertz) / np.sum(power))
            centres.setdefault(segment.label, []).append(centre)
    for fricative in ("s", "sh"):
        assert np.quantile(centres[fricative], 0.1) > 2500
    for vowel in {"iy", "ae", "aa", "ao", "uw", "ow", "ax", "ah"} & set(centres):
        assert np.quantile(centres[vowel], 0.9) < 2500


@pytest.mark.parametrize("workers", [1, 3])
def test_same_seed_same_bytes(
    corpus: tuple[Path, SynthReport], tmp_path: Path, workers: int
) -> None:
    make(tmp_path / "again", workers=workers)
    assert digest(tmp_path / "again") == digest(corpus[0])


def test_another_seed_gives_another_corpus(
    corpus: tuple[Path, SynthReport], tmp_path: Path
) -> None:
    make(tmp_path / "other", speakers=2, sentences=1, seed=1)
    assert not set(digest(tmp_path / "other").values()) & set(digest(corpus[0]).values())


def test_sphere_holds_the_same_samples(tmp_path: Path) -> None:
    make(tmp_path / "riff", speakers=1, sentences=1)
    make(tmp_path / "sphere", speakers=1, sentences=1, sphere=True)
    (riff,) = (tmp_path / "riff").rglob("*.WAV")
    (sphere,) = (tmp_path / "sphere").rglob("*.WAV")
    assert sphere.read_bytes().startswith(b"NIST_1A\n   1024\n")
    np.testing.assert_array_equal(
        soundfile.read(sphere, dtype="int16")[0], soundfile.read(riff, dtype="int16")[0]
    )


def test_plan_is_timits(tmp_path: Path) -> None:
    make(tmp_path / "ten", speakers=4, sentences=10, workers=2)
    texts: dict[str, set[str]] = {"TRAIN": set(), "TEST": set()}
    for folder in (tmp_path / "ten").glob("*/*/*"):
        names = [path.stem for path in folder.glob("*.TXT")]
        assert sorted(name[:2] for name in names) == ["SA"] * 2 + ["SI"] * 3 + ["SX"] * 5
        texts[folder.parts[-3]] |= {name for name in names if name[:2] != "SA"}
    assert len(texts["TEST"]) == 8
    assert not texts["TEST"] & texts["TRAIN"]
    assert round(TEST_SHARE, 2) == 0.27


@pytest.mark.heavy
def test_default_corpus_holds_all_48_classes_in_both_splits(tmp_path: Path) -> None:
    make(tmp_path / "default", speakers=40, sentences=10, workers=2)
    for split, least in (("TRAIN", 30), ("TEST", 10)):
        counts = Counter(
            TO_48[segment.label]
            for path in (tmp_path / "default" / split).rglob("*.PHN")
            if not path.name.startswith("SA")
            for segment in segments(path)
            if segment.stop - segment.start <= 2554
        )
        assert {phone for phone in PHONES_48 if counts[phone] < least} == set()


def test_progress_counts_speakers(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    settings = Synth(directory=tmp_path, speakers=2, sentences=1)
    synthesize(tmp_path, settings, lambda *call: calls.append(call))
    assert calls == [(1, 2), (2, 2)]


def test_a_corpus_is_known_again(corpus: tuple[Path, SynthReport], tmp_path: Path) -> None:
    assert is_synthetic(corpus[0])
    (tmp_path / "SYNTHETIC.TXT").write_text("mine")
    assert not is_synthetic(tmp_path)
    assert not is_synthetic(corpus[0] / "TRAIN")


def test_missing_praat_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "parselmouth", None)
    with pytest.raises(SpeechscopeError, match=r"pip install 'speechscope\[demo\]'"):
        make(tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"language": "fr"}, "--language fr.*en-us"),
        ({"sentences": 500}, "500 sentences per speaker .* ask for fewer"),
    ],
)
def test_impossible_corpora_are_refused(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(SpeechscopeError, match=message):
        make(tmp_path / "impossible", **settings)
    assert list((tmp_path / "impossible").iterdir()) == []
