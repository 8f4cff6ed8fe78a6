"""How a corpus folder is laid out: what every layout gives, and which of them a folder has."""

from collections import Counter
from pathlib import Path

from speechscope.corpus.files import check_folder, ordered, read_text, walk
from speechscope.corpus.utterances import BadRecording, Marks, Scan, Utterance
from speechscope.errors import SpeechscopeError
from speechscope.registry import LAYOUTS

MANIFESTS = ("manifest.csv", "manifest.tsv")


class Layout:
    """A way to lay out recordings and their labels in folders; registered in `LAYOUTS`.

    Layouts hold nothing but their name: threads can share them.

    Attributes
    ----------
    name
        That of the registry.
    rank
        A folder that could have several layouts is taken for the one of the lowest rank, and then
        for the first by name.
    needs
        What a folder has to hold, for the message where it does not.
    """

    rank = 100
    needs = "recording with labels"

    def __init__(self, name: str = "") -> None:
        self.name = name

    def knows(self, name: str) -> bool:
        """Whether a file of this lower-case name marks the layout."""
        return False

    def scan(self, root: Path) -> Scan:
        """Find the utterances of a folder, and what of it cannot be used.

        Raises
        ------
        SpeechscopeError
            There is no such folder, or no such recording in it.
        """
        check_folder(root)
        problems: list[str] = []
        utterances = self.utterances(root, problems)
        if not utterances:
            raise SpeechscopeError(f"{root} holds no {self.needs}")
        return ordered(utterances, problems, root)

    def utterances(self, root: Path, problems: list[str]) -> list[Utterance]:
        """Find the utterances of a folder, in any order; add what is wrong to `problems`."""
        raise NotImplementedError

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """Read the time marks of an utterance, of one tier where a file has several.

        Raises
        ------
        BadRecording
            There are none, or they are malformed or run backwards.
        """
        raise NotImplementedError

    def text(self, utterance: Utterance) -> str:
        """Read the words of an utterance: those of the file beside it.

        Raises
        ------
        BadRecording
            There are none.
        """
        if utterance.text is None:
            raise BadRecording("has no .txt beside it")
        words = read_text(utterance.text).split()
        if not words:
            raise BadRecording(f"{utterance.text.name} is empty")
        return " ".join(words)


def layout_of(root: Path, name: str | None = None) -> Layout:
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
    if name is None and not root.is_file():
        check_folder(root)
    if name is None and (root.is_file() or any((root / n).is_file() for n in MANIFESTS)):
        name = "manifest"
    if name is not None:
        layout: Layout = LAYOUTS[name](name)
        return layout
    layouts = sorted((LAYOUTS[n](n) for n in LAYOUTS.names()), key=lambda a: (a.rank, a.name))
    kinds: Counter[str] = Counter()
    marked: set[str] = set()
    for _, files in walk(root, lambda _: True, []):
        for file in map(str.lower, files):
            kinds[Path(file).suffix or "without suffix"] += 1
            marked.update(layout.name for layout in layouts if layout.knows(file))
    for layout in layouts:
        if layout.name in marked:
            return layout
    there = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "no file"
    raise SpeechscopeError(
        f"{root} holds no labels speechscope knows (.PHN, .TextGrid, .trans.txt, .lab, or "
        f"{MANIFESTS[0]} at its top), only: {there}"
    )
