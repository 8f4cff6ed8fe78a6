"""Averaging aligned inputs against the passes it needs, and against doing it one by one.

First the averages of all alignments, made in blocks, are held against those of a loop over single
windows. Then, on one thread and alternating, what streaming a corpus costs (answers of whole
utterances, windows, alignment and sums included) over the passes through the windows alone: one
forward and one backward for the sensitivity and one of LRP. The medians of several rounds count,
in processor time, for one, two and four times as many utterances. One output of four is a letter,
and utterances have the length of LibriSpeech's; the layers are Krug's at `--width` of their widths.
"""

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import oracles

from speechscope.corpus.letters import BLANK, SPOKEN
from speechscope.navai.averages import MOVED, SHUFFLED, Averages, Means, Sums
from speechscope.navai.examples import Examples, ItemExamples, LetterExamples
from speechscope.networks.layers import Network
from speechscope.networks.subject import Subject
from speechscope.networks.tracing import table_graph
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import NETWORKS
from speechscope.relevance.explain import Explained
from speechscope.relevance.gradient import sensitivity
from speechscope.relevance.lrp import lrp
from speechscope.stages.navai import Navai

SETTINGS = Navai()


@dataclass
class Utterances:
    """Noise in place of a corpus of utterances."""

    values: list[NDArray[np.float32]]
    unit: str = "utterance"
    path: str = "noise"
    mean: NDArray[np.float32] = field(default_factory=lambda: np.zeros((1, 128), np.float32))

    def utterance_inputs(self, items: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """Return utterances."""
        return [self.values[int(item)] for item in items]


@dataclass
class Items:
    """Noise in place of a corpus of frames."""

    values: NDArray[np.float32]
    mean: NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one item."""
        return self.values.shape[1:]

    def centred(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return items."""
        return self.values[items]


def letter_network(width: float, example: NDArray[np.float32]) -> Wav2Letter:
    """Return a network drawn at random that answers a letter at one place of four."""
    torch.manual_seed(0)
    network = Wav2Letter(width=width).eval().requires_grad_(False)
    scores = network(torch.from_numpy(example[None]))[0]
    bias = network.parameters_of(network.names[-1])[1]
    bias -= scores.mean(1)  # no class is more likely than another
    scores = network(torch.from_numpy(example[None]))[0]
    bias[len(SPOKEN) :] -= 1e3
    margin = scores[: len(SPOKEN)].amax(0) - scores[BLANK]
    bias[BLANK] += 1e3 + margin.quantile(0.75)
    return network


def streamed(examples: Examples, classes: int) -> Means:
    """Return the averages, put together from those of blocks."""
    cpu = torch.device("cpu")
    sums = Sums()
    for start in range(0, len(examples.items), examples.block):
        count = len(SETTINGS.alignments)
        some = Averages(count, classes, examples.shape, device=cpu, seed=start)
        for batch in examples.batches(slice(start, start + examples.block)):
            some.add(batch.inputs, batch.target, batch.shift)
        sums.add(some.sums)
    return Means(sums, "inputs")


def of(window: Network) -> Explained:
    """Return a network as methods of relevance take it."""
    graph = table_graph(window)
    return Explained(window, lambda x: x, lambda *_: graph)


def checked(examples: Examples, window: Network, classes: int) -> None:
    """Hold the averages against those of single windows."""
    explained = of(window)
    inputs, targets = [], []
    chosen: dict[str, list[int]] = {name: [] for name in SETTINGS.alignments}
    for batch in examples.batches():
        for x, target in zip(batch.inputs, batch.target, strict=True):
            one, label = x[None], target[None]
            gradient = sensitivity(explained, one, label).numpy()
            relevance = lrp(explained, one, label, SETTINGS).numpy()
            inputs.append(x.double().numpy())
            targets.append(int(target))
            for name, places in (
                ("none", None),
                ("min-sensitivity", -gradient),
                ("max-sensitivity", gradient),
                ("max-lrp", relevance),
            ):
                frames = x.shape[2]
                frame = frames // 2
                if places is not None:
                    frame = int(np.unravel_index(places.argmax(), places.shape)[3])
                chosen[name].append(frame)
    found = streamed(examples, classes)
    mean = found.mean()
    for a, name in enumerate(SETTINGS.alignments):
        for label in sorted(set(targets)):
            wanted = oracles.navai_mean(np.stack(inputs), targets, chosen[name], label)
            error = np.abs(mean[a, label] - wanted).max() / np.abs(wanted).max()
            if error > 1e-5:
                sys.exit(f"{name}: the averages of class {label} differ by {error:.1e}")


def floor(batches: list[tuple[torch.Tensor, torch.Tensor]], window: Network) -> None:
    """Make the passes alone."""
    explained = of(window)
    for x, target in batches:
        sensitivity(explained, x, target)
        lrp(explained, x, target, SETTINGS)


def measured(make, window: Network, classes: int, sizes: tuple[int, ...], rounds: int) -> None:  # type: ignore[no-untyped-def]
    """Print the medians for growing numbers of items."""
    contents = {size: make(size) for size in sizes}
    batches = {
        size: [(batch.inputs, batch.target) for batch in examples.batches()]
        for size, examples in contents.items()
    }
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for size in sizes:
            start = time.process_time()
            found = streamed(contents[size], classes)
            for array in (found.mean(), found.pattern(), found.pattern(SHUFFLED)):
                assert array.size
            assert found.pattern(MOVED).size
            between = time.process_time()
            floor(batches[size], window)
            times.setdefault(("navai", size), []).append(between - start)
            times.setdefault(("passes", size), []).append(time.process_time() - between)
    count = {size: sum(len(target) for _, target in batches[size]) for size in sizes}
    each = {size: statistics.median(times["navai", size]) / count[size] for size in sizes}
    for size in sizes:
        ours, theirs = (statistics.median(times[name, size]) for name in ("navai", "passes"))
        print(
            f"  {size:6} items, {count[size]:6} inputs {ours:8.2f} s  {ours / theirs:5.2f} × the "
            f"passes  {each[size] / each[sizes[0]]:5.2f} × an input of the first line"
        )


def main() -> None:
    """Print one line a network and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--utterances", type=int, default=4)
    parser.add_argument("--frames", type=int, default=1230)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    most = 4 * options.utterances
    noise = [rng.normal(size=(1, 128, options.frames)).astype(np.float32) for _ in range(most)]
    network = letter_network(options.width, noise[0])
    corpus = Utterances(noise)

    def letters(size: int) -> LetterExamples:
        return LetterExamples(network, corpus, np.arange(size), SETTINGS)  # type: ignore[arg-type]

    one = letters(1)
    assert isinstance(one.network, Network)
    checked(one, one.network, len(one.classes))
    print(f"wav2letter, width {options.width}")
    sizes = (options.utterances, 2 * options.utterances, most)
    measured(letters, one.network, len(one.classes), sizes, options.rounds)

    shape = (3, 40, 11)
    frames = Items(rng.normal(size=(1024, *shape)).astype(np.float32))
    torch.manual_seed(0)
    logmel = NETWORKS["logmel"](shape, 48).eval().requires_grad_(False)
    names = tuple(map(str, range(48)))
    subject = Subject(logmel, names, frames, True, (Path(), ""), {})  # type: ignore[arg-type]

    def items(size: int) -> ItemExamples:
        return ItemExamples(subject, np.arange(size), SETTINGS)

    checked(items(64), logmel, 48)
    print("logmel")
    measured(items, logmel, 48, (256, 512, 1024), options.rounds)


if __name__ == "__main__":
    main()
