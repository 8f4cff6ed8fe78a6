"""Which label file goes with which recording, who speaks in it, and what split it is in."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from speechscope.corpus.files import walk, word
from speechscope.corpus.utterances import BadRecording, Scan, Utterance
from speechscope.errors import SpeechscopeError

AUDIO_SUFFIXES = (
    ".wav", ".flac", ".sph", ".nist", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".w64",
    ".rf64", ".voc", ".ogg", ".oga", ".opus", ".mp3",
)  # fmt: skip
"""Suffixes of recordings, those that lose nothing first."""
LOSSY = (".ogg", ".oga", ".opus", ".mp3")
UNREAD = (
    ".m4a", ".mp4", ".m4b", ".aac", ".wma", ".amr", ".webm", ".mkv", ".mka", ".mov", ".avi",
    ".3gp", ".ac3", ".ape", ".wv", ".dts", ".ra", ".rm", ".tta", ".spx", ".flv", ".raw", ".pcm",
)  # fmt: skip
"""Recordings that libsndfile does not read, or that are samples without a header."""
WHICH = "what loses nothing is read"
UNUSUAL = re.compile(r"[^\w+-]")
"""What Praat writes as an underscore in the names of objects."""
_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b".snd", b"NIST", b"caff", b"ID3",
          b"Crea", b"riff", b"\xff\xfb", b"\xff\xf3")  # fmt: skip
"""What recordings begin with that have another suffix, or none."""
SPLIT_FOLDERS = {
    "train": "train", "training": "train",
    "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev",
    "test": "test", "eval": "test",
}  # fmt: skip
# Folders that say what kind of file is in them, not who speaks.
KIND_FOLDERS = {
    "wav", "wavs", "audio", "flac", "sound", "sounds", "speech", "recordings", "data", "corpus",
    "lab", "labs", "label", "labels", "textgrid", "textgrids", "grid", "grids", "annotation",
    "annotations", "alignment", "alignments", "aligned",
}  # fmt: skip
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:[0-2]\d|3[01])(?!\d)")
_CALLED = re.compile(
    r"(?:spk|spkr|speaker|sub|subj|subject|participant|talker)(?![^\W\d_]{2})", re.I
)
"""What parts of file names begin with that say who speaks."""
_NO_SPEAKER = re.compile(
    r"[fmw]|(?:fe)?male|(?:dr|ses|sess|session|rec|recording|u|utt|utterance|sent|sentence|word|item|"
    r"take|trial|list|block|rep|run|task|text|story|part|page|file|track|tape|mic|ch|channel|day|"
    r"neutral|happy|sad|angry|afraid)\d*"
)
"""What parts of file names say, folded, that tell no speakers apart."""

Files = dict[str, Path]
"""Of one kind, in one folder: by the name that partners share (`_Names`)."""


class Problems(list[str]):
    """A line for each file that cannot be used; beside them `notes` of what was chosen."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        super().__init__(lines)
        self.notes: list[str] = []


@dataclass
class Folder:
    """What lies in one folder: recordings, label files, files with words, and the rest."""

    sounds: Files = field(default_factory=dict)
    labels: Files = field(default_factory=dict)
    texts: Files = field(default_factory=dict)
    others: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))


def is_audio(name: str) -> bool:
    """Whether a lower-case file name is that of a recording."""
    return name.endswith(AUDIO_SUFFIXES)


def stem_of(name: str, suffixes: tuple[str, ...] = ()) -> str:
    """Return a file name without its suffix, or without both of ``.WAV.wav``; case stays."""
    low = name.lower()
    for suffix in sorted(suffixes, key=len, reverse=True):
        if low.endswith(suffix):
            return name[: -len(suffix)]
    inner = Path(Path(name).stem)
    return inner.stem if is_audio(low) and is_audio(inner.name.lower()) else inner.name


def folded(stem: str) -> str:
    """Return what names share that differ by case, or in how Unicode writes an accent, only."""
    return unicodedata.normalize("NFC", stem).lower()


class _Names:
    """Names that partners share: folded, but where a folder has two that folding makes one."""

    def __init__(self, folders: Iterable[Iterable[tuple[str, str]]]) -> None:
        self._several: set[str] = set()
        for stems in folders:
            spelt: dict[tuple[str, str], str] = {}
            for kind, stem in stems:
                if spelt.setdefault((kind, name := folded(stem)), stem) != stem:
                    self._several.add(name)

    def __call__(self, stem: str) -> str:
        name = folded(stem)
        return stem if name in self._several else name


class _Parts:
    """Label files that are of several recordings: under which names those are known."""

    def __init__(
        self, sounds: Iterable[str], inside: Callable[[Path], Iterable[str]] | None
    ) -> None:
        self._sounds = {UNUSUAL.sub("_", key): key for key in sounds}
        self._inside = inside

    def of(self, path: Path, key: str, problems: list[str]) -> list[str]:
        """Return the recordings of a label file, or none where it is of that of its name."""
        if self._inside is None or UNUSUAL.sub("_", key) in self._sounds:
            return []
        try:
            names = [(name, UNUSUAL.sub("_", folded(name))) for name in self._inside(path)]
        except BadRecording as error:
            problems.append(f"{path}: {error}")
            return []
        return [self._sounds.get(plain, name) for name, plain in names] if len(names) > 1 else []


def by_folder(
    root: Path,
    labels: tuple[str, ...],
    texts: tuple[str, ...],
    problems: list[str],
    inside: Callable[[Path], Iterable[str]] | None = None,
) -> dict[Path, Folder]:
    """Return what lies in every folder.

    Parameters
    ----------
    labels, texts
        Suffixes of label files, and of files with words, in lower case.
    problems
        See `walk`. Of two recordings of one name the lossless is taken, and a note says so.
    inside
        The names of the recordings that a label file is of; asked of those without one of theirs.
    """

    def kind_of(name: str) -> str:
        low = name.lower()
        if low.endswith(labels):
            return "labels"
        return "sounds" if is_audio(low) else "texts" if low.endswith(texts) else "others"

    found = [
        (folder, [(kind_of(n), stem_of(n, (*labels, *texts)), n) for n in files])
        for folder, files in walk(root, bool, problems, lambda name: kind_of(name) != "others")
    ]
    names = _Names([(k, s) for k, s, _ in files if k != "others"] for _, files in found)
    known = {names(s) for _, files in found for kind, s, _ in files if kind == "labels"}
    heard = {names(s) for _, files in found for kind, s, _ in files if kind == "sounds"}
    parts = _Parts(heard, inside)
    folders: dict[Path, Folder] = {}
    twice: list[str] = []
    for folder, files in found:
        held = folders[folder] = Folder()
        for kind, stem, name in files:
            key = names(stem)
            if kind == "others":
                if key in known:
                    held.others[key].append(folder / name)
            elif kind == "labels" and (several := parts.of(folder / name, key, problems)):
                held.labels = dict.fromkeys(several, folder / name) | held.labels
            elif kind == "labels" and key in held.labels:
                problems.append(f"{folder / name}: {held.labels[key].name} has its labels, too")
            elif kind != "sounds" or key not in held.sounds:
                getattr(held, kind)[key] = folder / name
            else:
                first, other = sorted((held.sounds[key], folder / name), key=_preference)
                held.sounds[key] = first
                if not _converted(first.name):
                    twice.append(f"{first} and not {other.name}")
        for key, paths in held.others.items():
            sound = next(filter(_sounds, paths), None) if key not in held.sounds else None
            if sound is not None:
                held.sounds[key] = sound
    if twice:
        _note(problems, f"{len(twice)} recordings lie there twice; {WHICH}: {twice[0]}")
    return folders


def _converted(name: str) -> bool:
    return is_audio(Path(name.lower()).stem)


def _preference(path: Path) -> tuple[bool, bool, int, str]:
    """``SA1.WAV.wav``, a conversion any reader understands, first; then what loses nothing."""
    suffix = path.suffix.lower()
    return not _converted(path.name), suffix in LOSSY, AUDIO_SUFFIXES.index(suffix), path.name


def _sounds(path: Path) -> bool:
    """Whether a file begins as recordings do, or libsndfile knows it."""
    if path.suffix.lower() in UNREAD:
        return False
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(_MAGIC) or _opens(path)
    except OSError:
        return False


def _opens(path: Path) -> bool:
    import soundfile

    try:
        return bool(soundfile.info(path).frames)
    except (soundfile.SoundFileError, TypeError, ValueError):
        return False


def paired(
    root: Path,
    labels: tuple[str, ...],
    texts: tuple[str, ...],
    problems: list[str],
    needs: str = "recording with labels",
    inside: Callable[[Path], Iterable[str]] | None = None,
) -> list[tuple[Path, Path, Path | None]]:
    """Find recordings and their label files, each named by the other; and files with words.

    A label file and its recording have one name, apart from the suffix, from case, and from how
    Unicode writes an accent. They lie in one folder; or else in two trees (`_mirrored`). What
    finds no partner is a problem. Files with words are looked for beside either.

    Raises
    ------
    SpeechscopeError
        There are recordings and label files, but no two go together.
    """
    folders = by_folder(root, labels, texts, problems, inside)
    pairs = {
        held.sounds[stem]: (path, held.texts.get(stem))
        for held in folders.values()
        for stem, path in held.labels.items()
        if stem in held.sounds
    }
    told = {label for label, _ in pairs.values()}
    pairs |= _mirrored(folders, pairs, told, problems)
    told |= {label for label, _ in pairs.values()}
    lone = [p for f in folders.values() for p in f.sounds.values() if p not in pairs]
    loose = [p for f in folders.values() for p in f.labels.values() if p not in told]
    if not pairs and lone and loose:
        raise SpeechscopeError(
            f"{root} holds no {needs}: they have to have one name but for the suffix, and "
            f"{loose[0]} and {lone[0]} have not"
            + (f"; the first of {len(problems)} problems: {problems[0]}" if problems else "")
        )
    problems += [f"{path}: has no {labels[0]} that goes with it" for path in lone]
    problems += [_without(path, folders[path.parent]) for path in dict.fromkeys(loose)]
    held = Counter(label for label, _ in pairs.values())
    for path, count in Counter(p for f in folders.values() for p in f.labels.values()).items():
        if 0 < held[path] < count:
            problems.append(f"{path}: {count - held[path]} of its {count} grids have no recording")
    return [(audio, label, text) for audio, (label, text) in pairs.items()]


def _without(path: Path, beside: Folder) -> str:
    """Say of a label file that it has no recording, or what it has that cannot be read."""
    for paths in beside.others.values():
        for other in paths:
            unread = other.suffix.lower() in UNREAD
            if unread and folded(stem_of(other.name)) == folded(stem_of(path.name)):
                return f"{other}: {other.suffix} is not read; convert it to WAV or FLAC"
    return f"{path}: has no recording that goes with it"


def _mirrored(
    folders: Mapping[Path, Folder],
    paired: Mapping[Path, object],
    told: set[Path],
    problems: list[str],
) -> dict[Path, tuple[Path, Path | None]]:
    """Return the label file, and the file with words, of recordings in trees like theirs.

    Of the recordings of its name a label file goes with the one whose folder differs in one
    part of its path, or has the most of the last parts of its path; or with the only one, where
    it is the only label file of that name, too.
    """
    sounds: dict[str, list[Path]] = defaultdict(list)
    named: dict[str, list[Path]] = defaultdict(list)
    for folder, held in folders.items():
        for stem in held.sounds:
            sounds[stem].append(folder)
        for stem, path in held.labels.items():
            if path not in told:
                named[stem].append(folder)
    pairs: dict[Path, tuple[Path, Path | None]] = {}
    notes: list[str] = []
    trees = len({f for fs in named.values() for f in fs}), len(set().union(*sounds.values()))
    for stem, places in named.items():
        for folder in places:
            path = folders[folder].labels[stem]
            alone = len(places) == 1 and not paired
            kinds = min(trees) == 1 or any(
                map(_is_kind, (folder.name, *(o.name for o in sounds[stem])))
            )
            alike = _alike(folder, sounds[stem], alone=alone and kinds, mixed=bool(paired))
            heard = [folders[other].sounds[stem] for other in alike]
            if len(heard) > 1:
                problems.append(f"{path}: could belong to any of {', '.join(map(str, heard))}")
                told.add(path)
            elif heard and (heard[0] in pairs or heard[0] in paired):
                where = pairs[heard[0]][0] if heard[0] in pairs else "its own folder"
                problems.append(f"{path}: {heard[0]} has labels in {where}, too")
                told.add(path)
            elif heard:
                beside = folders[folder].texts.get(stem) or folders[alike[0]].texts.get(stem)
                pairs[heard[0]] = path, beside
                notes.append(f"{path} goes with {heard[0]}")
    if notes and isinstance(problems, Problems):
        problems.notes.append(f"{len(notes)} label files lie in another tree: {notes[0]}")
    return pairs


def _alike(folder: Path, others: Sequence[Path], *, alone: bool, mixed: bool) -> list[Path]:
    """Return the folders whose recording a label file's could be."""
    ends = {other: _apart(folder, other) for other in others}
    close = [
        other
        for other, (tail, mine, theirs) in ends.items()
        if len(mine) <= 1
        and len(theirs) <= 1
        and (not mixed or tail or any(map(_is_kind, (*mine, *theirs))))
    ]
    if close:
        return close
    longest = max((tail for tail, _, _ in ends.values()), default=0)
    best = [other for other, (tail, _, _) in ends.items() if tail == longest]
    if longest > 0 and len(best) == 1:
        return best
    return list(others) if alone and len(others) == 1 else []


def _apart(first: Path, second: Path) -> tuple[int, list[str], list[str]]:
    """Return how many last parts paths share, and the parts of each that the other has not."""
    a, b = list(first.parts), list(second.parts)
    while a and b and a[0] == b[0]:
        a.pop(0)
        b.pop(0)
    tail = 0
    while a and b and a[-1] == b[-1]:
        a.pop()
        b.pop()
        tail += 1
    return tail, a, b


def split_of(relative: Path) -> str:
    """Return the split that the folders of a path name (``TRAIN``, ``dev-clean``), or nothing."""
    return next(filter(None, map(_split_name, relative.parts)), "")


def _split_name(part: str) -> str:
    name = part.lower()
    first, dash, _ = name.partition("-")
    return SPLIT_FOLDERS.get(name) or (first if dash and first in ("train", "dev", "test") else "")


@dataclass(frozen=True)
class Sorting:
    """How recordings are sorted by speaker and split.

    Parameters
    ----------
    pattern
        Finds the speaker in a recording's path below the corpus folder: its first group, or all.
    undivided
        Whether the names of folders do not count as splits: another rule was asked for.
    strict
        Whether one folder that names a split makes them count; else train and test have to be
        there, or every recording lie in one.
    nearest
        Whether the speaker is the folder that a recording lies in, not the topmost that tells.
    """

    pattern: str | None = None
    undivided: bool = False
    strict: bool = False
    nearest: bool = False

    def utterances(
        self,
        root: Path,
        found: Sequence[tuple[Path, Path | None, Path | None]],
        problems: list[str],
    ) -> list[Utterance]:
        """Make utterances of recordings, their label files and their files with words."""
        folders = {audio.parent for audio, _, _ in found}
        splits = {folder: split_of(folder.relative_to(root)) for folder in folders}
        given = set(splits.values())
        counted = bool(given - {""}) and (
            "" not in given or self.strict or {"train", "test"} <= given
        )
        if not counted and given - {""}:
            named = sorted({_first_split(root, f) for f in folders if splits[f]})
            _note(problems, f"{', '.join(named)}: not taken for splits, most lies beside them")
            splits = dict.fromkeys(folders, "")
        if counted and "" in given and not self.undivided:
            found = _passed_over(root, found, splits, problems)
        speaker = self._speakers(root, [audio for audio, _, _ in found], problems, counted)
        shared = {b for b, count in Counter(b for _, b, _ in found).items() if count > 1}
        return [
            Utterance(
                splits[a.parent],
                speaker[a],
                word(stem_of((a if b is None or b in shared else b).name)),
                a,
                b,
                text,
            )
            for a, b, text in found
        ]

    def _speakers(
        self, root: Path, recordings: Sequence[Path], problems: list[str], counted: bool
    ) -> dict[Path, str]:
        """Return the speaker of every recording: by the pattern, its folder, or its name."""
        below = {path: path.relative_to(root).with_suffix("").as_posix() for path in recordings}
        if self.pattern is not None:
            matches = {path: re.search(self.pattern, name) for path, name in below.items()}
            missed = [path for path, match in matches.items() if match is None]
            if missed:
                raise SpeechscopeError(
                    f"--speaker-pattern {self.pattern}: finds no speaker in {below[missed[0]]} "
                    f"(and {len(missed) - 1} others of {len(below)})"
                )
            found = {
                path: word(next(filter(None, m.groups()), "") or m[0])
                for path, m in matches.items()
                if m is not None
            }
            _tell(found, "by --speaker-pattern", problems)
            return found
        if self.nearest:
            folder = {p.parent: word(p.parent.name) for p in recordings}
        else:
            folder = speakers(root, [path.parent for path in recordings], splits=counted)
        if len(set(folder.values())) == 1 and (named := _by_name(recordings)):
            _tell(named, "by the names of their files (else --speaker-pattern)", problems)
            return named
        return {path: folder[path.parent] for path in recordings}


def _note(problems: list[str], line: str) -> None:
    if isinstance(problems, Problems):
        problems.notes.append(line)


def _tell(speaker: Mapping[Path, str], how: str, problems: list[str]) -> None:
    first: dict[str, Path] = {}
    for path, name in speaker.items():
        first.setdefault(name, path)
    shown = ", ".join(f"{name} ({path.name})" for name, path in list(first.items())[:3])
    _note(problems, f"{len(first)} speakers {how}: {shown}")


def _first_split(root: Path, folder: Path) -> str:
    return next(part for part in folder.relative_to(root).parts if _split_name(part))


def _by_name(recordings: Sequence[Path]) -> dict[Path, str]:
    """Return the speakers that a part of all file names says (``1_anna``), or nothing.

    Chosen: the part that calls itself one (``sub-01``), else the first with letters in every name,
    else the first number; dates and words such as ``utt3`` are passed over. It is believed where it
    has several forms, and two recordings of each on the average; of one that differs everywhere
    (``anna1``), where its letters have.
    """
    names = [_parts_of(stem_of(path.name)) for path in recordings]
    shortest = min(map(len, names))
    columns = [[name[n] for name in names] for n in (*range(shortest), -1)]
    letters = [c for c in columns if all(map(_lettered, c))]
    said = [column for column in letters if all(map(_CALLED.match, column))]
    named = []
    for column in letters:
        stems = [part.rstrip("0123456789") for part in column]
        named += [column, *[stems] * (min(map(len, stems)) > 1)]
    numbers = columns[:1] if shortest > 1 else []
    for column in (*said, *named, *numbers):
        spelt: dict[str, str] = {}  # p225_1 and P225_2 are of one
        found = [spelt.setdefault(folded(part), part) for part in column]
        if 1 < len(spelt) <= len(column) / 2 and not all(map(_NO_SPEAKER.fullmatch, spelt)):
            return dict(zip(recordings, found, strict=True))
    return {}


def _parts_of(stem: str) -> list[str]:
    """Return the parts of a file name: between signs; of one without, letters and their number."""
    parts: list[str] = []
    for part in re.split(r"[^\w]+|_+", _DATE.sub("", stem)):
        if parts and part and _CALLED.fullmatch(parts[-1]):
            parts[-1] += f"-{part}"
        elif part:
            parts.append(part)
    return parts if len(parts) > 1 else re.findall(r"[^\W\d_]+\d*|\d+", "".join(parts)) or [stem]


def _lettered(part: str) -> bool:
    return any(map(str.isalpha, part))


def _passed_over(
    root: Path,
    found: Sequence[tuple[Path, Path | None, Path | None]],
    splits: Mapping[Path, str],
    problems: list[str],
) -> list[tuple[Path, Path | None, Path | None]]:
    """Leave out what lies in no folder of a split, and name those folders."""
    outside = Counter(
        next(iter(audio.parent.relative_to(root).parts), ".")
        for audio, _, _ in found
        if not splits[audio.parent]
    )
    named = sorted({_first_split(root, folder) for folder, split in splits.items() if split})
    problems += [
        f"{root / folder}: {count} recordings passed over: it is no split, as "
        f"{', '.join(named)} {'is' if len(named) == 1 else 'are'}; --split share:0.25 takes all"
        for folder, count in sorted(outside.items())
    ]
    return [one for one in found if splits[one[0].parent]]


def speakers(root: Path, folders: Iterable[Path], *, splits: bool = True) -> dict[Path, str]:
    """Return the speaker of every folder that holds recordings.

    It is the topmost folder below the one they all share that names neither a split nor a kind of
    file: ``wav/p225`` and ``train/19/198`` are of p225 and 19. Recordings that lie together in one
    folder count as one speaker's, which never leaks a voice from one split into another.

    Parameters
    ----------
    splits
        Whether names of splits are splits here: the topmost of a path, the others are names.
    """
    distinct = sorted(set(folders))
    if not distinct:
        return {}
    shared = Path(os.path.commonpath(distinct))
    names = {}
    for folder in distinct:
        named = _names(folder.relative_to(shared), splits)
        above = _names(Path(root.resolve().name) / shared.relative_to(root), splits)
        names[folder] = word((named[:1] or above[-1:] or [root.resolve().name])[0])
    return names


def _names(relative: Path, splits: bool) -> list[str]:
    """Return the parts of a path that say no kind of file, nor, the first time, a split."""
    names = []
    for part in relative.parts:
        if splits and _split_name(part):
            splits = False
        elif part.lower() not in KIND_FOLDERS:
            names.append(part)
    return names


def _is_kind(part: str) -> bool:
    return part.lower() in KIND_FOLDERS or _split_name(part) != ""


def ordered(utterances: Iterable[Utterance], problems: list[str], root: Path) -> Scan:
    """Put utterances in order, the training ones first, each with an identity of its own.

    Recordings of one speaker that share a name get the names of their folders before it.
    """
    every = list(utterances)
    count = Counter(u.identity for u in every)
    once: dict[str, Utterance] = {}
    for utterance in every:
        if count[utterance.identity] > 1:
            folder = utterance.audio.parent
            inside = folder.relative_to(root) if folder.is_relative_to(root) else folder
            name = word("_".join([*inside.parts, utterance.name]))
            utterance = replace(utterance, name=name)
        if utterance.identity in once:
            problems.append(f"{utterance.audio}: a second recording named {utterance.key}")
        else:
            once[utterance.identity] = utterance
    notes = problems.notes if isinstance(problems, Problems) else []
    return Scan(
        tuple(sorted(once.values(), key=lambda u: (u.split != "train", u))),
        tuple(problems),
        tuple(notes),
    )
