"""What is explained of a network's scores: a class, at a time or over a range, or a text.

``predicted``, ``label`` or a CLASS, each with ``@TIME`` or ``@START-STOP`` [s] after it where the
network gives scores along time; ``text:HELLO`` is the CTC score of a text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.networks.foreign import ForeignNetwork
from speechscope.networks.subject import LetterWindows, Subject

BLANKS = ("<pad>", "[PAD]", "<blank>", "blank", "<blk>", "_", "-")
"""What the symbol between repeated ones is called in vocabularies."""


@dataclass(frozen=True)
class Target:
    """What is explained.

    Parameters
    ----------
    name
        ``predicted``, ``label`` or a class.
    subject
        The network whose scores are those at the time asked for.
    """

    name: str
    subject: Subject


def target_of(text: str, subject: Subject) -> Target:
    """Return what a target means for a network and its corpus.

    Raises
    ------
    UsageProblem
        There is no such class, or the network gives no scores along time.
    """
    if text.startswith("text:") and text not in subject.classes:
        return _of_text(text.removeprefix("text:"), subject)
    name, time = parted(text, subject.classes)
    if name not in ("predicted", "label", *subject.classes):
        shown = ", ".join(subject.classes[:60])
        raise UsageProblem(f"--target {text}: choose predicted, label or one of {shown}")
    if name == "label":
        _check_labels(subject)
    if time is not None:
        subject = replace(subject, network=_at(time, text, subject))
    return Target(name, subject)


def parted(text: str, classes: Sequence[str]) -> tuple[str, tuple[float, float] | None]:
    """Return the name in a target, and the first and last time after it [s]; None: there is none.

    Of what are no times both are NaN.
    """
    name, _, time = text.rpartition("@")
    if text in ("predicted", "label", *classes) or not name:
        return text, None
    if not time:
        return name, None
    try:
        first, last = (float(part) for part in (time.split("-") * 2)[:2])
    except ValueError:
        first = last = math.nan
    return name, (first, last)


def _check_labels(subject: Subject) -> None:
    corpus, classes = subject.corpus, subject.classes
    if isinstance(corpus, LetterWindows):
        raise UsageProblem(
            "--target label: the letters of an utterance have no times; predicted explains "
            "each letter where it is answered"
        )
    if classes != corpus.classes:
        raise UsageProblem(
            f"--target label: the network gives {len(classes)} scores, the corpus has "
            f"{len(corpus.classes)} classes"
        )


def _at(time: tuple[float, float], text: str, subject: Subject) -> ForeignNetwork:
    """Return the network with its scores at a time or over a range of times [s] alone."""
    network, seconds = subject.network, seconds_of(subject.corpus)
    if not isinstance(network, ForeignNetwork) or len(shape := _scores(network)) != 2:
        raise UsageProblem(f"--target {text}: the network gives no scores along time")
    first, last = time
    if not 0 <= first <= last <= seconds:
        raise UsageProblem(
            f"--target {text}: give a time or START-STOP from 0 to {seconds:g} s after the @"
        )
    count = shape[1]
    start = min(count - 1, int(first / seconds * count))
    stop = start + 1 if last == first else max(start + 1, math.ceil(last / seconds * count - 1e-9))
    return network.at(start, min(stop, count))


def _scores(network: ForeignNetwork) -> tuple[int, ...]:
    """Return the shape of the scores of one item."""
    import torch

    with torch.no_grad():
        return tuple(network(network.example[:1]).shape[1:])


def seconds_of(corpus: Corpus) -> float:
    """Return how long the inputs of a corpus are [s]."""
    axes = corpus.axes
    if corpus.unit == "window" or "time" not in axes:
        return corpus.input_shape[2] / float(corpus.config["rate"])
    time, _ = axes["time"]
    return float(time[-1] + time[0])


def _of_text(text: str, subject: Subject) -> Target:
    """Return a network whose one score is log P(text) by CTC (Graves et al. 2006, eq. 3)."""
    network = subject.network
    if not isinstance(network, ForeignNetwork) or len(_scores(network)) != 2:
        raise UsageProblem(f"--target text:{text}: the network gives no scores along time")
    names = list(subject.classes)
    blank = next((names.index(name) for name in BLANKS if name in names), None)
    numbered = names == [str(n) for n in range(len(names))]
    symbols = text.split() if numbered else list(text.replace(" ", "|"))
    unknown = [symbol for symbol in symbols if symbol not in names]
    if blank is None and numbered:
        blank = 0
    if blank is None or unknown or not symbols:
        raise UsageProblem(
            f"--target text:{text}: {', '.join(unknown) or 'the blank'} is none of the symbols "
            f"{', '.join(names[:60])}; of numbered ones give numbers, 0 being the blank"
        )
    numbers = tuple(names.index(symbol) for symbol in symbols)
    said = replace(subject, network=network.of_text(numbers, blank), classes=(f"text:{text}",))
    return Target("predicted", said)
