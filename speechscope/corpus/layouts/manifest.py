"""A corpus listed in a table: CSV or TSV with the columns ``audio,start,end,label,speaker,split``.

A row is one labelled stretch, with times in seconds; or, with ``start``, ``end`` and ``label``
empty, a whole recording and its words in the column ``text``. Paths are relative to the table.
``speaker`` and ``split`` may be left out: the speaker is then the recording's folder. Columns may
have the names that other tools give them (`ALIASES`); others are passed over.
"""

import csv
import io
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from speechscope.corpus.files import check_folder, read_text, word
from speechscope.corpus.layouts import MANIFESTS, Layout, first_of
from speechscope.corpus.pairing import SPLIT_FOLDERS, Problems, ordered
from speechscope.corpus.utterances import BadRecording, Marks, Scan, Segment, Utterance
from speechscope.errors import SpeechscopeError
from speechscope.registry import LAYOUTS

_TIMED = ("start", "end", "label")
ALIASES = {
    "audio": "path file filename filepath wav wav_path wav_filename audio_path audio_filepath "
    "audio_file sound recording",
    "start": "onset begin tmin xmin start_time begin_time",
    "end": "offset stop tmax xmax end_time stop_time",
    "label": "labels phone phones phoneme segment",
    "text": "transcript transcription sentence words",
    "speaker": "spk speaker_id spk_id client_id talker subject",
    "split": "subset partition set",
}
"""Of each column the other names that it goes by: those of Common Voice, NeMo, Praat, R, …."""


@dataclass
class _Entry:
    """What the rows of one recording say."""

    speaker: str
    split: str
    line: int
    text: str = ""
    rows: dict[Segment, None] = field(default_factory=dict)
    problem: str = ""
    twice: int = 0


@LAYOUTS.register("manifest")
class Manifest(Layout):
    """See the module; `layout_of` takes one at the top of a folder before anything else."""

    tiered = False

    def scan(self, root: Path) -> Scan:
        """See `Layout`; reads a manifest, or the ``manifest.csv`` or ``.tsv`` of a folder.

        A recording with a malformed row is left out as a whole, and named.
        """
        path = _table(root)
        try:
            rows = _rows(path)
        except csv.Error as error:
            raise SpeechscopeError(f"{path}: {error}") from error
        header = _header(path, rows)
        entries: dict[str, _Entry] = {}
        problems = Problems()
        for line, row in rows[1:]:
            cells = dict(zip(header, row, strict=False))
            if not cells.get("audio"):
                problems.append(f"{path} line {line}: names no recording")
                continue
            audio = os.path.normpath(cells["audio"])
            entry = entries.setdefault(audio, _Entry(*_who(path, cells), line))
            if not entry.problem:
                entry.problem = _add(entry, cells, len(row) - len(header), path, line)
        utterances = [_utterance(path, audio, e) for audio, e in entries.items() if not e.problem]
        problems += [f"{path.parent / a}: {e.problem}" for a, e in entries.items() if e.problem]
        if not utterances:
            raise SpeechscopeError(f"{path} lists no usable recording{first_of(problems)}")
        twice = sum(e.twice for e in entries.values())
        if twice:
            problems.notes.append(f"{twice} rows are there twice, and count once")
        return ordered(utterances, problems, path.parent)

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """See `Layout`: those of the table, in seconds."""
        if utterance.marks is None:
            raise BadRecording("has no start, end and label in the manifest")
        return utterance.marks

    def text(self, utterance: Utterance) -> str:
        """See `Layout`: the words in the table."""
        if utterance.transcript is None:
            raise BadRecording("has no text in the manifest")
        return utterance.transcript


def _table(root: Path) -> Path:
    if root.is_file():
        return root
    check_folder(root)
    for name in MANIFESTS:
        if (root / name).is_file():
            return root / name
    raise SpeechscopeError(f"{root} holds no {' or '.join(MANIFESTS)}")


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that hold anything, with the lines they end on."""
    text = read_text(path)
    if text.startswith("sep="):  # for Excel
        text = text.partition("\n")[2]
    head = text.partition("\n")[0]
    # Spreadsheets of languages with decimal commas write semicolons.
    separator = next((s for s in "\t;|" if s in head and (s == "\t" or "," not in head)), ",")
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    # A message is one line, so that no cell may hold several.
    return [
        (reader.line_num, [cell.replace("\n", " ").strip() for cell in row])
        for row in reader
        if any(map(str.strip, row))
    ]


def _header(path: Path, rows: list[tuple[int, list[str]]]) -> list[str]:
    header = [name.lower() for name in rows[0][1]] if rows else []
    known = tuple(ALIASES)
    for column, others in ALIASES.items():
        found = next((name for name in others.split() if name in header), None)
        if column not in header and found is not None:
            header[header.index(found)] = column
    if "audio" not in header:
        raise SpeechscopeError(f"{path} has no column audio; its columns may be {', '.join(known)}")
    twice = [name for name in known if header.count(name) > 1]
    if twice:
        raise SpeechscopeError(f"{path} has two columns {twice[0]}")
    missing = [name for name in _TIMED if name not in header]
    if "text" not in header and missing:
        raise SpeechscopeError(f"{path} has no column {missing[0]}, and no column text")
    return header


def _who(path: Path, cells: dict[str, str]) -> tuple[str, str]:
    speaker = cells.get("speaker") or (path.parent.absolute() / cells["audio"]).parent.name
    return word(speaker), cells.get("split", "")


def _add(entry: _Entry, cells: dict[str, str], excess: int, path: Path, line: int) -> str:
    """Add a row; return what is wrong with it, or nothing."""
    place = f"{path.name} line {line}"
    if excess:
        return f"{place} has {'more' if excess > 0 else 'fewer'} cells than the header"
    audio = path.parent / cells["audio"]
    if "\\" in cells["audio"] and not audio.exists():
        return f"{place} names a file that is not there: write / and not \\ in its path"
    speaker, split = _who(path, cells)
    if speaker != entry.speaker:
        return f"{place} gives another speaker than line {entry.line}"
    if split != entry.split:
        return f"{place} gives another split than line {entry.line}"
    if split and split.lower() not in SPLIT_FOLDERS:
        return f"{place} has the split {split!r}; splits are train, dev and test"
    text = cells.get("text", "")
    if text and entry.text and text != entry.text:
        return f"{place} gives other words than the lines before"
    entry.text = text or entry.text
    times = [cells.get(name, "") for name in ("start", "end")]
    if any(times):
        start, stop = _seconds(times[0]), _seconds(times[1])
        if not (math.isfinite(start) and math.isfinite(stop)):
            return f"{place}: {', '.join(times)} are not two times in seconds"
        if not 0 <= start <= stop:
            return f"{place}: {times[0]} to {times[1]} is no stretch of time"
        segment = Segment(start, stop, cells.get("label", ""))
        if segment in entry.rows:
            entry.twice += 1
        entry.rows[segment] = None
    elif cells.get("label"):
        return f"{place} has a label without times"
    elif not text:
        return f"{place} gives neither a label nor words"
    return ""


def _seconds(cell: str) -> float:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return math.nan


def _utterance(path: Path, audio: str, entry: _Entry) -> Utterance:
    marks = Marks(tuple(sorted(entry.rows)), per_second=True) if entry.rows else None
    return Utterance(
        split=SPLIT_FOLDERS.get(entry.split.lower(), ""),
        speaker=entry.speaker,
        name=word(Path(audio).stem),
        audio=path.parent / audio,
        marks=marks,
        transcript=" ".join(entry.text.split()) or None,
    )
