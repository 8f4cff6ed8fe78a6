"""A corpus of short segments, or windows, as far as an analysis asks for it."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from speechscope.corpus.store import Corpus
from speechscope.features.representations import Representation
from speechscope.features.stft import Transform


@dataclass
class Prepared:
    """What an analysis asks of a corpus."""

    features: str = "real"
    bins: int = 31
    deltas: int = 0
    unit: str = "segment"
    normalize: str = "none"
    invertible: bool = True

    @property
    def representation(self) -> Representation:
        return Representation(self.features, Transform(420, 60, 20, self.bins, 8000), self.deltas)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (1, 1, 420) if self.unit == "window" else self.representation.shape

    @property
    def mean(self) -> Any:
        return np.random.default_rng(1).normal(size=self.input_shape).astype(np.float32)

    @property
    def config(self) -> dict[str, Any]:
        return {"samples": 420, "rate": 8000, "deltas": self.deltas, "normalize": self.normalize}

    def sound_of(self, values: Any) -> Any:
        return self.representation.invert(values)

    path = "corpus.zarr"


def prepared(**settings: Any) -> Corpus:
    return cast("Corpus", Prepared(**settings))
