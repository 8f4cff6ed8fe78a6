"""What `prepare` needs to know of how a corpus is to be cut, labelled and transformed."""

from dataclasses import dataclass
from pathlib import Path

from speechscope.corpus.units.cut import Labels
from speechscope.errors import UsageProblem
from speechscope.features.transform import Transform

WAVEFORM = "waveform"
"""The features of windows: the samples themselves, no representation."""


@dataclass(frozen=True)
class Settings:
    """What `prepare` needs to know; `speechscope.recipes` holds the defaults and their sources.

    Parameters
    ----------
    unit
        ``segment``, ``frame``, ``window`` or ``utterance``.
    labels
        ``phone``, ``letter`` or ``speaker``.
    transform, features, deltas, normalize
        The representation; ``transform.samples`` is the length segments are padded to, or that of
        a window. `normalize` may also be ``gain``: every recording gets one root mean square; or
        ``item``: every window by itself gets mean 0 and variance 1.
    context
        Frames an item of unit ``frame`` is made of.
    padding, duration
        What the room around a segment holds, ``zeros`` or ``speech``; whether a channel holds its
        length.
    max_length
        Longest piece kept [samples], a share such as ``95%`` of the training pieces, or None for
        no limit; of segments, which need one length, that of the longest training one.
    layout, tier
        The corpus layout, where it is not to be found out; the tier of files that have several.
    phone_set, mapping
        Its name, and the file of a mapping of one's own.
    split, dev, seed
        The rule; the share of the training speakers set apart as the dev split; what draws them.
    drop_sa
        Whether TIMIT's SA sentences are left out.
    """

    unit: str
    labels: Labels
    transform: Transform
    features: str
    deltas: int
    normalize: str
    context: int
    padding: str
    duration: bool
    max_length: int | str | None
    layout: str | None
    tier: str | None
    phone_set: str
    mapping: Path | None
    split: str
    dev: float
    seed: int
    drop_sa: bool

    def check(self) -> None:
        """Refuse what cannot go together.

        Raises
        ------
        UsageProblem
            Labels or features do not fit the unit, or a context has no middle frame.
        """
        if (self.labels == "letter") > (self.unit == "utterance"):
            raise UsageProblem(f"--labels letter: --unit {self.unit} has none; use utterance")
        if self.labels == "phone" and self.unit == "utterance":
            raise UsageProblem("--unit utterance: has no one phone; use --labels letter or speaker")
        if (self.unit == "window") != (self.features == WAVEFORM):
            needed = WAVEFORM if self.unit == "window" else "a representation"
            raise UsageProblem(f"--features {self.features}: --unit {self.unit} needs {needed}")
        if self.unit == "window" and (self.deltas or self.normalize == "band"):
            option = f"--deltas {self.deltas}" if self.deltas else "--normalize band"
            raise UsageProblem(f"{option}: windows of the waveform have no bands")
        if self.unit == "segment" and self.transform.samples < self.transform.window:
            raise UsageProblem(
                f"--length {self.transform.samples}: a segment holds at least one --window "
                f"({self.transform.window})"
            )
        if not 0 <= self.transform.overlap < self.transform.window:
            raise UsageProblem(f"--hop: give 1 to --window ({self.transform.window}) samples")
        if self.unit != "window" and self.normalize == "item":
            raise UsageProblem("--normalize item: for windows of the waveform (--unit window)")
        if self.unit != "segment" and (self.padding != "zeros" or self.duration):
            option = "--duration" if self.duration else f"--padding {self.padding}"
            raise UsageProblem(f"{option}: --unit {self.unit} has no segments to which it applies")
        if self.context % 2 == 0:
            raise UsageProblem(f"--context {self.context}: an odd number has a middle frame")
        if self.mapping is not None and not self.marked:
            raise UsageProblem(f"--mapping: --labels {self.labels} needs none")

    @property
    def longest(self) -> int | str | None:
        """`max_length`, or what stands for None where pieces need one length."""
        return "100%" if self.max_length is None and self.unit == "segment" else self.max_length

    @property
    def marked(self) -> bool:
        """Whether items are cut by time marks."""
        return self.labels == "phone" or self.unit == "segment"
