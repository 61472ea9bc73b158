"""What is there to say about a file, before it is drawn?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.progress import progress_bar
from chunkstore.viewing.array_look import look_at_array
from chunkstore.viewing.images import image_layout
from chunkstore.viewing.labelling import (
    Labelling,
    advise,
    class_names,
    find_labels,
    labels_along,
)
from chunkstore.viewing.pictures import fitting_side
from chunkstore.viewing.sampling import LOOK_NBYTES, Remarks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chunkstore.diagnosis import Diagnosis
    from chunkstore.store.store import Store
    from chunkstore.viewing.array_look import ArrayLook
    from chunkstore.viewing.sampling import Damage
    from chunkstore.viewing.summary import Summary

DEFAULT_SAMPLES: Final = 64
MOST_SAMPLES: Final = 1000
# Arrays that are looked at one by one; a table names the others.
MOST_ARRAYS: Final = 24
# Uncompressed bytes of all pictures: noise as large still leaves a page of less than 5 MB.
_PICTURES_NBYTES: Final = 2_400_000
_LONGEST_SIDE, _SHORTEST_SIDE = 144, 12
_LEAST_PICTURES: Final = 4


@dataclass(frozen=True, kw_only=True)
class Look:
    """What there is to say about a file.

    Attributes
    ----------
    store
        The file.
    arrays
        Those that were looked at.
    others
        Names of those that were not.
    labelling
        Its labels; None where there are none.
    advice
        How well a loader mixes the samples, see `advise`.
    damage, notes
        What could not be read, and what was left out.
    """

    store: Store
    arrays: tuple[ArrayLook, ...]
    others: tuple[str, ...]
    labelling: Labelling | None
    advice: Diagnosis | str | None
    damage: tuple[Damage, ...]
    notes: tuple[str, ...]

    @property
    def advice_text(self) -> str | None:
        """The advice as a sentence."""
        if self.advice is None or isinstance(self.advice, str):
            return self.advice
        return self.advice.advice

    @property
    def is_exact(self) -> bool:
        """Whether every sample of every array was read."""
        return not self.others and all(look.summary.is_exact for look in self.arrays)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        advice = self.advice
        return {
            "file": self.store.path,
            "num_samples": self.store.num_samples,
            "is_exact": self.is_exact,
            "labels": None if self.labelling is None else self.labelling.name,
            "mixing": advice if advice is None or isinstance(advice, str) else advice.to_json(),
            "arrays": {look.name: look.to_json() for look in self.arrays},
            "damage": [damage.to_json() for damage in self.damage],
            "notes": list(self.notes),
        }


def look_at(
    store: Store,
    *,
    labels: str | None = None,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    progress: bool | None = None,
) -> Look:
    """Look at a file: a bounded number of chunks of each array, spread over all of it.

    Parameters
    ----------
    store
        An open one.
    labels
        Name of the array of labels; None takes one that is called so.
    samples
        Pictures, in ``[1, 1000]``.
    seed
        Which samples, where not all are read.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.
    """
    check_samples(samples)
    remarks = Remarks()
    label_name = find_labels(store, labels)
    names = _chosen_names(store, label_name)
    others = tuple(name for name in store if name not in names)
    if others:
        remarks.add_note(
            f"{len(names)} of {len(store)} arrays were looked at; of the others the table says "
            "shape and size"
        )
    share = max(LOOK_NBYTES // 4, 2 * LOOK_NBYTES // max(len(names), 1))
    share = min(LOOK_NBYTES, share)
    images = {name: layout for name in names if (layout := image_layout(store[name]))}
    each = max(min(samples, _LEAST_PICTURES), samples // max(len(images), 1))
    side = fitting_side(
        each * len(images), budget_nbytes=_PICTURES_NBYTES, most=_LONGEST_SIDE, least=_SHORTEST_SIDE
    )
    total = sum(min(store[name].nbytes, share) for name in names)
    with progress_bar(total, what="looking", show=progress) as advance:
        looks = {}
        # Labels first: their names are the captions of the others.
        labelling = None
        for name in sorted(names, key=lambda name: name != label_name):
            looks[name] = look_at_array(
                store,
                name,
                labelling,
                remarks,
                samples=each if name in images else samples,
                side=side,
                seed=seed,
                is_label=name == label_name,
                nbytes=share,
                advance=advance,
            )
            if name == label_name:
                labelling = _labelling(store, looks[name].summary, name, remarks, seed=seed)
    advice = advise(store, label_name)
    return Look(
        store=store,
        arrays=tuple(looks[name] for name in names),
        others=others,
        labelling=labelling,
        advice=advice,
        damage=tuple(remarks.damage),
        notes=tuple(remarks.notes),
    )


def check_samples(samples: object, name: str = "samples") -> None:
    """Raise TypeError or ValueError unless a number of samples can be shown."""
    if isinstance(samples, bool) or not isinstance(samples, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {samples!r:.80}")
    if not 1 <= samples <= MOST_SAMPLES:
        raise ValueError(f"{name} must be in [1, {MOST_SAMPLES}], got {samples}")


def _chosen_names(store: Store, labels: str | None) -> Sequence[str]:
    """Return the arrays to look at: the file's samples first where there are very many."""
    if len(store) <= MOST_ARRAYS:
        return list(store)
    aligned = set(store.sample_arrays)
    ranked = sorted(store, key=lambda name: (name != labels, name not in aligned))
    kept = set(ranked[:MOST_ARRAYS])
    return [name for name in store if name in kept]


def _labelling(
    store: Store, summary: Summary, name: str, remarks: Remarks, *, seed: int
) -> Labelling:
    return Labelling(
        name,
        class_names(store, name, is_label=True),
        summary,
        labels_along(store[name], summary, remarks, seed=seed),
    )
