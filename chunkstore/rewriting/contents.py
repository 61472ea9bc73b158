"""What of a file goes into the new one, and how is it stored there?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from chunkstore.format.blosc import BloscCodec
from chunkstore.format.codecs import LEVELS
from chunkstore.format.gzip import GzipCodec
from chunkstore.format.stored_dtype import stored_form
from chunkstore.importers.arrays.attributes import add_value, json_attributes
from chunkstore.importers.arrays.files import default_name
from chunkstore.importing.position import PROVENANCE
from chunkstore.importing.storage import with_chunk_length
from chunkstore.store.samples import check_array_name
from chunkstore.store.spec import AUTO, ArraySpec, fits_typesize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chunkstore.format.codec import BytesCodec
    from chunkstore.format.codecs import CodecChain, Shuffle
    from chunkstore.rewriting.options import RewriteOptions
    from chunkstore.store.array import Array
    from chunkstore.store.store import Store


@dataclass(frozen=True)
class Contents:
    """What a new file shall hold of an open store.

    Attributes
    ----------
    store
        That is read.
    samples
        Arrays with one entry a sample, by their names in the new file.
    beside
        The others.
    attributes
        Of the new file, JSON values.
    before
        What the store itself says of where its samples come from, or None.
    notes
        Sentences about what cannot be kept as it is.
    """

    store: Store
    samples: dict[str, Array]
    beside: dict[str, Array]
    attributes: dict[str, Any]
    before: Any
    notes: tuple[str, ...]

    @property
    def num_samples(self) -> int:
        """Samples of the new file."""
        return next((len(array) for array in self.samples.values()), 0)

    @property
    def sample_nbytes(self) -> int:
        """Decoded bytes of a sample, over all arrays."""
        return sum(sample_nbytes_of(array) for array in self.samples.values())

    def without(self, name: str) -> Contents:
        """Return the contents without an array of samples."""
        return replace(self, samples={k: v for k, v in self.samples.items() if k != name})

    def specs(self, options: RewriteOptions) -> dict[str, ArraySpec]:
        """Return how the arrays of samples are stored."""
        specs = {
            name: self.spec_of(array, options, keeps_chunks=options.keeps_chunks)
            for name, array in self.samples.items()
        }
        return dict(with_chunk_length(specs, options.chunk_length))

    def spec_of(self, array: Array, options: RewriteOptions, *, keeps_chunks: bool) -> ArraySpec:
        """Return how an array is stored; chunks are kept of files of ours only."""
        codec, level, shuffle = options.codec, options.level, options.shuffle
        typesize = fitting_typesize(array, options.typesize)
        chain = _changed_chain(array, options)
        if chain is not None:
            codec, level, shuffle, kept_typesize = _parts_of(chain)
            typesize = fitting_typesize(array, kept_typesize)
            if options.shuffle == AUTO and shuffle is not None:
                shuffle = AUTO
        return ArraySpec(
            array.dtype,
            array.shape[1:],
            codec=codec,
            level=level,
            shuffle=shuffle,
            chunk_length=array.chunk_length if keeps_chunks and self.store.is_ours else None,
            attributes=self._attributes_of(array, []),
            typesize=typesize,
        )

    def chain_of(self, array: Array, options: RewriteOptions) -> CodecChain | None:
        """Return the codecs that an array keeps, or None where its first chunk decides."""
        chain = _changed_chain(array, options)
        if chain is not None and options.shuffle == AUTO and _has_shuffle(chain):
            return None
        return chain

    def is_unchanged(self, options: RewriteOptions) -> bool:
        """Return whether every array would be stored as it is."""
        arrays = [*self.samples.values(), *self.beside.values()]
        return (
            self.store.is_ours
            and options.keeps_chunks
            and all(
                _is_stored_so(array, self.chain_of(array, options), options) for array in arrays
            )
        )

    def _attributes_of(self, array: Array, notes: list[str]) -> dict[str, Any]:
        if self.store.is_ours:
            return array.attributes
        return json_attributes(array.attributes, f"array {array.name!r}", notes)


def read_contents(
    store: Store, arrays: Mapping[str, str] | Sequence[str] | None = None
) -> Contents:
    """Return what of a store goes into a new file.

    Parameters
    ----------
    store
        Of ours, or any other that can be opened.
    arrays
        Names of arrays by the names that they get, or names alone; None takes all.

    Raises
    ------
    KeyError
        There is no such array.
    ValueError
        A name that no array of ours can have.
    """
    chosen = _chosen(store, arrays)
    notes: list[str] = []
    attributes = store.attributes
    before = attributes.pop(PROVENANCE, None)
    if not store.is_ours:
        # Those of an array at the root describe it.
        attributes = {} if "" in store else _with_groups(store, attributes)
        attributes = json_attributes(attributes, store.path, notes, of_file=True)
    samples: dict[str, Array] = {}
    beside: dict[str, Array] = {}
    for name, array in chosen.items():
        where = f"array {array.name!r}"
        if not array.shape:
            add_value(attributes, name, array[()], where, notes)
            notes.append(f"{where} is a single value; it stands in the attributes")
            continue
        (samples if array.name in store.sample_arrays else beside)[name] = array
    contents = Contents(store, samples, beside, attributes, before, tuple(notes))
    if not store.is_ours:
        for array in (*samples.values(), *beside.values()):
            contents._attributes_of(array, notes)
    return replace(contents, notes=tuple(notes))


def _with_groups(store: Store, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a file's attributes with those of its groups, under the names of these."""
    groups = {
        name: group.attributes
        for name, group in store._file.nodes.groups.items()
        if name and group.attributes
    }
    return {**groups, **attributes}


def sample_nbytes_of(array: Array) -> int:
    """Return the decoded bytes of a sample of an array."""
    nbytes = array.dtype.itemsize
    for length in array.shape[1:]:
        nbytes *= length
    return nbytes


def _chosen(store: Store, arrays: Mapping[str, str] | Sequence[str] | None) -> dict[str, Array]:
    if isinstance(arrays, str):
        raise TypeError(f"arrays is a list of names or a dict, got the text {arrays!r}")
    if arrays is None:
        wanted = {name or default_name(store.path): name for name in store}
    elif isinstance(arrays, Mapping):
        wanted = dict(arrays)
    else:
        wanted = {name or default_name(store.path): name for name in arrays}
    for name in wanted:
        try:
            check_array_name(name, set(wanted) - {name})
        except ValueError as error:
            raise ValueError(
                f"{store.path}: {error}; arrays={{'new name': {wanted[name]!r}, ...}} gives the "
                "arrays of the new file other names"
            ) from None
    return {name: store[source] for name, source in wanted.items()}


def writable_chain(array: Array) -> CodecChain | None:
    """Return the codecs of an array in the form that we write, or None if we write no such."""
    chain = array._node.metadata.codecs
    if chain.sharding is not None or chain.order is not None or len(chain.behind) > 1:
        return None
    if not all(_is_written(codec) for codec in chain.behind):
        return None
    stored, _, _ = stored_form(array.dtype)
    if stored != chain.dtype:
        return None
    return replace(chain, endian=None if stored.itemsize == 1 else "little")


def _changed_chain(array: Array, options: RewriteOptions) -> CodecChain | None:
    """Return the codecs of an array with what is named changed; a shuffle of "auto" is left open.

    None where another codec is named, or the array's own are not written here.
    """
    chain = writable_chain(array)
    if options.codec is not None or chain is None:
        return None
    typesize = fitting_typesize(array, options.typesize)
    return replace(
        chain, behind=tuple(_changed(codec, options, typesize) for codec in chain.behind)
    )


def _has_shuffle(chain: CodecChain) -> bool:
    return any(isinstance(codec, BloscCodec) for codec in chain.behind)


def fitting_typesize(array: Array, typesize: int | None) -> int | None:
    """Return a typesize for an array whose samples hold whole elements of it, else None."""
    stored, _, _ = stored_form(array.dtype)
    if typesize is None or not fits_typesize(typesize, stored, sample_nbytes_of(array)):
        return None
    return typesize


def _changed(codec: BytesCodec, options: RewriteOptions, typesize: int | None) -> BytesCodec:
    """Return a codec with the level, shuffle and typesize that are asked for."""
    if isinstance(codec, BloscCodec):
        shuffle = codec.shuffle if options.shuffle in (None, AUTO) else options.shuffle
        return replace(
            codec,
            level=codec.level if options.level is None else options.level,
            shuffle=cast("Shuffle", shuffle),
            typesize=typesize or codec.typesize,
        )
    if isinstance(codec, GzipCodec) and options.level is not None:
        return replace(codec, level=options.level)
    return codec


def _is_written(codec: object) -> bool:
    if isinstance(codec, GzipCodec):
        return not codec.is_zlib and codec.level in LEVELS
    return isinstance(codec, BloscCodec) and codec.level in LEVELS


def _parts_of(chain: CodecChain) -> tuple[str, int | None, str | None, int | None]:
    """Return codec, level, shuffle and typesize as `ArraySpec` takes them."""
    for codec in chain.behind:
        if isinstance(codec, BloscCodec):
            return codec.codec, codec.level, codec.shuffle, codec.typesize
        if isinstance(codec, GzipCodec):
            return "gzip", codec.level, None, None
    return "raw", None, None, None


def _is_stored_so(array: Array, kept: CodecChain | None, options: RewriteOptions) -> bool:
    chain = writable_chain(array)
    if chain is None:
        return False
    if kept is not None:
        return kept == chain
    return options.shuffle not in (None, AUTO) and (
        (options.codec, options.level, options.shuffle, options.typesize or chain.dtype.itemsize)
        == _parts_of(chain)
    )
