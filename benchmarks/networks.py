"""An update of every network and autoencoder, against the plain PyTorch that a user would write.

    python benchmarks/networks.py [--networks NAME …] [--rounds N] [--threads N]

Random inputs of the networks' own sizes, batches of 128 (autoencoders 32), the same first weights.
First the losses of one update are compared, with the same units left out. Then both are run in
turn, and the processor time of an update, the median over rounds of the least of three, and the
ratio are printed, with the rate of the matrix products of an update, all units left in, over that
of products that stay in a cache. Plain are nn.Conv2d with zeros around, nn.MaxPool2d, nn.Linear,
nn.Dropout of units item by item, torch.optim; autoencoders unpool by F.max_unpool2d or F.fold.
wav2letter has a quarter of the paper's maps, and 16 utterances of 400 frames a batch.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from math import prod

import numpy as np
import torch
from epoch import CLASSES, KeptUnits
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from speechscope.corpus.letters import BLANK
from speechscope.networks.decoders import transpose_pads
from speechscope.networks.layers import BatchNorm, Conv, Linear, MaxPool, Network, ReLU
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import NETWORKS
from speechscope.stages.decode_train import DecodeTrain
from speechscope.stages.train import Train
from speechscope.training.decoders import DecoderTraining
from speechscope.training.evaluation import UtteranceBatch
from speechscope.training.letters import LetterTraining
from speechscope.training.source import CorpusSource, CorpusUtterances
from speechscope.training.step import Step
from speechscope.work.accelerators import fastest

LR, DROPOUT = 0.01, 0.5
TOLERANCE = 1e-4
Update = Callable[[], float]


def layers_of(network: Network, drops: list[nn.Module]) -> Iterator[nn.Module]:
    """Yield the layers of a classifier as a user would write them."""
    dense, after = 0, iter(drops)
    for number, row in enumerate(network.table, 1):
        channels = network.shape_before(number)[0]
        if isinstance(row, Conv):
            top, bottom, left, right = row.pads
            if any(row.pads):
                yield nn.ZeroPad2d((left, right, top, bottom))
            yield nn.Conv2d(channels, row.maps, row.kernel, row.stride)
        elif isinstance(row, BatchNorm):
            yield nn.BatchNorm2d(channels)
        elif isinstance(row, ReLU):
            yield nn.ReLU()
        elif isinstance(row, MaxPool):
            yield nn.MaxPool2d(row.size, row.stride)
        else:
            if not dense:
                yield nn.Flatten()
            elif (drop := next(after, None)) is not None:
                yield drop
            yield nn.Linear(prod(network.shape_before(number)), row.units or network.classes)
            dense += 1


def classifier(name: str, batch: int) -> tuple[Update, Update, float, float]:
    """Return an update by ours, plainly, how far their first losses are apart, and its GFLOP."""
    generator = torch.Generator().manual_seed(0)
    network: Network = NETWORKS[name](classes=CLASSES)
    network.reset_parameters(generator)
    settings = Train(lr=LR, dropout=DROPOUT, batch=batch)
    x = torch.randn(batch, *network.input_shape, generator=generator)
    wanted = torch.randint(CLASSES, (batch,), generator=generator)
    drops: list[nn.Module] = [KeptUnits() for _ in range(8)]
    plain = nn.Sequential(*layers_of(network, drops))
    with torch.no_grad():
        for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
            theirs.copy_(mine.view(theirs.shape))
    step = fastest(Step)(network, settings)
    found = float(step(x.__getitem__, wanted, generator)[0]) / batch
    for drop, kept in zip(drops, step.kept, strict=False):
        drop.kept = kept
    apart = abs(found / float(functional.cross_entropy(plain(x), wanted).detach()) - 1)
    timed = nn.Sequential(*(nn.Dropout(DROPOUT) if isinstance(m, KeptUnits) else m for m in plain))
    optimizer = torch.optim.Adagrad(timed.parameters(), lr=LR)

    def plainly() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(timed(x), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return (
        lambda: float(step(x.__getitem__, wanted, generator)[0]),
        plainly,
        apart,
        needed(network, len(network.table), batch),
    )


def needed(network: Network, layers: int, batch: int) -> float:
    """Return the GFLOP of an update's products, forward and twice back, all units left in."""
    total = 0.0
    for number, row in enumerate(network.table[:layers], 1):
        if isinstance(row, Conv | Linear):
            weight, _ = network.parameters_of(network.names[number - 1])
            places = prod(network.shapes[number - 1][1:]) if isinstance(row, Conv) else 1
            total += 2 * weight.numel() * places * (2 if number == 1 else 3)
    return total * batch / 1e9


class Items(CorpusSource):
    """Random items in place of those of a corpus."""

    held = True

    def __init__(self, x: Tensor) -> None:
        self.x = x

    @property
    def mean(self) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(self.x[0])


class Autoencoder(nn.Module):
    """An autoencoder of some units, as a user would write it."""

    def __init__(self, network: Network, layer: int, unpool: str) -> None:
        super().__init__()
        self.unpool, self.rows = unpool, []
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for number, row in enumerate(network.table[:layer], 1):
            if isinstance(row, Conv):
                channels = network.shape_before(number)[0]
                pads = transpose_pads(row.kernel, row.pads)
                self.down.append(_padded(channels, row, row.pads))
                self.up.insert(0, _padded(row.maps, row, pads, channels))
            elif isinstance(row, MaxPool):
                self.rows.append(row)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is restored of inputs (B, C, F, T)."""
        shapes, places = [], []
        for conv, row in zip(self.down, self.rows, strict=True):
            x = conv(x)
            shapes.append(x.shape[2:])
            x, where = functional.max_pool2d(x, row.size, row.stride, return_indices=True)
            places.append(where)
            x = functional.relu(x)
        for number, conv in enumerate(self.up):
            row, shape, where = self.rows[-1 - number], shapes[-1 - number], places[-1 - number]
            if self.unpool == "switch":
                x = functional.max_unpool2d(x, where, row.size, row.stride, output_size=shape)
            else:
                x = _spread(x, row, shape)
            x = conv(x)
            if number < len(self.up) - 1:
                x = functional.relu(x)
        return x


def _padded(channels: int, row: Conv, pads: tuple[int, ...], maps: int = 0) -> nn.Sequential:
    top, bottom, left, right = pads
    conv = nn.Conv2d(channels, maps or row.maps, row.kernel)
    return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv)


def _spread(x: Tensor, row: MaxPool, shape: torch.Size) -> Tensor:
    """Return blind unpooling: the mean of the regions of every element, by F.fold."""
    batch, maps = x.shape[:2]
    ones = x.new_ones(1, row.size[0] * row.size[1], x.shape[2] * x.shape[3])
    values = x.flatten(2).repeat_interleave(row.size[0] * row.size[1], 1)
    added = functional.fold(values, tuple(shape), row.size, stride=row.stride)
    count = functional.fold(ones, tuple(shape), row.size, stride=row.stride)
    return added.view(batch, maps, *shape) / count.clamp(min=1)


def autoencoder(units: int, unpool: str, batch: int) -> tuple[Update, Update, float, float]:
    """Return what `classifier` does of an autoencoder of some units of freq-padded."""
    generator = torch.Generator().manual_seed(0)
    network: Network = NETWORKS["freq-padded"](classes=CLASSES)
    network.reset_parameters(generator)
    x = torch.randn(batch, *network.input_shape, generator=generator)
    settings = DecodeTrain(
        encoder="random", decoder="random", unpool=unpool, stack="none", epochs=1, together=0
    )
    training = DecoderTraining(network, Items(x), [3 * units], settings)
    ours = training.autoencoders[3 * units]
    plain = Autoencoder(network, 3 * units, unpool)
    stages = [ours.decoder.stage(index) for index in range(units)]
    with torch.no_grad():
        pairs = [ours.encoder.parameters_of(name) for name in reversed(ours.encoder_names())]
        pairs.reverse()
        pairs += [(stage.kernel, stage.bias) for stage in stages]
        convs = [one for one in plain.modules() if isinstance(one, nn.Conv2d)]
        for conv, (weight, bias) in zip(convs, pairs, strict=True):
            conv.weight.copy_(weight)
            assert conv.bias is not None
            conv.bias.copy_(bias)
    training._begin(0)
    optimizer = torch.optim.Adagrad(plain.parameters(), lr=LR)

    def learn() -> float:
        _, errors = training.learn((x, generator, False), 0.0)
        return errors[3 * units] / batch

    def plainly() -> float:
        optimizer.zero_grad()
        squared = (plain(x) - x).flatten(1).square().sum(1)
        (0.5 * squared.mean()).backward()
        optimizer.step()
        return float(squared.detach().sqrt().mean())

    with torch.no_grad():
        theirs = float((plain(x) - x).flatten(1).norm(dim=1).mean())
    return learn, plainly, abs(learn() / theirs - 1), 2 * needed(network, 3 * units, batch)


class Utterances(CorpusUtterances):
    """Stands for a corpus: batches are made here."""

    def __init__(self, count: int, frames: int) -> None:
        self.lengths = np.full(count, frames)

    def utterances(self, split: str) -> NDArray[np.int64]:
        """Return all of them as training items."""
        return np.arange(len(self.lengths) if split == "train" else 0)

    def letters(self, items: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return the same letters for each."""
        return [np.arange(1, 20) for _ in items]


def letters(width: float, batch: int, frames: int = 400) -> tuple[Update, Update, float, float]:
    """Return what `classifier` does of wav2letter, on utterances of one length.

    Plain are nn.Conv1d with zeros around, nn.BatchNorm1d, nn.ReLU, nn.CTCLoss, torch.optim.Adam.
    """
    generator = torch.Generator().manual_seed(0)
    network = Wav2Letter(width=width)
    source, settings = Utterances(batch, frames), Train(lr=LR, epochs=1)
    training = LetterTraining(network, source, settings)
    rows: list[nn.Module] = []
    for number, row in enumerate(network.table, 1):
        channels = prod(network.shape_before(number)[:2])
        if isinstance(row, Conv):
            conv = nn.Conv1d(channels, row.maps, row.kernel[1], row.stride[1])
            rows += [nn.ConstantPad1d(row.pads[2:], 0.0), conv]
        else:
            rows.append(nn.BatchNorm1d(channels) if isinstance(row, BatchNorm) else nn.ReLU())
    plain = nn.Sequential(*rows)
    with torch.no_grad():
        for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
            theirs.copy_(mine.view(theirs.shape))
    optimizer = torch.optim.Adam(plain.parameters(), lr=LR)
    x = torch.randn(batch, *network.input_shape[:2], frames, generator=generator)
    labels = source.letters(np.arange(batch))
    outputs = network.output_frames(torch.full((batch,), frames))
    given = UtteranceBatch(x, None, outputs, labels)
    wanted, lengths = torch.from_numpy(np.stack(labels)), torch.full((batch,), len(labels[0]))
    count = int(lengths.sum())

    def plainly() -> float:
        optimizer.zero_grad()
        logarithms = functional.log_softmax(plain(x.squeeze(1)), 1).permute(2, 0, 1)
        loss = functional.ctc_loss(logarithms, wanted, outputs, lengths, BLANK, "sum") / count
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    def learn() -> float:
        return training.learn(given, 0.0)[0] / count

    work = needed(network, len(network.table), batch) * frames / network.input_shape[2]
    return learn, plainly, abs(learn() / plainly() - 1), work


def product_rate() -> float:
    """Return the GFLOP a second of a processor on products of matrices that stay in its caches."""
    torch.set_num_threads(1)
    a, out = torch.randn(512, 512), torch.empty(512, 512)
    return (
        2
        * 512**3
        / 1e9
        / min(seconds(lambda: float(torch.mm(a, a, out=out)[0, 0])) for _ in range(5))
    )


def seconds(update: Update) -> float:
    """Return the processor time of an update, the least of three."""
    found = []
    for _ in range(3):
        begun = time.process_time()
        update()
        found.append(time.process_time() - begun)
    return min(found)


def main() -> None:
    """Print a line a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = ["freq-overlap", "freq-padded", "time", "logmel", "raw-phone", "raw-speaker"]
    every.append("wav2letter")
    kinds = [f"{units} units, switch" for units in range(1, 5)]
    # Of more units the elements beyond the last region differ, which F.fold leaves at 0.
    kinds += [f"{units} units, blind" for units in (1, 2)]
    parser.add_argument("--networks", nargs="+", default=[*every, *kinds])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    rate = product_rate()
    torch.set_num_threads(given.threads)
    print("network                 ours [ms]  plain [ms]  times as fast  of the matrix rate")
    for name in given.networks:
        if "units" in name:
            units, _, unpool = name.split()
            ours, plain, apart, work = autoencoder(int(units), unpool, 32)
        elif name == "wav2letter":
            ours, plain, apart, work = letters(0.25, 16)
        else:
            ours, plain, apart, work = classifier(name, 128)
        if apart > TOLERANCE:
            raise SystemExit(f"{name}: the first losses are {apart:.1g} apart")
        times = [(seconds(ours), seconds(plain)) for _ in range(given.rounds)]
        mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(other / own for own, other in times)
        print(f"{name:22} {1e3 * mine:9.1f} {1e3 * theirs:11.1f} {ratio:14.2f}"
              f" {work / mine / rate:19.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
