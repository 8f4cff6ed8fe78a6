"""Label files that hold the labels of many recordings: HTK's ``.mlf`` and Kaldi's ``.ctm``.

A recording goes with the part that has its name; of several of that name, with the one whose
folders are those the part names.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from speechscope.corpus.files import numbered_lines
from speechscope.corpus.layouts import Layout
from speechscope.corpus.layouts.label_files import Lines, marks_of
from speechscope.corpus.pairing import by_folder, folded, stem_of
from speechscope.corpus.utterances import BadRecording, Marks, Segment, Utterance
from speechscope.registry import LAYOUTS

_TIME = re.compile(r"(?:\d{1,9}(?:\.\d{0,15})?|\.\d{1,15})(?:[eE][-+]?\d{1,2})?", re.ASCII)


class Listed(Layout):
    """A layout of such files: `parts` reads one."""

    suffix = ""
    tiered = False

    def knows(self, name: str) -> bool:
        """See `Layout`."""
        return name.endswith(self.suffix)

    def parts(self, path: Path) -> Iterable[tuple[str, Marks | BadRecording]]:
        """Yield the name of a recording, or its path, and its marks or what is wrong with them.

        Raises
        ------
        BadRecording
            The file is no such file.
        """
        raise NotImplementedError

    def utterances(self, root: Path, problems: list[str]) -> list[Utterance]:
        """See `Layout`."""
        folders = by_folder(root, (self.suffix,), (".txt",), problems)
        sounds: dict[str, list[Path]] = defaultdict(list)
        for held in folders.values():
            for path in held.sounds.values():
                sounds[folded(stem_of(path.name))].append(path)
        marks: dict[Path, Marks] = {}
        files = [path for held in folders.values() for path in held.labels.values()]
        for file in [f for f in files if "word" not in f.name.lower()] or files:
            try:
                for name, found in self.parts(file):
                    audio, why = _audio(name, sounds)
                    if isinstance(found, BadRecording):
                        problems.append(f"{audio or file}: {found}")
                    elif audio is None or audio in marks:
                        problems.append(f"{file}: {name} {why or 'is there twice'}")
                    else:
                        marks[audio] = found
            except BadRecording as error:
                problems.append(f"{file}: {error}")
        lone = [path for paths in sounds.values() for path in paths if path not in marks]
        problems += [f"{path}: has no labels in a {self.suffix}" for path in lone]
        texts = {a: folders[a.parent].texts.get(folded(stem_of(a.name))) for a in marks}
        every = self.sorting().utterances(root, [(a, None, texts[a]) for a in marks], problems)
        return [replace(u, marks=marks[u.audio]) for u in every]

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """See `Layout`: those found."""
        if utterance.marks is None:
            raise BadRecording(f"has no labels in a {self.suffix}")
        return utterance.marks


def _audio(name: str, sounds: dict[str, list[Path]]) -> tuple[Path | None, str]:
    """Return the recording of a name, or else why there is none."""
    path = PurePosixPath(name.replace("\\", "/"))
    found = sounds.get(folded(path.name)) or sounds.get(folded(path.stem)) or []
    wanted = [part for part in path.parent.parts if part not in ("*", "/", ".")]
    if len(found) > 1:
        found = [p for p in found if list(p.parent.parts[-len(wanted) :]) == wanted and wanted]
    if len(found) == 1:
        return found[0], ""
    return None, "could be one of several recordings" if found else "has no recording"


@LAYOUTS.register("mlf")
class MasterLabelFiles(Listed):
    """HTK's master label files: after ``#!MLF!#``, a quoted path, rows as in a ``.lab``, a dot."""

    rank = 5
    needs = "recording that an .mlf has labels for"
    suffix = ".mlf"

    def parts(self, path: Path) -> Iterator[tuple[str, Marks | BadRecording]]:
        """See `Listed`."""
        lines = numbered_lines(path)
        if not lines or lines[0][1].strip() != "#!MLF!#":
            raise BadRecording("has no line #!MLF!# at its top")
        name, rows = "", list[tuple[int, str]]()
        for number, line in lines[1:]:
            text = line.strip()
            if not name:
                name = text.strip('"')
                if text == name:
                    raise BadRecording(f"line {number} is no quoted name of a label file")
            elif text == ".":
                yield name, _read(rows, f"{path.name}: {name}")
                name, rows = "", []
            else:
                rows.append((number, line))
        if name:
            raise BadRecording(f"is cut short: the labels of {name} have no end")


def _read(rows: Lines, where: str) -> Marks | BadRecording:
    try:
        return marks_of(rows, where)
    except BadRecording as error:
        return error


@LAYOUTS.register("ctm")
class TimeMarked(Listed):
    """Kaldi's and NIST's time marks: ``recording channel start duration label [confidence]``."""

    rank = 6
    needs = "recording that a .ctm has labels for"
    suffix = ".ctm"

    def parts(self, path: Path) -> Iterator[tuple[str, Marks | BadRecording]]:
        """See `Listed`; a row that is there twice counts once."""
        found: dict[str, dict[Segment, None]] = defaultdict(dict)
        channels: dict[str, set[str]] = defaultdict(set)
        for number, line in numbered_lines(path):
            cells = line.split()
            if line.lstrip().startswith(";;"):
                continue
            if len(cells) not in (5, 6) or not all(map(_TIME.fullmatch, cells[2:4])):
                raise BadRecording(f"line {number} is not `recording channel start duration label`")
            start, length = float(cells[2]), float(cells[3])
            found[cells[0]][Segment(start, start + length, cells[4])] = None
            channels[cells[0]].add(cells[1])
        for name, segments in found.items():
            try:
                if len(channels[name]) > 1:
                    several = ", ".join(sorted(channels[name]))
                    raise BadRecording(
                        f"has labels of channels {several}: make a recording of each channel"
                    )
                yield name, Marks(tuple(sorted(segments)), per_second=True).check(name)
            except BadRecording as error:
                yield name, error
