"""Whole utterances, frames of all of them one after the other (Krug 2018, sec. 3.1)."""

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.letters import LETTERS
from speechscope.corpus.units import DIMS, Column, Recording, Rows, Unit
from speechscope.registry import UNITS
from speechscope.store.writer import flag_attributes


@UNITS.register("utterance")
class UtteranceUnit(Unit):
    """Utterances, labelled with letters or with one class each, and the times of their phones."""

    edge = "item_edge"

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Unit`: one frame; the mean is over all frames."""
        return self.representation.channels, self.settings.bins

    def columns(self) -> list[Column]:
        """See `Unit`: ``input [frame, frequency]``, a channel axis between if there are several."""
        first = self.shape[0] == 1
        row, dims = self.shape[first:], ("frame", *DIMS[first:2])
        edges = ("item_edge",)
        attributes = {"long_name": self.settings.features, "units": "1"}
        columns = [
            Column("input", np.float32, dims, attributes, row=row),
            Column("input_offset", np.int64, edges, {"units": "1"}, role="edges"),
            Column("frame_time", np.float32, ("frame",), {"units": "s"}),
            *super().columns(),
        ]
        if self.settings.labels == "letter":
            columns = [
                *(column for column in columns if column.name != "label"),
                Column("letter", np.int16, ("character",), flag_attributes(LETTERS)),
                Column("letter_offset", np.int64, edges, {"units": "1"}, role="edges"),
            ]
        return columns

    def items(self, recording: Recording) -> Rows:
        """See `Unit`."""
        frames, middle = self.representation.utterance(recording.samples)
        length = np.array([len(recording.samples)])
        rows = {
            "input": frames,
            "input_offset": np.array([len(frames)]),
            "frame_time": middle.astype(np.float32),
            "waveform": recording.samples,
            "waveform_offset": length,
            "label": np.array([piece.label for piece in recording.pieces]),
            "start": np.array([0]),
            "stop": length,
            **self.phone_rows(recording.phones),
        }
        if recording.letters is not None:
            rows |= {
                "letter": recording.letters,
                "letter_offset": np.array([len(recording.letters)]),
            }
        return rows

    def add(self, rows: Rows, total: NDArray[np.float64]) -> int:
        """See `Unit`."""
        total += rows["input"].sum(axis=0, dtype=np.float64)
        return len(rows["input"])
