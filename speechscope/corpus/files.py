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


def recordings(files: Iterable[str]) -> dict[str, str]:
    """Return the recordings among file names, by lower-case stem.

    Where a copy holds both ``SA1.WAV`` and ``SA1.WAV.wav``, the longer name (a conversion any
    reader understands) wins.
    """
    found: dict[str, str] = {}
    for name in files:
        if not is_audio(name.lower()):
            continue
        stem = stem_of(name)
        if len(name) > len(found.get(stem, "")):
            found[stem] = name
    return found


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
    found = {}
    for folder in distinct:
        named = [p for p in folder.relative_to(shared).parts if not _is_kind(p)]
        above = [
            p for p in (root.resolve().name, *shared.relative_to(root).parts) if not _is_kind(p)
        ]
        found[folder] = word((named[:1] or above[-1:] or [root.resolve().name])[0])
    return found


def ordered(utterances: Iterable[Utterance], problems: list[str], root: Path) -> Scan:
    """Put utterances in order, the training ones first, each with an identity of its own.

    Recordings of one speaker that share a name get the names of their folders before it.
    """
    found = list(utterances)
    count = Counter(u.identity for u in found)
    once: dict[str, Utterance] = {}
    for utterance in found:
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
