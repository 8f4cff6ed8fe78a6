"""Preparing a corpus, against the loops and libraries a user would take.

    python benchmarks/prepare.py CORPUS [--peers PYTHON] [--repeats N] [--copies N] [--workers N]

CORPUS is in TIMIT layout. Every contestant is a process of its own, from recordings and labels on
disk to arrays synced to disk, start of the interpreter included, two threads each. First what they
wrote is compared; then they run in turn, and the medians of the ratios of their wall times are
printed (and of their CPU times, which a busy machine disturbs less). PYTHON is an interpreter that
has librosa and lhotse; without it those are left out.

What each does, all reading the labels and decoding the same FLAC files:

``segments``        `speechscope prepare` of the default recipe: real parts of the segments, their
                    waveforms, labels and mean, compressed, with checksums and digests
``scipy.fft``       the real parts alone, 16 recordings at a time through one transform on two
                    threads, into a plain ``.npy``
``scipy.fft+zarr``  the same into a Zarr array with the chunks, compression and checksums of
                    `prepare`
``librosa``         the real parts alone, one segment after the other, into a plain ``.npy``
``utterances``      magnitudes of whole recordings with `prepare`'s library, and the waveforms
``lhotse``          the same magnitudes with its batched extractor, a plain ``.npy`` a recording
``decoding``        the FLAC files are decoded, one after the other, and nothing else

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


def sync(folder: Path) -> None:
    """Wait until the files of a folder are on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
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
    """Transform batches of recordings with scipy.fft on two threads, into a plain array file."""
    shape, batches = scipy_batches(root)
    stored = np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=shape)
    done = 0
    for batch in batches:
        stored[done : done + len(batch), 0] = batch
        done += len(batch)
    stored.flush()


def with_scipy_and_zarr(root: Path, out: Path) -> None:
    """Do the same into a Zarr array, chunked and compressed as that of `prepare`."""
    import zarr
    from zarr.codecs import ZstdCodec

    shape, batches = scipy_batches(root)
    stored = zarr.create_array(
        out,
        shape=shape,
        chunks=(310, *shape[1:]),
        dtype="float32",
        compressors=[ZstdCodec(level=-1, checksum=True)],
    )
    done, held = 0, np.empty((0, *shape[1:]), dtype=np.float32)
    for batch in batches:
        held = np.concatenate([held, batch[:, None]])
        whole = len(held) // 310 * 310
        stored[done : done + whole] = held[:whole]
        done, held = done + whole, held[whole:]
    stored[done:] = held
    sync(out)


def scipy_batches(
    root: Path,
) -> tuple[tuple[int, ...], Iterator[NDArray[np.float32]]]:
    """Return the shape of everything, and real parts (items, bins, frames) batch by batch."""
    everything = list(segments(root))
    shape = (sum(len(kept) for _, kept in everything), 1, BINS, FRAMES)
    return shape, transformed(everything)


def transformed(
    everything: list[tuple[Path, list[tuple[int, int]]]],
) -> Iterator[NDArray[np.float32]]:
    """Yield the real parts of batches of 16 recordings, (items, bins, frames)."""
    from scipy import fft

    window = np.hamming(WINDOW).astype(np.float32)
    for first in range(0, len(everything), 16):
        rows = []
        for audio, kept in everything[first : first + 16]:
            samples, _ = soundfile.read(audio, dtype="float32")
            rows += [padded(samples, start, stop) for start, stop in kept]
        batch = np.stack(rows)
        frames = np.lib.stride_tricks.sliding_window_view(batch, WINDOW, axis=1)[:, ::HOP]
        spectrum = fft.rfft(frames * window, POINTS, axis=2, workers=2)
        yield spectrum.real.transpose(0, 2, 1)


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
    sync(out)


def utterances(root: Path, out: Path) -> None:
    """Prepare magnitude spectrograms of whole recordings, those lhotse is asked for."""
    from speechscope.corpus.prepare import prepare
    from speechscope.stages.prepare import Prepare
    from speechscope.store.record import new_record
    from speechscope.store.writer import create_artifact
    from speechscope.work.local import Threads

    settings = Prepare(
        folder=root,
        unit="utterance",
        labels="letter",
        length=LONG_WINDOW,
        window=LONG_WINDOW,
        overlap=LONG_WINDOW - LONG_HOP,
        bins=LONG_BINS,
        features="magnitude",
        max_length="none",
        layout="timit",
        phone_set="as-is",
        drop_sa=False,
    )
    record = new_record("corpus", config={}, seed=0, device="cpu")
    with create_artifact(out, "benchmark", record, force=True) as writer:
        prepare(root, writer, settings, executor=Threads(2))


def decoding(root: Path, out: Path) -> None:
    """Decode the recordings, into nothing: what nobody who reads them can do without."""
    for audio, _ in segments(root):
        soundfile.read(audio, dtype="float32")


PEERS = {
    "decoding": decoding,
    "utterances": utterances,
    "librosa": with_librosa,
    "scipy.fft": with_scipy,
    "scipy.fft+zarr": with_scipy_and_zarr,
    "lhotse": with_lhotse,
}


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
        time.sleep(0.2)
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
    other: Any = (
        zarr.open_array(theirs, mode="r") if theirs.is_dir() else np.load(theirs, mmap_mode="r")
    )
    if array.shape != other.shape:
        raise SystemExit(f"shapes differ: {array.shape} and {other.shape}")
    step = array.chunks[0]
    apart = (
        float(np.abs(array[i : i + step] - other[i : i + step]).max())
        for i in range(0, other.shape[0], step)
    )
    return max(apart)


def compare_utterances(ours: Path, theirs: Path) -> float:
    """Return the largest difference between frames of whole recordings that both have."""
    import zarr

    group: Any = zarr.open_group(ours, mode="r")
    edges = group["input_offset"][:].tolist()
    files = sorted((theirs / "features").rglob("*.npy"), key=lambda path: path.stem)
    if len(files) != len(edges) - 1:
        raise SystemExit(f"{len(files)} recordings and {len(edges) - 1}")
    worst = 0.0
    for number in range(0, len(files), max(1, len(files) // 20)):
        mine = group["input"][edges[number] : edges[number + 1]]
        worst = max(worst, float(np.abs(mine - np.load(files[number])[1 : len(mine) + 1]).max()))
    return worst


def link_copies(root: Path, out: Path, copies: int) -> Path:
    """Make a corpus of the same recordings under `copies` times as many speakers' names."""
    for number in range(copies):
        for path in (path for split in ("TRAIN", "TEST") for path in (root / split).rglob("*")):
            if path.suffix in (".flac", ".PHN", ".TXT"):
                split, speaker, name = path.relative_to(root).parts[-3:]
                folder = out / split / f"{speaker}x{number}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).symlink_to(path.resolve())
    return out


def hours(root: Path) -> float:
    """Return how much speech a corpus holds."""
    return sum(float(soundfile.info(audio).duration) for audio, _ in segments(root)) / 3600


def race(
    root: Path, scratch: Path, peers: str | None, workers: int, repeats: int, wanted: list[str]
) -> None:
    """Compare what everybody wrote, then run all in turn and print the medians."""
    script = [peers or sys.executable, __file__, "--run"]
    speech = hours(root)
    ours = {
        "segments": prepare_command(root, scratch / "segments.zarr", workers),
        "utterances": [*script[1:], "utterances", str(root), str(scratch / "utterances.zarr")],
    }
    ours["utterances"].insert(0, sys.executable)
    scipy = {"scipy.fft": "segments", "scipy.fft+zarr": "segments"}
    against = {**scipy, "librosa": "segments", "lhotse": "utterances"}
    if not peers:
        against = scipy
    against = {name: mine for name, mine in against.items() if not wanted or name in wanted}
    runs: dict[str, list[Run]] = {}
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in against}
    for repeat in range(repeats):
        taken: dict[str, Run] = {}
        for mine in dict.fromkeys(against.values()):
            shutil.rmtree(scratch / f"{mine}.zarr", ignore_errors=True)
            taken[mine] = measured(ours[mine], OMP_NUM_THREADS="2")
        floor = [sys.executable, __file__, "--run", "decoding", str(root), str(scratch)]
        taken["decoding"] = measured(floor)
        for name, mine in against.items():
            out = scratch / name
            shutil.rmtree(out, ignore_errors=True)
            out.unlink(missing_ok=True)
            taken[name] = measured([*script, name, str(root), str(out)], OMP_NUM_THREADS="2")
            if repeat == 0:
                same = compare_segments if mine == "segments" else compare_utterances
                apart = same(scratch / f"{mine}.zarr", out)
                print(f"{name}: largest difference {apart:.1e}", flush=True)
                if apart > TOLERANCE:
                    raise SystemExit(f"{name} does not agree")
            one, other = taken[mine], taken[name]
            ratios[name].append((other.wall / one.wall, other.cpu / one.cpu))
        for name, run in taken.items():
            runs.setdefault(name, []).append(run)
            print(f"  {name:>14} {run.wall:8.1f} s  {run.cpu:8.1f} s CPU  {run.memory:6.0f} MB")
    print(f"{speech:.2f} h of speech, {workers} workers, {repeats} times, medians:")
    for name, found in runs.items():
        wall = statistics.median(run.wall for run in found)
        cpu = statistics.median(run.cpu for run in found)
        print(
            f"  {name:>14} {wall:8.1f} s  {cpu:8.1f} s CPU  {3600 * speech / wall:6.0f} × real time"
        )
    for name, pairs in ratios.items():
        wall, cpu = (statistics.median(values) for values in zip(*pairs, strict=True))
        print(f"  {against[name]} over {name}: {wall:.2f} × in wall time, {cpu:.2f} × in CPU time")


def growth(root: Path, scratch: Path, factor: int, workers: int, repeats: int) -> None:
    """Print seconds an hour of speech and peak memory, of a corpus and of one `factor` as large."""
    corpora = {
        copies: link_copies(root, scratch / f"times{copies}", copies) for copies in (1, factor)
    }
    length = hours(root)
    found: dict[int, list[Run]] = {copies: [] for copies in corpora}
    for _ in range(repeats):
        for copies, corpus in corpora.items():
            out = scratch / "grown.zarr"
            run = measured(prepare_command(corpus, out, workers))
            found[copies].append(run)
            shutil.rmtree(out)
            speech = copies * length
            print(
                f"  {speech:6.2f} h: {run.wall / speech:6.2f} s an hour, {run.cpu / speech:6.2f} s "
                f"CPU an hour, {run.memory:5.0f} MB at most",
                flush=True,
            )
    per_hour = [
        statistics.median(run.cpu for run in found[copies]) / copies for copies in (1, factor)
    ]
    print(f"CPU time an hour, {factor} times as large: {per_hour[1] / per_hour[0]:.2f} ×")


def main() -> int:
    """Read the options and print the tables."""
    if sys.argv[1] == "--watch":
        return watch(sys.argv[2:])
    if sys.argv[1] == "--run":
        PEERS[sys.argv[2]](Path(sys.argv[3]), Path(sys.argv[4]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--peers", help="an interpreter with librosa and lhotse")
    parser.add_argument("--against", nargs="*", default=[], help="only these of the peers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--copies", type=int, default=1, help="speakers are repeated as often")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--growth", type=int, help="prepare a corpus so many times as large")
    parser.add_argument("--scratch", type=Path, help="where to write; a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch, root = Path(folder), options.corpus
        if options.growth:
            growth(root, scratch, options.growth, options.workers, options.repeats)
            return 0
        if options.copies > 1:
            root = link_copies(root, scratch / "corpus", options.copies)
        race(root, scratch, options.peers, options.workers, options.repeats, options.against)
    return 0


if __name__ == "__main__":
    sys.exit(main())
