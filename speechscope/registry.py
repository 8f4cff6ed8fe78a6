"""Registries: what a name on the command line means, one file an entry.

A file of the kind's package registers what it defines::

    @RELEVANCE.register("guided")
    def guided(...): ...

and is imported when the name is asked for. The names are known without importing anything, so that
help and completions stay instant. Other packages add entries by entry points of the group
``speechscope.KIND``: ``guided = "their.module:function"``.
"""

import re
import sys
from collections.abc import Callable
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from speechscope.errors import UsageProblem

T = TypeVar("T")
Entry = TypeVar("Entry")


class Registry(Generic[T]):
    """The entries of a kind, by name.

    Parameters
    ----------
    kind
        What an entry is called in messages; the group of entry points is ``speechscope.KIND``.
    constant
        The name of this registry in the files that register.
    package
        The package whose files do.
    """

    def __init__(self, kind: str, constant: str, package: str) -> None:
        self._kind, self._package = kind, package
        self._pattern = re.compile(rf'^@?{constant}\.register\(\s*"([^"]+)"', re.MULTILINE)
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that enters what it decorates under a name."""

        def enter(entry: Entry) -> Entry:
            self._entries[name] = cast("T", entry)
            return entry

        return enter

    @cached_property
    def _modules(self) -> dict[str, str]:
        """The module that registers each name of this package."""
        folder = Path(str(find_spec(self._package).submodule_search_locations[0]))  # type: ignore
        return {
            name: ".".join([self._package, *path.relative_to(folder).with_suffix("").parts])
            for path in sorted(folder.rglob("*.py"))
            for name in self._pattern.findall(path.read_text(encoding="utf-8"))
        }

    def names(self) -> tuple[str, ...]:
        """Return the names of all entries, those of other packages last."""
        foreign = _foreign().get(self._kind, {})
        return tuple(dict.fromkeys([*self._modules, *foreign, *self._entries]))

    def __getitem__(self, name: str) -> T:
        """Return an entry, importing what defines it.

        Raises
        ------
        UsageProblem
            There is no such name.
        """
        if name not in self._entries and name in self._modules:
            import_module(self._modules[name])
        foreign = _foreign().get(self._kind, {})
        if name not in self._entries and name in foreign:
            self._entries[name] = foreign[name].load()
        if name not in self._entries:
            raise UsageProblem(f"{self._kind} {name}: choose from {', '.join(self.names())}")
        return self._entries[name]

    def of(self, name: str) -> list[T]:
        """Return the entries of a name and those that stand beside it as ``name:another``."""
        return [self[entry] for entry in self.names() if entry.split(":")[0] == name]

    def __contains__(self, name: object) -> bool:
        return name in self.names()


@cache
def _foreign() -> dict[str, dict[str, Any]]:
    """Return the entry points of other packages by kind and name."""
    found: dict[str, dict[str, Any]] = {}
    folders = [Path(folder or ".") for folder in sys.path]
    files = (file for folder in folders for file in folder.glob("*.*-info/entry_points.txt"))
    if any(b"[speechscope." in file.read_bytes() for file in files):
        from importlib.metadata import distributions  # takes 30 ms

        for entry in (entry for package in distributions() for entry in package.entry_points):
            kind = entry.group.removeprefix("speechscope.")
            found.setdefault(kind, {}).setdefault(entry.name, entry)
    return found


NETWORKS: Registry[Any] = Registry("networks", "NETWORKS", "speechscope.networks")
"""Architectures: a function of an input shape and a number of classes to a module."""
RELEVANCE: Registry[Any] = Registry("methods", "RELEVANCE", "speechscope.relevance")
"""Methods of relevance."""
RULES: Registry[Any] = Registry("rules", "RULES", "speechscope.relevance")
"""Rules of layer-wise relevance propagation."""
INVERSION: Registry[Any] = Registry("inversions", "INVERSION", "speechscope.inversion")
"""Methods of inversion, which ``+`` chains."""
DESCENTS: Registry[Any] = Registry("descents", "DESCENTS", "speechscope.inversion")
"""Rules by which backpropagation to the input moves."""
STIMULI: Registry[Any] = Registry("stimuli", "STIMULI", "speechscope.inversion")
"""Sounds that are not speech."""
LAYOUTS: Registry[Any] = Registry("layouts", "LAYOUTS", "speechscope.corpus")
"""How a corpus folder is laid out."""
UNITS: Registry[Any] = Registry("units", "UNITS", "speechscope.corpus")
"""What an item of a corpus is."""
PHONE_SETS: Registry[Any] = Registry("phone_sets", "PHONE_SETS", "speechscope.corpus")
"""Sets of phones, and what they are folded to."""
REPRESENTATIONS: Registry[Any] = Registry(
    "representations", "REPRESENTATIONS", "speechscope.features"
)
"""From waveforms to spectrograms, and back where there is a way back."""
CLUSTERING: Registry[Any] = Registry("clusterings", "CLUSTERING", "speechscope.clustering")
"""Clustering algorithms."""
REDUCTIONS: Registry[Any] = Registry("reductions", "REDUCTIONS", "speechscope.clustering")
"""Reductions of dimension before clustering."""
ALIGNMENTS: Registry[Any] = Registry("alignments", "ALIGNMENTS", "speechscope.navai")
"""Where aligned averages move their inputs to."""
SCORES: Registry[Any] = Registry("scores", "SCORES", "speechscope.scores")
"""Tables of scores, by the kind of the artifact."""
CHAPTERS: Registry[Any] = Registry("chapters", "CHAPTERS", "speechscope.report")
"""Chapters of a report, by the kind of the artifact."""
MERGERS: Registry[Any] = Registry("mergers", "MERGERS", "speechscope")
"""How shards of a kind become one artifact, where it is not by moving their chunks."""
