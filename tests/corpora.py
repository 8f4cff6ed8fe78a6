"""Tiny corpora in TIMIT layout for the tests, made from noise and tones."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
PHONES = ("h#", "aa", "s", "tcl", "t", "iy", "q", "h#")


def recording(seconds: float = 0.8, seed: int = 0) -> np.ndarray:
    """Return quiet noise with a tone, (n,) float32."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (200 + 100 * (seed % 7)) * time)
    samples: np.ndarray = (0.1 * tone + 0.01 * rng.normal(size=len(time))).astype(np.float32)
    return samples


def labels(samples: int, phones: tuple[str, ...] = PHONES) -> str:
    """Divide a recording evenly among phones."""
    edges = np.linspace(0, samples, len(phones) + 1).astype(int)
    rows = zip(edges[:-1], edges[1:], phones, strict=True)
    return "".join(f"{start} {stop} {phone}\n" for start, stop, phone in rows)


def utterance(folder: Path, name: str, *, seed: int = 0, suffix: str = ".WAV") -> Path:
    """Write one recording with its ``.PHN``; return the recording's path."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = recording(seed=seed)
    path = folder / f"{name}{suffix}"
    container = {"wav": "WAV", "flac": "FLAC", "sph": "NIST"}[suffix.lower().split(".")[-1]]
    soundfile.write(path, samples, RATE, format=container, subtype="PCM_16")
    phn = ".phn" if suffix.islower() else ".PHN"
    (folder / f"{name}{phn}").write_text(labels(len(samples)))
    return path


def spoken(root: Path, speakers: int = 2, sentences: int = 2) -> Path:
    """Write a corpus as `timit` does, of recordings of two seconds and more, with their words."""
    for path in timit(root, speakers, sentences).rglob("*.PHN"):
        path.with_suffix(".TXT").write_text("0 12800 see the moon\n")
        samples = np.tile(recording(seed=len(path.stem)), 3)
        soundfile.write(path.with_suffix(".WAV"), samples, RATE, subtype="PCM_16")
        path.write_text(labels(len(samples), PHONES * 3))
    return root


def timit(root: Path, speakers: int = 3, sentences: int = 4) -> Path:
    """Write a corpus of `speakers` training and one test speaker."""
    for number in range(speakers + 1):
        split = "TEST" if number == speakers else "TRAIN"
        for sentence in range(sentences):
            name = f"SX{10 * number + sentence}"
            folder = root / split / f"DR{number % 2 + 1}" / f"FAB{number}0"
            utterance(folder, name, seed=10 * number + sentence)
    return root
