"""``speechscope help``: the pages of the documentation, without a network."""

from dataclasses import dataclass

from speechscope.errors import UsageProblem
from speechscope.manual import PAGES, heading, topics
from speechscope.settings import Settings, argument
from speechscope.work.progress import Console

PRESENTATION = ("json",)


@dataclass(frozen=True, kw_only=True)
class Help(Settings):
    """Print a page of the documentation, which is installed with the program.

    A topic is the name of a page, or a command, whose page is printed. Without one the pages are
    listed.

    Example: speechscope help invert
    """

    topic: str = argument("", "A page or a command.", metavar="[TOPIC]")


@dataclass(frozen=True)
class Page:
    """A page, or the list of them."""

    topic: str
    text: str

    def shown(self, form: str) -> str:
        """See `speechscope.stages.shared.Result`."""
        if form == "json":
            import json

            return json.dumps({"topic": self.topic, "text": self.text})
        return self.text


def run(settings: Help, console: Console) -> Page:
    """Return the page."""
    pages = topics()
    name = settings.topic
    if not name:
        lines = [f"{topic:14} {heading(path)}" for topic, path in pages.items()]
        return Page("", "\n".join([*lines, "", "speechscope help TOPIC prints one of these."]))
    path = pages.get(name) or pages.get(PAGES.get(name, ""))
    if path is None:
        raise UsageProblem(f"help {name}: choose from {', '.join(pages)}, or a command")
    return Page(path.stem, path.read_text(encoding="utf-8"))
