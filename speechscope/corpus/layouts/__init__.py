"""The corpus layouts, and which of them a folder has."""

from collections import Counter
from pathlib import Path
from typing import Protocol

from speechscope.corpus.files import check_folder, walk
from speechscope.corpus.layouts.label_files import LabelFiles
from speechscope.corpus.layouts.librispeech import LibriSpeech
from speechscope.corpus.layouts.manifest import NAMES, Manifest
from speechscope.corpus.layouts.textgrid import TextGrids
from speechscope.corpus.layouts.timit import Timit
from speechscope.corpus.utterances import Marks, Scan, Utterance
from speechscope.errors import SpeechscopeError, UsageProblem


class Layout(Protocol):
    """A way to lay out recordings and their labels in folders.

    Layouts hold no state: threads can share them.
    """

    name: str
    tiers: bool
    """Whether a label file holds several tiers, so that `marks` can be asked for one."""

    def knows(self, name: str) -> bool:
        """Whether a file of this lower-case name marks the layout."""
        ...

    def scan(self, root: Path) -> Scan:
        """Find the utterances of a folder; raises SpeechscopeError where there is none."""
        ...

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """Read the time marks of an utterance; raises BadRecording."""
        ...

    def text(self, utterance: Utterance) -> str:
        """Read the words of an utterance; raises BadRecording."""
        ...


_ALL: tuple[Layout, ...] = (Timit(), TextGrids(), LibriSpeech(), LabelFiles(), Manifest())
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in _ALL}
"""By name, in the order in which a folder that could have several is taken for one of them."""


def find(root: Path, name: str | None = None) -> Layout:
    """Return the layout of a folder (or of a manifest file).

    A manifest at the top of the folder is taken before anything else: somebody put it there.

    Parameters
    ----------
    root
        The corpus folder, or a manifest.
    name
        The layout, where it is not to be found out.

    Raises
    ------
    SpeechscopeError
        There is no such folder, or it has none of the layouts; the message says what is there.
    UsageProblem
        There is no layout of that name.
    """
    if name is not None:
        if name not in LAYOUTS:
            raise UsageProblem(f"no layout is called {name}; choose from {', '.join(LAYOUTS)}")
        return LAYOUTS[name]
    if root.is_file():
        return LAYOUTS["manifest"]
    check_folder(root)
    if any((root / manifest).is_file() for manifest in NAMES):
        return LAYOUTS["manifest"]
    kinds: Counter[str] = Counter()
    marked: set[str] = set()
    for _, files in walk(root, lambda _: True, []):
        for file in map(str.lower, files):
            kinds[Path(file).suffix or "without suffix"] += 1
            marked.update(layout.name for layout in _ALL if layout.knows(file))
    for layout in _ALL[:-1]:
        if layout.name in marked:
            return layout
    there = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "no file"
    raise SpeechscopeError(
        f"{root} holds no labels speechscope knows (.PHN, .TextGrid, .trans.txt, .lab, or "
        f"{NAMES[0]} at its top), only: {there}"
    )
