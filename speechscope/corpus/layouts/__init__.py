"""How a corpus folder is laid out: what every layout gives, and which of them a folder has."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechscope.corpus.files import check_folder, read_text, walk
from speechscope.corpus.pairing import Problems, Sorting, ordered
from speechscope.corpus.utterances import BadRecording, Marks, Scan, Utterance
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.registry import LAYOUTS

if TYPE_CHECKING:
    from speechscope.stages.prepare import Prepare

MANIFESTS = ("manifest.csv", "manifest.tsv")
WORDS_RANK = 50
"""From here on layouts are told by files that may also hold words, and lie beside any labels."""


class Layout:
    """A way to lay out recordings and their labels in folders; registered in `LAYOUTS`.

    Layouts hold nothing but their name and what `layout_of` gives them: threads can share them.

    Attributes
    ----------
    name
        That of the registry.
    tier, speaker_pattern, annotated
        What the settings of those names say.
    tiered
        Whether its files may have several sequences of labels.
    undivided
        Whether the names of folders do not count as splits.
    timed, in_samples
        Whether its label files have time marks, and whether those are sample numbers.
    texts
        Suffixes of files with words, which are no labels left out.
    rank
        A folder that could have several layouts is taken for the one of the lowest rank, and then
        for the first by name.
    needs
        What a folder has to hold, for the message where it does not.
    """

    rank = 100
    needs = "recording with labels"
    tier: str | None = None
    speaker_pattern: str | None = None
    annotated = "canonical"
    tiered = True
    undivided = False
    timed = True
    in_samples = False
    texts: tuple[str, ...] = ()

    def __init__(self, name: str = "") -> None:
        self.name = name

    def knows(self, name: str) -> bool:
        """Whether a file of this lower-case name marks the layout."""
        return False

    def recognises(self, path: Path) -> bool:
        """Whether a file that `knows` would take is what its name says, where names are common."""
        return True

    def scan(self, root: Path) -> Scan:
        """Find the utterances of a folder, and what of it cannot be used.

        Raises
        ------
        SpeechscopeError
            There is no such folder, or no such recording in it.
        """
        check_folder(root)
        problems = Problems()
        utterances = self.utterances(root, problems)
        if not utterances:
            raise SpeechscopeError(f"{root} holds no {self.needs}{first_of(problems)}")
        return ordered(utterances, problems, root)

    def sorting(self) -> Sorting:
        """Return how recordings are sorted by speaker and split."""
        return Sorting(self.speaker_pattern, self.undivided)

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


def first_of(problems: Sequence[str]) -> str:
    """Return the first of some problems, to be put behind what they led to."""
    if not problems:
        return ""
    return f"; the first of {len(problems)} problems: {problems[0]}"


def layout_for(root: Path, settings: "Prepare", notes: list[str]) -> Layout:
    """Return the layout of a folder, told what the settings say; see `layout_of`."""
    layout = layout_of(root, settings.layout, notes)
    if settings.tier is not None and not layout.tiered:
        raise UsageProblem(f"--tier has no meaning for the layout {layout.name}: it has no tiers")
    layout.tier, layout.speaker_pattern = settings.tier, settings.speaker_pattern
    layout.annotated = settings.annotated
    layout.undivided = settings.split not in ("auto", "folder")
    return layout


def layout_of(root: Path, name: str | None = None, notes: list[str] | None = None) -> Layout:
    """Return the layout of a folder (or of a manifest file).

    A manifest at the top of the folder is taken before anything else: somebody put it there.

    Parameters
    ----------
    root
        The corpus folder, or a manifest.
    name
        The layout, where it is not to be found out.
    notes
        Told of label files that the layout leaves out.

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
    marked: dict[str, Counter[str]] = defaultdict(Counter)
    first: dict[tuple[str, str], Path] = {}
    for folder, files in walk(root, lambda _: True, [], lambda _: False):
        for file in files:
            name = file.lower()
            kind = Path(name).suffix or "without suffix"
            kinds[kind] += 1
            for layout in layouts:  # one that several read says the first of them
                if layout.knows(name) and (
                    layout.rank < WORDS_RANK or layout.recognises(folder / file)
                ):
                    marked[layout.name][kind] += 1
                    first.setdefault((layout.name, kind), folder / file)
                    break
    for layout in layouts:
        if layout.name in marked:
            if notes is not None:
                _tell_left(layout, layouts, marked, first, notes)
            return layout
    raise SpeechscopeError(
        f"{root} holds no labels speechscope knows (.PHN, .TextGrid, .lab, .eaf, … as "
        f"docs/layouts.md lists them, or {MANIFESTS[0]} at its top), only: "
        f"{_counted(kinds) or 'no file'}"
    )


def _tell_left(
    taken: Layout,
    layouts: Sequence[Layout],
    marked: dict[str, Counter[str]],
    first: dict[tuple[str, str], Path],
    notes: list[str],
) -> None:
    """Say which label files are left out, and how they are read instead."""
    left = []
    for other in layouts:
        if other is not taken and other.rank < WORDS_RANK and other.timed:
            kinds = marked.get(other.name, Counter())
            # What lies beside its label files may be the words.
            labels = [
                k for k in kinds if k not in taken.texts or other.recognises(first[other.name, k])
            ]
            if labels:
                counted = _counted(Counter({k: kinds[k] for k in labels}))
                left.append(f"{counted} (--layout {other.name})")
    if left:
        there = _counted(marked[taken.name])
        notes.append(f"read as {taken.name}: {there}; left out: {', '.join(left)}")


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
