"""The TIMIT layout: folders TRAIN and TEST, a folder per speaker, a ``.PHN`` beside each recording.

Copies of TIMIT differ in case (``TRAIN/DR1/FCJF0/SA1.WAV``, ``train/dr1/fcjf0/sa1.wav``), in
suffix (``SA1.WAV.wav`` where the SPHERE files were converted, ``.flac``), in the folder above
(``TIMIT``, ``data``), and other corpora in the same layout leave out the dialect folders. All are
read. Words are in a ``.TXT`` beside the recording: ``start stop text``.
"""

import re
from dataclasses import replace
from pathlib import Path

from speechscope.corpus.files import numbered_lines, read_text
from speechscope.corpus.layouts import Layout
from speechscope.corpus.pairing import Sorting, by_folder
from speechscope.corpus.utterances import BadRecording, Marks, Segment, Utterance
from speechscope.registry import LAYOUTS

_LABEL = re.compile(r"\s*(\d{1,15})\s+(\d{1,15})\s+(\S+)\s*", re.ASCII)
_TEXT = re.compile(r"\s*\d{1,15}\s+\d{1,15}\s+(\S.*?)\s*", re.ASCII | re.DOTALL)


@LAYOUTS.register("timit")
class Timit(Layout):
    """See the module."""

    rank = 1
    tiered = False
    in_samples = True
    texts = (".txt",)
    needs = (
        "recording with a .PHN beside it; name a corpus in TIMIT layout, or make one with "
        "`speechscope synth`"
    )

    def knows(self, name: str) -> bool:
        """See `Layout`."""
        return name.endswith(".phn")

    def utterances(self, root: Path, problems: list[str]) -> list[Utterance]:
        """See `Layout`; folders outside of TRAIN and TEST are passed over, unless all are."""
        found: list[tuple[Path, Path | None, Path | None]] = []
        for held in by_folder(root, (".phn",), (".txt",), problems).values():
            for stem in sorted(held.sounds.keys() | held.labels.keys()):
                if stem not in held.labels:
                    problems.append(f"{held.sounds[stem]}: has no .PHN beside it")
                elif stem not in held.sounds:
                    problems.append(f"{held.labels[stem]}: has no recording beside it")
                else:
                    found.append((held.sounds[stem], held.labels[stem], held.texts.get(stem)))
        return self.sorting().utterances(root, found, problems)

    def sorting(self) -> Sorting:
        """See `Layout`: a speaker has a folder."""
        return replace(super().sorting(), strict=True, nearest=True)

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """See `Layout`: ``start stop label`` a line, in samples."""
        if utterance.labels is None:
            raise BadRecording("has no .PHN beside it")
        path = utterance.labels
        segments: list[Segment] = []
        for number, line in numbered_lines(path):
            match = _LABEL.fullmatch(line)
            if match is None:
                raise BadRecording(f"{path.name} line {number} is not `start stop label`")
            segments.append(Segment(int(match[1]), int(match[2]), match[3]))
        return Marks(tuple(segments), per_second=False).check(path.name)

    def text(self, utterance: Utterance) -> str:
        """See `Layout`: ``start stop text``."""
        if utterance.text is None:
            raise BadRecording("has no .TXT beside it")
        match = _TEXT.fullmatch(read_text(utterance.text))
        if match is None:
            raise BadRecording(f"{utterance.text.name} is not `start stop text`")
        return " ".join(match[1].split())
