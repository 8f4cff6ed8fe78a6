"""Finding the files of a corpus, and opening none that would hang or fill the memory."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from speechscope.corpus.utterances import BadRecording, Scan, Utterance
from speechscope.errors import SpeechscopeError

AUDIO_SUFFIXES = (
    ".wav", ".flac", ".sph", ".nist", ".aiff", ".aif", ".ogg", ".opus", ".mp3",
)  # fmt: skip
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
LARGEST_TEXT = 1 << 26  # bytes; the labels of a day of speech are smaller


def walk(
    root: Path, wanted: Callable[[str], bool], problems: list[str]
) -> Iterator[tuple[Path, list[str]]]:
    """Walk below a folder, links included, each real folder once.

    Parameters
    ----------
    root
        Where to begin.
    wanted
        Whether a file of this lower-case name belongs to the corpus.
    problems
        Receives a line for each folder that cannot be read, and for each wanted name that is not a
        file (a pipe, a link to nothing).

    Yields
    ------
    Each folder, and the wanted files in it, both in order of their names.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(f"{folder}: cannot be read ({error.strerror})")
            continue
        files, folders = [], []
        for entry in inside:
            if entry.name.startswith("."):
                continue
            if _holds(entry.is_dir):
                folders.append(folder / entry.name)
            elif wanted(entry.name.lower()):
                if _holds(entry.is_file):
                    files.append(entry.name)
                else:
                    problems.append(f"{folder / entry.name}: is not a file")
        yield folder, files
        waiting += reversed(folders)


def _holds(question: Callable[[], bool]) -> bool:
    """Answer no of a link to itself, of which the system says that it is too long."""
    try:
        return question()
    except OSError:
        return False


def check_folder(root: Path) -> None:
    """Refuse what is not a folder.

    Raises
    ------
    SpeechscopeError
        There is no such folder.
    """
    if not root.is_dir():
        raise SpeechscopeError(f"{root} is not a folder; name a corpus folder")


def check_regular(path: Path) -> int:
    """Return the size [bytes] of a file that can be opened without waiting for a writer.

    Raises
    ------
    BadRecording
        It is not there, or not a regular file.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise BadRecording(f"{path.name} cannot be read ({_reason(error)})") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadRecording(f"{path.name} is not a regular file")
    return status.st_size


def read_text(path: Path, *, latin: bool = False) -> str:
    r"""Read a label or text file: UTF-8, or UTF-16 where a byte order mark says so.

    Parameters
    ----------
    latin
        Whether a file that is not UTF-8 is taken as ISO 8859-1, as Praat does, and not refused.

    Returns
    -------
    The text, its lines ended by ``\n``.

    Raises
    ------
    BadRecording
        It cannot be read, is no text, or is too large to be a label file.
    """
    size = check_regular(path)
    if size > LARGEST_TEXT:
        raise BadRecording(f"{path.name} has {size} bytes: it cannot be a label file")
    try:
        content = path.read_bytes()
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text = content.decode("utf-16")
        else:
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError:
                if not latin:
                    raise
                text = content.decode("latin-1")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecording(f"{path.name} cannot be read ({_reason(error)})") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a text that hold anything, with their numbers; see `read_text`."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line) for number, line in lines if line.strip()]


def recordings(files: Iterable[str]) -> dict[str, str]:
    """Return the recordings among file names, by lower-case stem.

    Where a copy holds both ``SA1.WAV`` and ``SA1.WAV.wav``, the longer name (a conversion any
    reader understands) wins.
    """
    names: dict[str, str] = {}
    for name in files:
        if not is_audio(name.lower()):
            continue
        stem = stem_of(name)
        if len(name) > len(names.get(stem, "")):
            names[stem] = name
    return names


def is_audio(name: str) -> bool:
    """Whether a lower-case file name is that of a recording."""
    return name.endswith(AUDIO_SUFFIXES)


def stem_of(name: str) -> str:
    """Return a file name in lower case without its suffix, or without both of ``.WAV.wav``."""
    path = Path(name.lower())
    inner = Path(path.stem)
    return inner.stem if is_audio(path.name) and is_audio(inner.name) else path.stem


def split_of(relative: Path) -> str:
    """Return the split that the folders of a path name (``TRAIN``, ``dev-clean``), or nothing."""
    for part in relative.parts:
        name = part.lower()
        if name in SPLIT_FOLDERS:
            return SPLIT_FOLDERS[name]
        first, dash, _ = name.partition("-")
        if dash and first in ("train", "dev", "test"):
            return first
    return ""


def word(name: str) -> str:
    """Make a name fit for a list separated by blanks (CF ``flag_meanings``)."""
    return "_".join(name.split()) or "_"


def speakers(root: Path, folders: Iterable[Path]) -> dict[Path, str]:
    """Return the speaker of every folder that holds recordings.

    It is the topmost folder below the one they all share that names neither a split nor a kind of
    file: ``wav/p225`` and ``train/19/198`` are of p225 and 19. Recordings that lie together in one
    folder count as one speaker's, which never leaks a voice from one split into another.
    """
    distinct = sorted(set(folders))
    if not distinct:
        return {}
    shared = Path(os.path.commonpath(distinct))
    names = {}
    for folder in distinct:
        named = [p for p in folder.relative_to(shared).parts if not _is_kind(p)]
        above = [
            p for p in (root.resolve().name, *shared.relative_to(root).parts) if not _is_kind(p)
        ]
        names[folder] = word((named[:1] or above[-1:] or [root.resolve().name])[0])
    return names


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
    return Scan(
        tuple(sorted(once.values(), key=lambda u: (u.split != "train", u))), tuple(problems)
    )


def _is_kind(part: str) -> bool:
    return part.lower() in KIND_FOLDERS or split_of(Path(part)) != ""


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


Files = dict[str, Path]
"""Of one kind, in one folder: by lower-case stem."""


def by_folder(
    root: Path, labels: tuple[str, ...], texts: tuple[str, ...], problems: list[str]
) -> dict[Path, tuple[Files, Files, Files]]:
    """Return the recordings, the label files and the files with words in every folder.

    Parameters
    ----------
    labels, texts
        Suffixes of label files, and of files with words, in lower case.
    problems
        See `walk`.
    """
    folders = {}
    for folder, files in walk(root, lambda n: is_audio(n) or n.endswith(labels + texts), problems):
        named, spoken = (
            {stem_of(n): folder / n for n in files if n.lower().endswith(suffixes)}
            for suffixes in (labels, texts)
        )
        sounds = {stem: folder / name for stem, name in recordings(files).items()}
        folders[folder] = sounds, named, spoken
    return folders


def paired(
    root: Path, labels: tuple[str, ...], texts: tuple[str, ...], problems: list[str]
) -> list[Utterance]:
    """Find recordings and their label files, each named by the other.

    A label file and its recording have one name, apart from the suffix and from case. They lie
    in one folder, or else, if that is so for none, in two trees that differ in one folder's name
    (``wav/p225/a.wav``, ``TextGrid/p225/a.TextGrid``). What finds no partner is a problem. Files
    with words are looked for beside the recording and the label file.
    """
    folders = by_folder(root, labels, texts, problems)
    pairs = {
        sounds[stem]: (path, spoken.get(stem))
        for sounds, named, spoken in folders.values()
        for stem, path in named.items()
        if stem in sounds
    } or _mirrored(folders, problems)
    used = {path for audio, (label, _) in pairs.items() for path in (audio, label)}
    for kind, partner in ((0, labels[0]), (1, "recording")):
        problems += [
            f"{path}: has no {partner} that goes with it"
            for files in folders.values()
            for path in files[kind].values()
            if path not in used
        ]
    speaker = speakers(root, [audio.parent for audio in pairs])
    return [
        Utterance(
            split_of(audio.parent.relative_to(root)),
            speaker[audio.parent],
            word(label.stem),
            audio,
            label,
            text,
        )
        for audio, (label, text) in pairs.items()
    ]


def _mirrored(
    folders: dict[Path, tuple[Files, Files, Files]], problems: list[str]
) -> dict[Path, tuple[Path, Path | None]]:
    """Return the label file, and the file with words, of recordings in trees like theirs."""
    pairs: dict[Path, tuple[Path, Path | None]] = {}
    for folder, (_, named, spoken) in folders.items():
        for stem, path in named.items():
            alike = [f for f, (s, *_) in folders.items() if stem in s and _mirrors(folder, f)]
            sounds = [folders[other][0][stem] for other in alike]
            if len(sounds) > 1:
                problems.append(f"{path}: could belong to any of {', '.join(map(str, sounds))}")
            elif sounds and sounds[0] in pairs:
                problems.append(f"{path}: {sounds[0]} has labels in {pairs[sounds[0]][0]}, too")
            elif sounds:
                text = spoken.get(stem) or folders[alike[0]][2].get(stem)
                pairs[sounds[0]] = path, text
    return pairs


def _mirrors(first: Path, second: Path) -> bool:
    """Whether two folders differ in one part of their paths at most."""
    a, b = list(first.parts), list(second.parts)
    for end in (0, -1):
        while a and b and a[end] == b[end]:
            a.pop(end)
            b.pop(end)
    return len(a) <= 1 and len(b) <= 1
