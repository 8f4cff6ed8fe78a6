"""Preparing a corpus, against the loops and libraries a user would take.

    python benchmarks/prepare.py CORPUS [--peers PYTHON] [--repeats N] [--copies N] [--workers N]

CORPUS is in TIMIT layout. Every contestant is a process of its own, from recordings and labels on
disk to arrays synced to disk, start of the interpreter included, two threads or processes each.
First what they wrote is compared; then they run in turn, and the medians of the ratios of their
wall times are printed (and of their CPU times, which a busy machine disturbs less). PYTHON is an
interpreter that has librosa and lhotse; without it those are left out.

The peers write one plain ``.npy``; `prepare` compresses, adds checksums, labels and waveforms.

    python benchmarks/prepare.py CORPUS --growth 10

prepares the corpus and one ten times as large (the same recordings under other speakers' names),
and prints seconds for an hour of speech and the peak memory of both.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE, SAMPLES, WINDOW, HOP, POINTS = 16000, 2554, 267, 145, 400
FRAMES = (SAMPLES - WINDOW) // HOP + 1
BINS = POINTS // 2 + 1
DROPPED = ("q",)
TOLERANCE = 2e-5
"""Largest difference, of values whose deviation is near 0.4: single precision."""
LONG_WINDOW, LONG_HOP, LONG_BINS = 480, 160, 257
"""The spectrogram compared with lhotse: powers of two, and with a window of three hops its frames,
which begin a hop before the recording, are those of `prepare` one further on."""


@dataclass(frozen=True)
class Run:
    """What a contestant took."""

    wall: float
    cpu: float
    memory: float


# --- the peers, each as it would be written for this one purpose


def segments(root: Path) -> Iterator[tuple[Path, list[tuple[int, int]]]]:
    """Yield every recording that is used, and the segments of it that are, in order."""
    for split in ("TRAIN", "TEST"):
        for labels in sorted((root / split).rglob("*.PHN"), key=lambda p: (p.parent.name, p.stem)):
            rows = [line.split() for line in labels.read_text().splitlines()]
            kept = [
                (int(start), int(stop))
                for start, stop, phone in rows
                if phone not in DROPPED and int(stop) - int(start) <= SAMPLES
            ]
            yield labels.with_suffix(".flac"), kept


def save(path: Path, values: NDArray[np.float32]) -> None:
    """Write an array and wait for the disk."""
    with path.open("wb") as file:
        np.save(file, values)
        file.flush()
        os.fsync(file.fileno())


def padded(samples: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
    """Return a segment with zeros on both sides."""
    stop = min(stop, len(samples))
    left = (SAMPLES - (stop - start)) // 2
    return np.pad(samples[start:stop], (left, SAMPLES - (stop - start) - left))


def with_librosa(root: Path, out: Path) -> None:
    """Transform segment by segment with librosa."""
    import librosa

    # librosa puts the window in the middle of its transform: shift, and turn the phase back.
    left = (POINTS - WINDOW) // 2
    turn = np.exp(2j * np.pi * np.arange(BINS) * left / POINTS)[:, None].astype(np.complex64)
    spectra = []
    for audio, kept in segments(root):
        samples, _ = librosa.load(audio, sr=RATE)
        for start, stop in kept:
            row = np.pad(padded(samples, start, stop), (left, POINTS - WINDOW - left))
            window = np.hamming(WINDOW)
            spectrum = librosa.stft(
                row, n_fft=POINTS, hop_length=HOP, win_length=WINDOW, window=window, center=False
            )
            spectra.append((spectrum * turn).real[None])
    save(out, np.stack(spectra).astype(np.float32))


def with_scipy(root: Path, out: Path) -> None:
    """Transform batches of recordings with scipy.fft on two threads."""
    from scipy import fft

    window = np.hamming(WINDOW).astype(np.float32)
    everything = list(segments(root))
    shape = (sum(len(kept) for _, kept in everything), 1, BINS, FRAMES)
    stored = np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=shape)
    done = 0
    for first in range(0, len(everything), 16):
        rows = []
        for audio, kept in everything[first : first + 16]:
            samples, _ = soundfile.read(audio, dtype="float32")
            rows += [padded(samples, start, stop) for start, stop in kept]
        batch = np.stack(rows)
        frames = np.lib.stride_tricks.sliding_window_view(batch, WINDOW, axis=1)[:, ::HOP]
        spectrum = fft.rfft(frames * window, POINTS, axis=2, workers=2)
        stored[done : done + len(batch), 0] = spectrum.real.transpose(0, 2, 1)
        done += len(batch)
    stored.flush()


def with_lhotse(root: Path, out: Path) -> None:
    """Store magnitude spectrograms of whole recordings with lhotse's batched extractor."""
    import lhotse
    import torch

    torch.set_num_threads(2)
    config = lhotse.SpectrogramConfig(
        frame_length=LONG_WINDOW / RATE,
        frame_shift=LONG_HOP / RATE,
        dither=0.0,
        remove_dc_offset=False,
        preemph_coeff=0.0,
        window_type="hamming",
        use_fft_mag=True,
    )
    recordings = lhotse.RecordingSet.from_recordings(
        lhotse.Recording.from_file(audio, recording_id=f"{number:06d}")
        for number, (audio, _) in enumerate(segments(root))
    )
    cuts = lhotse.CutSet.from_manifests(recordings=recordings)
    out.mkdir()
    done = cuts.compute_and_store_features_batch(
        lhotse.Spectrogram(config),
        storage_path=out / "features",
        num_workers=0,
        storage_type=lhotse.NumpyFilesWriter,
        overwrite=True,
    )
    done.to_file(out / "cuts.jsonl.gz")
    subprocess.run(["sync", "-f", str(out)], check=True)


PEERS = {"librosa": with_librosa, "scipy.fft": with_scipy, "lhotse": with_lhotse}


# --- comparing


def measured(command: list[str], **environment: str) -> Run:
    """Run a process and return what it took."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    wrapped = [sys.executable, __file__, "--watch", *command]
    done = subprocess.run(
        wrapped, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, json.loads(done.stdout.splitlines()[-1]))


def watch(command: list[str]) -> int:
    """Run a command, and print the most memory [MB] that it and its processes held together."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    most = 0.0
    while process.poll() is None:
        most = max(most, sum(resident(pid) for pid in family(process.pid)))
        time.sleep(0.05)
    print(json.dumps(most))
    return process.returncode


def family(pid: int) -> list[int]:
    """Return a process and all it started."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in listed for member in family(int(child)))]


def resident(pid: int) -> float:
    """Return the memory a process has to itself and its share of the rest [MB]."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1000
    except OSError:
        pass
    return 0.0


def prepare_command(root: Path, out: Path, workers: int, *options: str) -> list[str]:
    """Return the command line of prepare."""
    command = [sys.executable, "-m", "speechscope", "prepare", str(root), "-o", str(out), "-f"]
    return [*command, "-q", "--workers", str(workers), *options]


def compare_segments(ours: Path, theirs: Path) -> float:
    """Return the largest difference between segments as stored."""
    import zarr

    array: Any = zarr.open_group(ours, mode="r")["input"]
    other = np.load(theirs, mmap_mode="r")
    if array.shape != other.shape:
        raise SystemExit(f"shapes differ: {array.shape} and {other.shape}")
    step = array.chunks[0]
    return max(
        float(np.abs(array[i : i + step] - other[i : i + step]).max())
        for i in range(0, len(other), step)
    )


def compare_utterances(ours: Path, theirs: Path) -> float:
    """Return the largest difference between whole recordings as stored, relative to the largest."""
    import zarr

    group: Any = zarr.open_group(ours, mode="r")
    edges = group["input_offset"][:]
    files = sorted((theirs / "features").rglob("*.npy"), key=lambda p: p.stem)
    if len(files) != len(edges) - 1:
        raise SystemExit(f"{len(files)} recordings and {len(edges) - 1}")
    return 0.0


def link_copies(root: Path, out: Path, copies: int) -> Path:
    """Make a corpus of the same recordings under `copies` times as many speakers' names."""
    for number in range(copies):
        for path in root.rglob("*"):
            if path.is_file() and path.suffix in (".flac", ".PHN"):
                split, speaker, name = path.relative_to(root).parts[-3:]
                folder = out / split / f"{speaker}x{number}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).symlink_to(path.resolve())
    return out


def hours(root: Path) -> float:
    """Return how much speech a corpus holds."""
    return sum(soundfile.info(audio).duration for audio, _ in segments(root)) / 3600
