"""Frames with context: every frame is stored once, an item is its index (Pellegrini 2016, sec. 2).

An item's input is the frame at ``centre`` and the `context` // 2 on each side of it. Beyond the
ends of a recording the outermost frame is repeated (chosen: the paper does not say).
"""

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.units import (
    PER_UTTERANCE,
    Column,
    Indices,
    Recording,
    Rows,
    Unit,
    View,
    covered,
)
from speechscope.features.stft import Float
from speechscope.registry import UNITS
from speechscope.store.artifact import Artifact


def neighbours(centres: Indices, first: Indices, last: Indices, width: int) -> NDArray[np.int64]:
    """Return the frames of each item's context, (N, width).

    Parameters
    ----------
    centres, first, last
        The middle frame of each item, and the outermost frames of its recording, (N,).
    width
        Frames of the context.
    """
    around = centres[:, None] + np.arange(width)[None] - width // 2
    clipped = np.clip(around, first[:, None], last[:, None])
    return np.asarray(clipped, dtype=np.int64)


class FrameView(View):
    """Frames with context, put together from the frames around ``centre``."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        self._context = int(self._config["context"])
        self._centre = artifact.read("centre")
        edges, utterance = artifact.read("frame_offset"), artifact.read("utterance")
        self._first, self._last = edges[utterance], edges[utterance + 1] - 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `View`; time is the context."""
        channels, bins = self._artifact.array("input").shape[1:]
        return int(channels), int(bins), self._context

    def read(self, items: Indices) -> Float:
        """See `View`."""
        used = neighbours(self._centre[items], self._first[items], self._last[items], self._context)
        frames = self._artifact.read_items("input", used.ravel())
        context = frames.reshape(*used.shape, *frames.shape[1:])
        return np.ascontiguousarray(context.transpose(0, 2, 3, 1))


@UNITS.register("frame")
class FrameUnit(Unit):
    """Frames of whole recordings, items where a labelled stretch covers their middle."""

    view = FrameView

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Unit`: an item, its context put together."""
        return self.representation.channels, self.settings.bins, self.settings.context

    def columns(self) -> list[Column]:
        """See `Unit`: ``input [frame, channel, frequency]`` and the index ``centre [item]``."""
        dims, attributes = ("frame", "channel", "frequency"), {"units": "1"}
        name = {"long_name": self.settings.features}
        return [
            Column("input", np.float32, dims, name | attributes, row=self.shape[:2]),
            Column("frame_time", np.float32, ("frame",), {"units": "s"}),
            Column("frame_offset", np.int64, (PER_UTTERANCE,), attributes, role="edges"),
            Column("centre", np.int64, ("item",), attributes, role="input"),
            *super().columns(),
        ]

    def times(self) -> NDArray[np.float64]:
        """See `Unit`: the distance of each frame of the context."""
        chosen = self.settings
        hop = chosen.window - chosen.overlap
        away = np.arange(chosen.context) - chosen.context // 2
        return np.asarray(away * (hop / chosen.sample_rate))

    def items(self, recording: Recording) -> Rows:
        """See `Unit`."""
        window, samples = self.settings.window, recording.samples
        frames, middle = self.representation.utterance(samples)
        at = np.round(middle * self.settings.sample_rate).astype(np.int64)
        chosen, labels = covered(at, recording.pieces)
        starts = at[chosen] - window // 2
        return {
            "input": frames,
            "frame_time": middle.astype(np.float32),
            "frame_offset": np.array([len(frames)]),
            "centre": chosen,
            "waveform": samples,
            "waveform_offset": np.array([len(samples)]),
            "label": labels,
            "start": np.clip(starts, 0, None),
            "stop": np.clip(starts + window, 0, len(samples)),
        }

    def add(self, rows: Rows, total: NDArray[np.float64]) -> int:
        """See `Unit`; no item has to be put together."""
        frames, centres = rows["input"], rows["centre"]
        if len(centres):
            count, edges = len(frames), np.zeros(len(centres), dtype=np.int64)
            used = neighbours(centres, edges, edges + count - 1, self.settings.context)
            # How often a frame stands at each place of a context.
            weights = np.stack([np.bincount(column, minlength=count) for column in used.T])
            sums = weights.astype(np.float64) @ frames.reshape(count, -1).astype(np.float64)
            total += sums.reshape(-1, *frames.shape[1:]).transpose(1, 2, 0)
        return len(centres)
