"""Pictures and sounds as the text of a page: PNG and WAV in ``data:`` addresses."""

import base64
import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from speechscope.store.wav import PEAK

SECONDS = 4.0
"""Of a sound; the rest of a longer one is left out (chosen: a page stays a few MB)."""


def png(pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """Return a PNG file, the same bytes for the same pixels.

    Source: W3C, "Portable Network Graphics", third edition.

    Parameters
    ----------
    pixels
        (rows, columns) indices into `palette`, or (rows, columns, 3) sRGB; the top row first.
    palette : (256, 3) sRGB
    """
    kind = 3 if palette is not None else 2
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    # Each row begins with its filter: none, which suits indices and small pictures.
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes(), 9)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    if palette is not None:
        chunks.append((b"PLTE", np.ascontiguousarray(palette).tobytes()))
    chunks += [(b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def wav(samples: NDArray[np.floating], rate: int) -> bytes:
    """Return a WAV file of 16 bits and one channel, no longer than `SECONDS`.

    The largest sample is `speechscope.store.wav.PEAK`: what is reconstructed from deep layers, and
    relevance, would otherwise be too soft to hear.

    Parameters
    ----------
    samples : (n,)
    rate
        [Hz].
    """
    import soundfile

    heard = np.nan_to_num(np.asarray(samples, dtype=np.float64)[: int(SECONDS * rate)])
    loudest = float(np.abs(heard).max(initial=0.0))
    scaled = heard * (PEAK / loudest) if loudest > 0 else heard
    file = io.BytesIO()
    soundfile.write(file, scaled, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def address(content: bytes, kind: str) -> str:
    """Return content as a ``data:`` address, such as of kind ``image/png``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
