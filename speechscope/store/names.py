"""Names along an axis: an array of strings, called as the axis; and what they were in format 4.

A chunk of strings is their number, then the length of each and its UTF-8 (Zarr's codec
``vlen-utf8``), compressed as any other. It is decoded here and not by Zarr, which takes memory for
as many strings as a file says it holds.
"""

from collections.abc import Iterable, Sequence

from numcodecs.zstd import compress, decompress

from speechscope.store.chunks import HEAD, ZSTD_LEVEL, content_size

KIND = "string"
CODECS = ("vlen-utf8", "zstd")
LARGEST = 1 << 26
"""Bytes that the names of an axis may unfold to."""
RENAMED = {4: {"technique": "method"}}
"""By format version: what is called otherwise since (dimensions and arrays), and its name then.

``method`` is an argument of xarray's ``sel``, which took ``sel(method="lrp")`` for that.
"""
NUMBERS = {(4, "inversion"): {"layer_number": "layer"}}
"""By format version and kind: arrays that were the integers of a coordinate with names."""


def encoded(names: Sequence[str]) -> bytes:
    """Return the chunk that holds names."""
    rows = [name.encode("utf-8") for name in names]
    parts = [len(rows).to_bytes(4, "little")]
    parts += [len(row).to_bytes(4, "little") + row for row in rows]
    chunk: bytes = compress(b"".join(parts), ZSTD_LEVEL, True)
    return chunk


def decoded(chunk: bytes, count: int) -> list[str]:
    """Return the names in a chunk, of which there have to be so many.

    Raises
    ------
    ValueError
        It is damaged, or larger than it may be.
    """
    size = content_size(chunk[:HEAD])
    if size is None or size > LARGEST:
        raise ValueError("it does not unfold to names")
    data = bytes(decompress(chunk))
    names, place = [], 4
    while place < len(data):
        begin = place + 4
        place = begin + int.from_bytes(data[place:begin], "little")
        names.append(data[begin:place].decode("utf-8"))
    if place != len(data) or not len(names) == count == int.from_bytes(data[:4], "little"):
        raise ValueError("it holds other names than it says")
    return names


def stored_names(version: int, kind: str, stored: Iterable[str]) -> dict[str, str]:
    """Return what the arrays of an artifact are called, each with its name in the file."""
    now = {old: new for new, old in RENAMED.get(version, {}).items()}
    found = {now.get(name, name): name for name in stored}
    extra = NUMBERS.get((version, kind), {})
    return found | {name: old for name, old in extra.items() if old in found.values()}
