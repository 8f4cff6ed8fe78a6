"""Finding the files of a corpus, and opening none that would hang or fill the memory."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from speechscope.corpus.utterances import BadRecording
from speechscope.errors import SpeechscopeError

UNSAYABLE = "whose name is not one line of UTF-8; rename it"
LARGEST_TEXT = 1 << 26  # bytes; the labels of a day of speech are smaller


def walk(
    root: Path,
    wanted: Callable[[str], bool],
    problems: list[str],
    missed: Callable[[str], bool] | None = None,
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
    missed
        Which of the wanted names are; None: all.

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
            if not sayable(entry.name):
                if wanted(entry.name.lower()) and (missed is None or missed(entry.name)):
                    problems.append(f"{folder}: holds {entry.name!r}, {UNSAYABLE}")
                continue
            if _holds(entry.is_dir):
                folders.append(folder / entry.name)
            elif wanted(entry.name.lower()):
                if _holds(entry.is_file):
                    files.append(entry.name)
                elif missed is None or missed(entry.name):
                    problems.append(f"{folder / entry.name}: is not a file")
        yield folder, files
        waiting += reversed(folders)


def sayable(name: str) -> bool:
    """Whether a name can be written into a line of a list."""
    return name.encode(errors="ignore").decode() == name and len(name.splitlines()) < 2


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
    if root.exists() and not root.is_dir():
        raise SpeechscopeError(f"{root} is a file; name the folder of the corpus")
    if not root.is_dir():
        raise SpeechscopeError(f"{root} is not there; name the folder of a corpus")


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
    r"""Read a label or text file: UTF-8, UTF-16 with or without its mark, or UTF-32.

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
        try:
            text = content.decode(_encoding(content))
        except UnicodeDecodeError:
            if not latin:
                raise
            text = content.decode("latin-1")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecording(f"{path.name} cannot be read ({_reason(error)})") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def top_of(path: Path) -> str:
    """Return the first lines of a file, as `read_text` would, whatever it holds."""
    with path.open("rb") as file:
        top = file.read(4096)
    return top.decode(_encoding(top), errors="replace")


def _encoding(content: bytes) -> str:
    """Return how a text is written, by its mark, or by the zeros of UTF-16 without one."""
    if content[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(content) % 2 == 0 and b"\0" in content[:2]:
        return "utf-16-be" if content[0] == 0 else "utf-16-le"
    return "utf-8-sig"


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a text that hold anything, with their numbers; see `read_text`."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line) for number, line in lines if line.strip()]


def word(name: str) -> str:
    """Make a name fit for a list separated by blanks (CF ``flag_meanings``)."""
    return "_".join(name.split()) or "_"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
