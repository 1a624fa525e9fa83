"""Reads the head of a GGUF file: what it holds, and whether it is whole.

llama.cpp says only that a file could not be loaded; this says why, before llama.cpp sees it.
"""

from __future__ import annotations

import mmap
import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["GGUFHeader", "Shape", "read_header"]

Shape = tuple[int, ...]
"""The innermost dimension first, as GGUF has it: a matrix from 3 to 5 features is `(3, 5)`."""

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_DIMENSIONS = 4
_DEFAULT_ALIGNMENT = 32
_STRING, _ARRAY = 8, 9

_SCALARS: Mapping[int, struct.Struct] = MappingProxyType(
    {
        kind: struct.Struct("<" + code)
        for kind, code in zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True)
    }
)
_U32, _U64 = _SCALARS[4], _SCALARS[10]

_BLOCKS: Mapping[int, tuple[int, int]] = MappingProxyType(
    {
        0: (1, 4),  # F32
        1: (1, 2),  # F16
        2: (32, 18),  # Q4_0
        3: (32, 20),  # Q4_1
        6: (32, 22),  # Q5_0
        7: (32, 24),  # Q5_1
        8: (32, 34),  # Q8_0
        10: (256, 84),  # Q2_K
        11: (256, 110),  # Q3_K
        12: (256, 144),  # Q4_K
        13: (256, 176),  # Q5_K
        14: (256, 210),  # Q6_K
        30: (1, 2),  # BF16
    }
)
"""The usual types of tensors -> values in a block, bytes of a block."""


@attrs.frozen
class GGUFHeader:
    """What the head of a GGUF file says.

    Attributes:
        path: the file.
        metadata: its keys and values; lists are left out.
        tensors: the names of its tensors and their shapes.
    """

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Shape]

    @property
    def architecture(self) -> str:
        """The model's family in llama.cpp's words, such as `llama`; empty if it has none."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def is_adapter(self) -> bool:
        """True for a LoRA adapter, False for a model."""
        return self.metadata.get("general.type") == "adapter"

    def number(self, name: str) -> int | None:
        """A whole number of this architecture: `context_length` is `llama.context_length`."""
        value = self.metadata.get(f"{self.architecture}.{name}")
        return value if type(value) is int else None


def read_header(path: Path) -> GGUFHeader:
    """Read the head of a GGUF file and check that the tensors it speaks of are there.

    Raises:
        ConfigError: the file cannot be read, is no GGUF, of an unknown version, or cut short.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            _check_start(path, start)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).header()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error


def _check_start(path: Path, start: bytes) -> None:
    if not start:
        raise ConfigError(f"{path}: is an empty file, not a GGUF; get the file again")
    if start[:4] != _MAGIC:
        raise ConfigError(
            f"{path}: is not a GGUF file (it begins with {start[:4]!r}, not {_MAGIC!r}); "
            "give a model in llama.cpp's format"
        )
    if len(start) < len(_MAGIC) + _U32.size:
        raise _cut_short(path)
    version = _U32.unpack(start[4:])[0]
    if version not in _VERSIONS:
        known = " and ".join(map(str, _VERSIONS))
        raise ConfigError(
            f"{path}: is a GGUF file of version {version}; versions {known} can be read; "
            "convert the model again"
        )


def _cut_short(path: Path) -> ConfigError:
    return ConfigError(f"{path}: the GGUF file is cut short or damaged; get the file again")


class _Reader:
    """A place in the file, moving on."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._at = len(_MAGIC) + _U32.size

    def header(self) -> GGUFHeader:
        tensor_count, value_count = self._scalar(_U64), self._scalar(_U64)
        metadata: dict[str, Any] = {}
        for _ in range(value_count):
            name = self._string()
            value = self._value(self._scalar(_U32))
            if value is not None:
                metadata[name] = value
        tensors: dict[str, Shape] = {}
        end = 0
        for _ in range(tensor_count):
            name, shape, tensor_end = self._tensor()
            tensors[name] = shape
            end = max(end, tensor_end)
        self._check_end(metadata.get("general.alignment", _DEFAULT_ALIGNMENT), end)
        return GGUFHeader(self._path, MappingProxyType(metadata), MappingProxyType(tensors))

    def _check_end(self, alignment: Any, end: int) -> None:
        if type(alignment) is not int or alignment < 1:
            raise _cut_short(self._path)
        data_start = -(-self._at // alignment) * alignment
        if data_start + end > len(self._data) and end:
            raise _cut_short(self._path)

    def _tensor(self) -> tuple[str, Shape, int]:
        """Name, shape, and where it ends at least, counted from the start of the tensors."""
        name = self._string()
        dimensions = self._scalar(_U32)
        if dimensions > _MOST_DIMENSIONS:
            raise _cut_short(self._path)
        shape = tuple(self._scalar(_U64) for _ in range(dimensions))
        kind, offset = self._scalar(_U32), self._scalar(_U64)
        count = 1
        for size in shape:
            count *= size
        values, block = _BLOCKS.get(kind, (count or 1, 1))
        return name, shape, offset + -(-count // values) * block

    def _value(self, kind: int) -> Any:
        """A value; None for a list, which is skipped."""
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(self._layout(kind))
        kind, count = self._scalar(_U32), self._scalar(_U64)
        if kind == _STRING:
            for _ in range(count):
                self._skip(self._scalar(_U64))
        else:
            self._skip(self._layout(kind).size * count)
        return None

    def _layout(self, kind: int) -> struct.Struct:
        layout = _SCALARS.get(kind)
        if layout is None:
            raise _cut_short(self._path)
        return layout

    def _string(self) -> str:
        size = self._scalar(_U64)
        start = self._at
        self._skip(size)
        return self._data[start : self._at].decode(errors="replace")

    def _scalar(self, layout: struct.Struct) -> Any:
        start = self._at
        self._skip(layout.size)
        return layout.unpack_from(self._data, start)[0]

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._data):
            raise _cut_short(self._path)
