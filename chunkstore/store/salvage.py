"""Which complete chunks does a damaged file still hold?

A directory that survived says where each chunk is. Behind it, or without it, the entries are found
by their local headers and replayed. A chunk is taken only if its CRC-32 and its frame are right,
never for more samples than were written, and never from an array that was replaced.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chunkstore.container import layout
from chunkstore.errors import ChunkStoreError, FormatError, SystemCallError, UnsupportedError
from chunkstore.format.metadata import ArrayMetadata, parse_node
from chunkstore.store.node import FORMAT_VERSION, OWN_ATTRIBUTES, chunk_key
from chunkstore.store.open_file import OpenFile
from chunkstore.store.replay import Entry, History, Place, iter_events

if TYPE_CHECKING:
    from chunkstore.system import ReadFile

_METADATA_NAME = "zarr.json"


@dataclass
class Salvage:
    """What was found.

    Attributes
    ----------
    attributes
        Of the file, ours left out.
    num_samples
        As the newest metadata says.
    aligned
        Names of the aligned arrays.
    metadata
        Of each array, in the file's order.
    chunks
        Complete chunks by array and chunk index; a place says how many samples of it count.
    messages
        What is damaged, in words.
    """

    file: ReadFile
    attributes: dict[str, Any]
    num_samples: int
    aligned: list[str]
    metadata: dict[str, ArrayMetadata]
    chunks: dict[str, dict[int, Place]]
    messages: list[str]
    _sound: dict[tuple[bytes, int], list[Place]] | None = None

    def elsewhere(self, key: str, place: Place) -> Place | None:
        """Return where a chunk stands whose directory record is damaged.

        That is an entry of this name and size that is sound by its own header, and has either the
        CRC-32 or the offset of the record.
        """
        if self._sound is None:
            self._sound = {}
            for event in iter_events(self.file, 0, []):
                if isinstance(event, Entry):
                    found = self._sound.setdefault((event.name, event.place.nbytes), [])
                    found.append(event.place)
        for other in self._sound.get((key.encode(), place.nbytes), []):
            if other.crc == place.crc or other.offset == place.offset:
                return other
        return None


def salvage(file: ReadFile) -> Salvage:
    """Find what can be saved from a file of ours.

    Parameters
    ----------
    file
        Open for reading; finished, damaged, cut short or partial.

    Raises
    ------
    FormatError
        No metadata of a chunkstore file survived.
    UnsupportedError
        Another program wrote the file, or a newer release.
    """
    messages: list[str] = []
    replay = _Replay(file, messages)
    start = replay.begin_with_directory()
    for event in iter_events(file, start, messages):
        replay.take(event)
    return replay.result()


class _Replay:
    """Follows what was written, from the front or from the last sound directory."""

    def __init__(self, file: ReadFile, messages: list[str]) -> None:
        self._file = file
        self._messages = messages
        self._root: dict[str, Any] | None = None
        # As of the last directory.
        self._root_before: dict[str, Any] | None = None
        # Whether metadata of arrays follows that the root's has copies of, and the damaged places
        # before that root: behind another one it may be metadata of a root that is gone.
        self._is_behind_root = False
        self._root_gaps = 0
        self._histories: dict[str, History] = {}

    def _history(self, name: str) -> History:
        return self._histories.setdefault(name, History(name))

    def begin_with_directory(self) -> int:
        """Take over what the directory lists, if it is sound; return where to go on from."""
        try:
            opened = OpenFile(self._file.path, lenient=True)
        except SystemCallError:
            raise
        except ChunkStoreError as error:
            self._messages.append(error.message)
            return 0
        try:
            nodes = opened.nodes
            if nodes.own is None and not nodes.problems:
                raise UnsupportedError(
                    "repair saves files written by chunkstore; in files of other programs a "
                    "missing chunk cannot be told from one that was never written"
                )
            if nodes.own is None or nodes.problems:
                self._messages += [error.message for error in nodes.problems]
                return 0
            self._root = self._root_before = nodes.root
            for name in nodes.own["arrays"]:
                node = nodes.arrays[name]
                index, (offset, encoded_nbytes, crc) = node.table.stored()
                places = {
                    i: Place(start, start + layout.LOCAL.size + len(chunk_key(node, i)), size, c)
                    for i, start, size, c in zip(
                        index.tolist(),
                        offset.tolist(),
                        encoded_nbytes.tolist(),
                        crc.tolist(),
                        strict=True,
                    )
                }
                self._history(name).listed(node.metadata, places)
            return opened.container.checkpoint.stop
        finally:
            opened.close()

    def take(self, event: Any) -> None:
        """Follow one event."""
        if not isinstance(event, Entry):
            self._is_behind_root = False
            self._root_before = self._root
            for history in self._histories.values():
                history.checkpointed()
            return
        name = event.name.decode("utf-8", "replace")
        if name == _METADATA_NAME or name.endswith("/" + _METADATA_NAME):
            self._take_metadata(name.removesuffix(_METADATA_NAME).removesuffix("/"), event)
            return
        self._is_behind_root = False
        path, marker, rest = name.rpartition("/c/")
        index, slash, suffix = rest.partition("/")
        if marker and index.isdecimal() and str(int(index)) == index:
            self._history(path).written(int(index), slash + suffix, event.place, event.num_gaps)

    def _take_metadata(self, path: str, event: Entry) -> None:
        raw = self._file.read(event.place.nbytes, event.place.data_offset)
        try:
            node = parse_node(raw)
        except ChunkStoreError as error:
            self._messages.append(
                f"metadata {event.name!r} at byte {event.place.offset}: {error.message}"
            )
            return
        if isinstance(node, ArrayMetadata):
            # A CRC covers the names in the root's copies, but not the name of this entry.
            if not self._is_behind_root or event.num_gaps != self._root_gaps:
                self._history(path).described(node, by_root=False)
        elif not path:
            self._is_behind_root = True
            self._root_gaps = event.num_gaps
            self._root = node.attributes
            for name, copy in _consolidated(raw).items():
                self._history(name).described(copy, by_root=True)

    def result(self) -> Salvage:
        """Return what is in force at the end."""
        histories = {
            name: history
            for name, history in self._histories.items()
            if history.metadata is not None
        }
        is_replacing = any(history.is_being_replaced for history in histories.values())
        if self._root_before and (
            is_replacing or _arrays(self._root) != _arrays(self._root_before)
        ):
            # Arrays that were being added or replaced: as it was before. What was written together
            # is taken or left together, and what was acknowledged does not wait for what was not.
            self._root = self._root_before
        own: Any = (
            self._own_of_arrays(histories) if self._root is None else self._root.get(OWN_ATTRIBUTES)
        )
        if not isinstance(own, dict) or own.get("version") != FORMAT_VERSION:
            raise UnsupportedError(
                "repair saves files written by chunkstore, of the format versions that this "
                "release knows; another program or a newer release wrote this one"
            )
        metadata = {}
        for name in own["arrays"]:
            found = histories[name].metadata if name in histories else None
            if found is None:
                self._messages.append(f"array {name!r} cannot be saved: its metadata is gone")
            else:
                metadata[name] = found
        aligned = [name for name in own["aligned"] if name in metadata]
        return Salvage(
            self._file,
            {k: v for k, v in (self._root or {}).items() if k != OWN_ATTRIBUTES},
            max([int(own["num_samples"]), *(metadata[name].shape[0] for name in aligned)]),
            aligned,
            metadata,
            {name: histories[name].chunks(self._messages) for name in metadata},
            self._messages,
        )

    def _own_of_arrays(self, histories: dict[str, History]) -> dict[str, Any]:
        """Return what the root said about its arrays, as far as theirs tells."""
        aligned = [
            name
            for name, history in histories.items()
            if history.metadata is not None
            and (history.metadata.dimension_names or (None,))[0] == "sample"
        ]
        if not aligned:
            raise FormatError("nothing can be saved: no metadata of a chunkstore file survived")
        self._messages.append("the root metadata is gone, and the attributes of the file with it")
        return {
            "version": FORMAT_VERSION,
            "arrays": list(histories),
            "aligned": aligned,
            "num_samples": 0,
        }


def _arrays(root: dict[str, Any] | None) -> Any:
    own = (root or {}).get(OWN_ATTRIBUTES)
    return own.get("arrays") if isinstance(own, dict) else None


def _consolidated(raw: bytes) -> dict[str, ArrayMetadata]:
    """Return the copies of the arrays' metadata that the root's holds."""
    copies = (json.loads(raw).get("consolidated_metadata") or {}).get("metadata") or {}
    result = {}
    for name, copy in copies.items():
        with contextlib.suppress(ChunkStoreError):
            node = parse_node(json.dumps(copy).encode())
            if isinstance(node, ArrayMetadata):
                result[name] = node
    return result
