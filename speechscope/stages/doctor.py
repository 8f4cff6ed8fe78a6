"""``speechscope doctor``: whether this machine is fit."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speechscope.errors import SpeechscopeError
from speechscope.stages.shared import OnDevice, Table
from speechscope.work.progress import Console

PRESENTATION = ("json",)
NEEDED = ("torch", "numpy", "scipy", "zarr", "soundfile", "sklearn", "numba", "matplotlib")
EXTRAS = {
    "parselmouth": "praat",
    "distributed": "dask",
    "pystoi": "speech",
    "transformers": "hf",
}
"""Packages that some commands need, and the extra that installs each."""
LETTERS = "əʃŋθɪæʔ→ηλ"
"""Which figures are labelled with, of phones and of formulas."""
KNOWN = (("one thread of an Intel Xeon with AVX-512 and AMX", 24.0),)
"""Machines, and what a training step took on them [ms]: docs/reliability.md."""
STEPS = 12
"""Training steps that are timed; the first two, in which kernels are compiled, do not count."""

Finding = tuple[str, str, str]
"""What was looked at, what was found, and what to do where that is wrong."""


@dataclass(frozen=True, kw_only=True)
class Doctor(OnDevice):
    """Say whether this machine is fit: software, devices, kernels, codecs, disk and speed.

    Everything is tried, not only looked up: the layers of all networks against the same in double
    precision, sounds written and read back, letters drawn, a file synced and renamed in the working
    directory, and steps of training beside those of known machines. Where something is wrong the
    exit code is 1, and the line says what to do.

    Example: speechscope doctor --json
    """


def run(settings: Doctor, console: Console) -> Table:
    """Return a row for everything that was looked at.

    Raises
    ------
    SpeechscopeError
        Something is wrong; the rows are in its `done`.
    """
    looked: Sequence[Callable[[], Iterator[Finding]]] = (
        _software,
        _devices,
        _kernels,
        _codecs,
        _fonts,
        _disk,
        partial(_speed, settings.device),
    )
    findings: list[Finding] = []
    with console.bar("doctor", "parts") as progress:
        for number, look in enumerate(looked):
            findings += look()
            progress(number + 1, len(looked))
    rows = [
        {"looked at": what, "found": found, "verdict": (remedy and f"wrong: {remedy}") or "ok"}
        for what, found, remedy in findings
    ]
    wrong = [what for what, _, remedy in findings if remedy]
    if wrong:
        error = SpeechscopeError(f"this machine is not fit: {', '.join(wrong)}")
        error.done = Table(rows)
        raise error
    return Table(rows)


def _software() -> Iterator[Finding]:
    """Yield versions; what only some commands need may be absent."""
    from importlib import import_module
    from importlib.util import find_spec

    yield "python", sys.version.split()[0], ""
    for name in NEEDED:
        try:
            yield name, str(import_module(name).__version__), ""
        except ImportError as error:
            yield name, f"cannot be imported ({error})", "pip install speechscope"
    for name, extra in EXTRAS.items():
        missing = "" if find_spec(name) else f"not installed: pip install 'speechscope[{extra}]'"
        yield name, missing or "installed", ""


def _devices() -> Iterator[Finding]:
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    capability = torch.backends.cpu.get_cpu_capability()
    yield "cpu", f"{os.cpu_count()} cores, {capability}, {memory:.0f} GiB of memory", ""
    if not torch.cuda.is_available():
        yield "cuda", "none: commands run on the CPU", ""
    for number in range(torch.cuda.device_count()):
        made = torch.cuda.get_device_properties(number)
        yield f"cuda:{number}", f"{made.name}, {made.total_memory / 2**30:.0f} GiB", ""


def _kernels() -> Iterator[Finding]:
    from speechscope.networks.kernels import applied, cases, faults

    count = 0
    for name, case in cases():
        count += 1
        wrong = faults(*applied(case))
        if wrong:
            yield f"layer {name}", "; ".join(wrong), "install another release of PyTorch"
    yield "kernels", f"{count} layers in float32 and bfloat16 compared with float64", ""


def _codecs() -> Iterator[Finding]:
    import io

    import numpy as np
    import soundfile

    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    for form in ("WAV", "FLAC", "NIST", "OGG", "MP3"):
        file = io.BytesIO()
        try:
            soundfile.write(file, tone, 16000, format=form)
            file.seek(0)
            samples, _ = soundfile.read(file)
        except (soundfile.SoundFileError, ValueError) as error:
            yield form, f"not read ({error})", "install libsndfile 1.1 or later"
            continue
        exact = form in ("OGG", "MP3") or np.allclose(samples, tone, atol=1e-4)
        found = "read and written" if exact else "read otherwise than written"
        yield form, found, "" if exact else "install another release of libsndfile"


def _fonts() -> Iterator[Finding]:
    from matplotlib import font_manager

    path = font_manager.findfont(font_manager.FontProperties(family=["sans-serif"]))
    font = font_manager.get_font(path)
    lacking = "".join(letter for letter in LETTERS if not font.get_char_index(ord(letter)))
    remedy = lacking and "install the DejaVu or Noto fonts: these letters are boxes in figures"
    yield "fonts", f"{font.family_name}{lacking and f', without {lacking}'}", remedy


def _disk() -> Iterator[Finding]:
    """Write, sync and rename in the working directory, as artifacts are put into place."""
    import time
    from tempfile import TemporaryDirectory

    from speechscope.store.staging import staged

    begun = time.perf_counter()
    try:
        with TemporaryDirectory(dir=Path()) as folder:
            for content in (b"old", b"new" * 1_000_000):
                with staged(Path(folder) / "file", force=True, directory=False) as partial:
                    partial.write_bytes(content)
            same = (Path(folder) / "file").read_bytes() == content
    except OSError as error:
        yield "disk", f"{Path().resolve()}: {error}", "work in a folder that can be written"
        return
    took = 1e3 * (time.perf_counter() - begun)
    wrong = "" if same else "work on another disk"
    yield "disk", f"{Path().resolve()}: written, synced and renamed in {took:.0f} ms", wrong


def _speed(device: str) -> Iterator[Finding]:
    """Time steps of the default network on batches of 128."""
    import time

    import numpy as np
    import torch

    from speechscope.networks.saved import build
    from speechscope.stages.train import Train
    from speechscope.training.step import Step
    from speechscope.work.accelerators import fastest
    from speechscope.work.device import choose

    place = choose(device)
    network = build("freq-overlap", (1, 201, 16), 48).to(place).train()
    step = fastest(Step)(network, Train(), ())
    x = torch.randn(128, 1, 201, 16).to(place)
    wanted = torch.arange(128, device=place) % 48
    generator = torch.Generator().manual_seed(0)
    times = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        loss, _ = step(lambda part: x[part], wanted, generator)
        float(loss)
        times.append(time.perf_counter() - begun)
    found = f"{1e3 * float(np.median(times[2:])):.1f} ms a training step on {place}"
    beside = ", ".join(f"{name} {known:g} ms" for name, known in KNOWN)
    yield "speed", f"{found}; quiet, {beside}", ""
