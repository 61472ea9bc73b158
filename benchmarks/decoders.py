"""Which decoder of JPEGs is the fastest, and are its pixels those of the others?

``python -m benchmarks.decoders`` prints milliseconds of one thread for one image that is decoded
and resized to 224 x 224, and how far its pixels are from Pillow's. OpenCV is measured where it is
installed.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.photographs import cut_crops

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZE = 224
_ROUNDS = 5
_SECONDS = 0.3


def by_pillow(content: bytes) -> np.ndarray:
    """Decode every pixel."""
    return _resized(Image.open(io.BytesIO(content)))


def by_pillow_draft(content: bytes) -> np.ndarray:
    """Let Pillow's decoder shrink to no less than twice the wanted size."""
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", (2 * _SIZE, 2 * _SIZE))
    return _resized(image)


def by_simplejpeg(content: bytes) -> np.ndarray:
    """Decode every pixel, resize by Pillow."""
    return _resized(Image.fromarray(simplejpeg.decode_jpeg(content)))


def by_simplejpeg_scaled(content: bytes) -> np.ndarray:
    """Let the decoder shrink to no less than twice the wanted size, resize by Pillow."""
    pixels = simplejpeg.decode_jpeg(content, min_height=2 * _SIZE, min_width=2 * _SIZE)
    return _resized(Image.fromarray(pixels))


def by_simplejpeg_halved(content: bytes) -> np.ndarray:
    """Shrink by a power of two, as an import does."""
    height, width = simplejpeg.decode_jpeg_header(content)[:2]
    divisor = next(n for n in (8, 4, 2, 1) if n == 1 or min(height, width) // n >= 2 * _SIZE)
    pixels = simplejpeg.decode_jpeg(
        content, min_height=-(-height // divisor), min_width=-(-width // divisor)
    )
    return _resized(Image.fromarray(pixels))


def _resized(image: Any) -> np.ndarray:
    return np.asarray(image.resize((_SIZE, _SIZE), Image.Resampling.BILINEAR))


def decoders() -> dict[str, Callable[[bytes], np.ndarray]]:
    """Return all that are installed, by name."""
    found = {
        "Pillow": by_pillow,
        "Pillow, draft": by_pillow_draft,
        "simplejpeg": by_simplejpeg,
        "simplejpeg, any scale": by_simplejpeg_scaled,
        "simplejpeg, halved": by_simplejpeg_halved,
    }
    try:
        import cv2
    except ModuleNotFoundError:
        return found
    cv2.setNumThreads(1)

    def by_opencv(content: bytes) -> np.ndarray:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
        return cv2.resize(pixels, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)

    return {**found, "OpenCV, area": by_opencv}


def milliseconds(function: Callable[[bytes], np.ndarray], content: bytes) -> float:
    """Return the processor time of one call."""
    function(content)
    count, started = 0, time.process_time()
    while time.process_time() - started < _SECONDS:
        function(content)
        count += 1
    return 1000 * (time.process_time() - started) / count


def main() -> None:
    """Measure and print."""
    for tiles in (1, 5):
        crops = cut_crops(tiles * tiles, (300, 400, 3))
        rows = [np.concatenate(crops[i * tiles : (i + 1) * tiles], axis=1) for i in range(tiles)]
        file = io.BytesIO()
        Image.fromarray(np.concatenate(rows)).save(file, "JPEG", quality=90)
        content = file.getvalue()
        print(f"{400 * tiles}x{300 * tiles} pixels, {len(content) // 1024} KiB")
        expected = by_pillow(content).astype(int)
        functions = decoders()
        times: dict[str, list[float]] = {name: [] for name in functions}
        for _ in range(_ROUNDS):
            for name, function in functions.items():
                times[name].append(milliseconds(function, content))
        for name, function in functions.items():
            distance = np.abs(function(content) - expected).mean()
            print(f"  {name:21} {np.median(times[name]):7.2f} ms, mean distance {distance:.2f}")


if __name__ == "__main__":
    main()
