"""Which packages decode images, and how does Pillow behave while we use it?"""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Final

try:
    import simplejpeg
    from PIL import Image, ImageFile
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"images are decoded by Pillow and simplejpeg, and there is no {error.name}: "
        "pip install 'chunkstore[images]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FORMATS", "Image", "decoder_versions", "quiet_pillow", "simplejpeg"]

# Formats of photographs and masks whose depth of colour Pillow tells. Others that it reads run
# programs (EPS), or come down to 8 bits without a word (AVIF, JPEG 2000).
FORMATS: Final = ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP", "PPM")

# Once and here: threads would do it at the same time.
Image.init()


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow from printing while a ``with`` block runs; its errors stay errors.

    Raises
    ------
    ValueError
        The program told Pillow to take truncated files for whole ones.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ValueError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: truncated images would be taken for whole "
            "ones; set it to False for an import"
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def decoder_versions() -> dict[str, str]:
    """Return what pixels follow from besides the files, for the provenance of a file."""
    return {"pillow": str(Image.__version__), "simplejpeg": str(simplejpeg.__version__)}
