"""Names behind integer labels: CF flags of the array, or an array of their own.

Attributes are read whole whenever an artifact is opened, so they must not grow with the corpus.
Up to `FLAGS` names are the CF attributes ``flag_values`` and ``flag_meanings`` of the labels. More
are an array ``NAME_name [NAME_index, byte]`` of UTF-8 padded with zeros, which the labels point to
by their attribute ``names``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.store.artifact import Artifact
from speechscope.store.writer import ArtifactWriter, flag_attributes

FLAGS = 1000
"""Names kept as attributes; a corpus like TIMIT has 630 speakers."""


def put_names(writer: ArtifactWriter, label: str, names: Sequence[str]) -> dict[str, Any]:
    """Store the names behind the integers of an array; return that array's attributes."""
    if len(names) <= FLAGS:
        return flag_attributes(names)
    array = f"{label}_name"
    if array not in writer:
        writer.put(
            array,
            encoded(names),
            (f"{label}_index", "byte"),
            {"long_name": f"names of {label}", "encoding": "utf-8, padded with zeros"},
        )
    return {"names": array}


def names_of(artifact: Artifact, label: str) -> tuple[str, ...]:
    """Return the names behind the integers of an array, in order of value."""
    array = artifact.attributes(label).get("names")
    return artifact.flags(label) if array is None else decoded(artifact.read(str(array)))


def encoded(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return texts as UTF-8 padded with zeros to the longest, (texts, byte)."""
    rows = [text.encode("utf-8") for text in texts]
    width = max(map(len, rows), default=0)
    return np.frombuffer(b"".join(row.ljust(width, b"\0") for row in rows), np.uint8).reshape(
        len(rows), width
    )


def decoded(rows: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return the texts that `encoded` was given."""
    return tuple(row.tobytes().rstrip(b"\0").decode("utf-8") for row in rows)
