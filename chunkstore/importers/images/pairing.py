"""Which mask belongs to which image?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import FormatError
from chunkstore.importers.images.listing import list_images
from chunkstore.importing.losses import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chunkstore.importers.images.listing import Layout, Listing

MASK: Final = "mask"
_MAX_NOTED: Final = 10


def list_images_with_masks(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    layout: Layout = "auto",
    class_names: Sequence[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    mask_ending: str = "",
) -> Listing:
    """Return the images of a source, with their masks if there are any.

    Parameters
    ----------
    source, layout, class_names, masks, mask_ending
        See `chunkstore.import_images`.

    Raises
    ------
    ValueError, ChunkStoreError
        See `chunkstore.importers.images.listing.list_images`.
    """
    if masks is None and mask_ending:
        raise ValueError(f"mask_ending={mask_ending!r} goes with masks=")
    is_beside = bool(mask_ending) and _is_same(source, masks)
    listing = list_images(
        source,
        layout=layout,
        class_names=class_names,
        # Masks that lie beside their images are no images.
        is_image=lambda name: not (is_beside and os.path.splitext(name)[0].endswith(mask_ending)),
    )
    if masks is not None:
        pair_masks(listing, masks, ending=mask_ending)
    return listing


def _is_same(source: Any, masks: Any) -> bool:
    return (
        isinstance(source, str | os.PathLike)
        and os.path.isdir(source)
        and os.path.isdir(masks)
        and os.path.samefile(source, masks)
    )


def pair_masks(listing: Listing, folder: str | os.PathLike[str], *, ending: str = "") -> None:
    """Give each image of a listing the mask of the same name.

    Parameters
    ----------
    listing
        Gets the files ``masks["mask"]``; an image that has none, or several, gets a problem. Masks
        without an image are noted.
    folder
        Of the masks, in the same folders below as the images; also a pattern.
    ending
        What names of masks have behind those of their images and before the suffix, such as
        ``"_mask"``.

    Raises
    ------
    MissingFileError
        There are no masks.
    """
    found = list_images(folder, layout="flat", is_image=lambda name: stem_of(name).endswith(ending))
    masks = _by_stem(
        (stem_of(name)[: len(stem_of(name)) - len(ending)], path)
        for name, path in zip(found.names, found.paths, strict=True)
    )
    images = _by_stem((stem_of(name), name) for name in listing.names)
    place = os.fspath(folder)
    paths = []
    for number, name in enumerate(listing.names):
        stem = stem_of(name)
        candidates = masks.get(stem, [])
        paths.append(candidates[0] if candidates else "")
        if not candidates:
            reason = f"there is no mask {stem}{ending}.* in {place}"
        elif len(candidates) > 1:
            reason = f"there are several masks: {', '.join(candidates)}"
        elif len(images[stem]) > 1:
            reason = f"one mask would belong to several images: {', '.join(images[stem])}"
        else:
            continue
        listing.problems[number] = FormatError(reason, listing.paths[number])
    if spare := sorted(stem for stem in masks if stem not in images):
        shown = ", ".join(listed((stem + ending for stem in spare), most=_MAX_NOTED))
        listing.notes.append(f"masks without an image: {shown}")
    listing.notes += found.notes
    listing.masks[MASK] = paths
    listing.provenance["masks"] = {"source": found.source, "ending": ending}


def stem_of(name: str) -> str:
    """Return a name without its suffix, with its folders.

    Examples
    --------
    >>> stem_of("street.1/a.b.jpg")
    'street.1/a.b'
    """
    return os.path.splitext(name)[0]


def _by_stem(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for stem, value in pairs:
        found.setdefault(stem, []).append(value)
    return found
