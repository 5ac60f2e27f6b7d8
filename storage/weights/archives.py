"""Foreign torch files, read without running anything in them.

``torch.save`` and ``torch.jit.save`` write a zip of ``data.pkl`` and raw storages; before PyTorch
1.6 `torch.save` wrote pickles one after the other, then the storages. The pickles are read as plain
data (`pickles`, `names`), and no byte of a file is read into memory twice: tensors of a zip show
the file itself, whose bytes come from the disk when they are looked at.
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from reelvec.storage.errors import WeightsError
from reelvec.storage.weights.names import stands_for
from reelvec.storage.weights.pickles import PickleError, Unpickler

__all__ = ["read_archive", "read_legacy"]

_MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of a file of before PyTorch 1.6."""
_MAX_DIRECTORY = 16 << 20
"""Bytes of a zip file's directory: some 200,000 tensors."""
_LENGTH = struct.Struct("<q")
_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a member of a zip file, before its name: the lengths of the name and of what follows it."""


def read_archive(path: Path, *, known: bool = False) -> Any:
    """The object in a zip archive of torch.save or torch.jit.save, as plain data.

    TorchScript modules come back as (nested) Holders of their attributes. Tensors show the file as
    long as they live, whose checksums are right; what is written to them stays in this process.

    Args:
        path: of the file.
        known: its checksums were right when the file was as it is now; nothing is read for them.

    Raises:
        WeightsError: no such archive, a name that is not allowed, or storages out of bounds.
    """
    with _explained(path), path.open("rb") as stream:
        _check_directory(stream)
        with zipfile.ZipFile(stream) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise WeightsError(
                    f"{path} is a zip file, but no torch archive (no data.pkl)", path=str(path)
                )
            folder = names[0].removesuffix("data.pkl")
            storages = _ZippedStorages(archive, folder, stream=stream, known=known)
            return Unpickler(
                io.BytesIO(storages.member("data.pkl")), name=stands_for, persistent=storages.find
            ).load()


def read_legacy(path: Path) -> Any:
    """The object in a file of torch.save without a zip around it, as plain data.

    Raises:
        WeightsError: no such file, a name that is not allowed, or storages out of bounds.
    """
    with (
        _explained(path),
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        storages = _TrailingStorages(size=len(data))
        unpickler = Unpickler(data, name=stands_for, persistent=storages.find)
        magic, _, _ = (unpickler.load() for _ in range(3))
        if magic != _MAGIC:
            raise WeightsError(
                f"{path} is no weights file we know (a pickle, but not torch's): safetensors,"
                " TorchScript archives and state dicts are",
                path=str(path),
            )
        content = unpickler.load()
        storages.fill(data, keys=unpickler.load())
        return content


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except WeightsError:
        raise
    except PickleError as error:
        raise WeightsError(f"{path} is not read: {error}", path=str(path)) from error
    except Exception as error:  # hostile bytes may raise anything here
        raise WeightsError(
            f"{path} is no weights file we know, or a damaged one ({type(error).__name__}:"
            f" {error}): safetensors, torch archives and state dicts are",
            path=str(path),
        ) from error


def _check_directory(stream: IO[bytes]) -> None:
    """Refuses a zip file whose list of members alone would fill the memory."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - (1 << 16) - 128))
    tail = stream.read()
    end, wide = tail.rfind(b"PK\5\6"), tail.rfind(b"PK\6\6")
    sizes = [struct.unpack_from("<I", tail, end + 12)[0] if 0 <= end <= len(tail) - 16 else 0]
    if 0 <= wide <= len(tail) - 48:  # the record of more than 4 GiB or 65,535 members
        sizes = [struct.unpack_from("<Q", tail, wide + 40)[0]]
    if sizes[0] > _MAX_DIRECTORY:
        raise PickleError(f"its list of members takes {sizes[0]:,} bytes")


class _ZippedStorages:
    """Storages of a zip archive; together they are no larger than the file."""

    def __init__(
        self, archive: zipfile.ZipFile, folder: str, *, stream: IO[bytes], known: bool
    ) -> None:
        self._archive = archive
        self._folder = folder
        self._known = known
        self._bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        self._left = len(self._bytes)
        self._found: dict[str, torch.Tensor] = {}
        if f"{folder}byteorder" in archive.namelist() and self.member("byteorder") != b"little":
            raise PickleError("its numbers are big-endian; save it anew on a little-endian machine")

    def member(self, name: str) -> bytes:
        """A member's bytes; torch stores them uncompressed, and nothing else is unpacked."""
        start, size = self._place(name)
        return self._bytes[start : start + size]

    def find(self, identifier: Any) -> torch.Tensor:
        """A storage as a flat tensor: ("storage", dtype, key, device, elements)."""
        _, dtype, key, _, elements = identifier
        if key not in self._found:
            self._found[key] = self._flat(*self._place(f"data/{key}"), dtype=dtype)
        if self._found[key].dtype != dtype:
            raise PickleError(f"its storage {key} is of two types")
        return self._found[key][: int(elements)]

    def _flat(self, start: int, size: int, *, dtype: torch.dtype) -> torch.Tensor:
        if not size:
            return torch.empty(0, dtype=dtype)
        if start % dtype.itemsize:  # torch puts them at multiples of 64
            return torch.frombuffer(bytearray(self._bytes[start : start + size]), dtype=dtype)
        if size % dtype.itemsize:
            raise PickleError(f"a storage of {size:,} bytes holds no whole number of {dtype}")
        return torch.frombuffer(
            self._bytes, dtype=dtype, offset=start, count=size // dtype.itemsize
        )

    def _place(self, name: str) -> tuple[int, int]:
        """Where a member's bytes begin in the file, and how many; their checksum is right."""
        info = self._archive.getinfo(self._folder + name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise PickleError(f"{info.filename} is compressed, which torch never does")
        self._left -= info.file_size
        if self._left < 0:
            raise PickleError("its members are larger than the file they are in")
        self._archive.open(info).close()  # checks the member's own header
        before, after = _LOCAL_HEADER.unpack_from(self._bytes, info.header_offset)
        start = info.header_offset + _LOCAL_HEADER.size + before + after
        with memoryview(self._bytes) as whole, whole[start : start + info.file_size] as part:
            right = self._known or zlib.crc32(part) == info.CRC
            if len(part) < info.file_size or not right:
                raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")
        return start, info.file_size


class _TrailingStorages:
    """Storages that stand behind the pickles which name them; made first, filled at the end."""

    def __init__(self, *, size: int) -> None:
        self._left = size
        self._found: dict[str, torch.Tensor] = {}

    def find(self, identifier: Any) -> torch.Tensor:
        """("storage", dtype, key, device, elements, view); a view is (key, offset, elements)."""
        _, dtype, key, _, elements, view = identifier
        if key not in self._found:
            self._left -= int(elements) * dtype.itemsize
            if elements < 0 or self._left < 0:
                raise PickleError("its storages are larger than the file they are in")
            self._found[key] = torch.empty(int(elements), dtype=dtype)
        flat = self._found[key]
        if flat.dtype != dtype:
            raise PickleError(f"its storage {key} is of two types")
        if view is None:
            return flat
        _, offset, count = view
        return flat[offset : offset + count]

    def fill(self, data: mmap.mmap, *, keys: Any) -> None:
        """Read each storage, in the order of `keys`: its length in numbers, then the numbers."""
        for key in keys:
            flat = self._found.pop(key)
            (count,) = _LENGTH.unpack(data.read(_LENGTH.size))
            at = data.tell()
            if count != len(flat) or at + flat.nbytes > len(data):
                raise PickleError(f"its storage {key} is cut; the file is not whole")
            if count:
                raw = np.frombuffer(data, np.uint8, count=flat.nbytes, offset=at)
                flat.view(torch.uint8).numpy()[:] = raw
                del raw  # the file cannot be closed while an array shows its bytes
            data.seek(at + flat.nbytes)
        if self._found:
            raise PickleError(f"{len(self._found)} of its storages are missing")
