"""Writing a report: one page, or a file for each figure."""

from collections.abc import Sequence
from pathlib import Path

from speechscope.errors import UsageProblem
from speechscope.report.figures import Chapter
from speechscope.report.page import page
from speechscope.report.paper import draw, drawable
from speechscope.store.staging import staged

MARK = ".speechscope"


def write_page(chapters: Sequence[Chapter], path: Path, examples: int, *, force: bool) -> int:
    """Write the page and return its size [bytes].

    Raises
    ------
    UsageProblem
        The file exists and may not be replaced.
    """
    content = page(chapters, examples).encode("utf-8")
    with staged(path, force=force, directory=False) as partial:
        partial.write_bytes(content)
    return len(content)


def write_figures(
    chapters: Sequence[Chapter], path: Path, file_format: str, *, force: bool
) -> list[str]:
    """Write every figure into a folder, or the only one into a file; return their names.

    Raises
    ------
    UsageProblem
        There are several figures for one file, none at all, or the output may not be replaced.
    SpeechscopeError
        matplotlib is not installed.
    """
    found = drawable(chapters)
    if not found:
        raise UsageProblem("none of these figures can be drawn as a file; tables are for score")
    if path.suffix == f".{file_format}":
        if len(found) > 1:
            names = ", ".join(dict.fromkeys(figure.name for _, figure in found))
            raise UsageProblem(
                f"{path} is one file for {len(found)} figures ({names}); choose one with --figure, "
                "or give -o a folder"
            )
        with staged(path, force=force, directory=False) as partial:
            draw(found[0][1], partial, file_format)
        return [path.name]
    with staged(path, force=force, directory=True, owned=lambda f: (f / MARK).is_file()) as folder:
        (folder / MARK).write_text("figures of a report\n")
        for stem, figure in found:
            draw(figure, folder / f"{stem}.{file_format}", file_format)
    return [f"{stem}.{file_format}" for stem, _ in found]
