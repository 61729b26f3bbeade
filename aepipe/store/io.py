"""Files: durable writes, plain names for disk errors, and memory-mapped arrays."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import DTypeLike, NDArray

from aepipe.errors import CorruptError, FullError, StoreError, TargetError, is_refusal, system_words
from aepipe.store import layout

T = TypeVar("T")
REMEDY = "delete the folder and run again: it will be made again"
"""The advice for a directory of the store that is corrupt."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OF_RUST = re.compile(r"\(os error (?P<number>\d+)\)")
"""The end of the errors of libraries in Rust, such as safetensors."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""A folder that an address would make."""
_HEAD = 128
"""Bytes before the numbers of an array of few dimensions."""
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<|][bfiuSU]\d+)', 'fortran_order': False, 'shape': \(((?:\d+,? ?)+)\), \} *\n",
    re.DOTALL,
)
_UNABLE = {errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of file systems that cannot reserve room."""


def load_numpy(what: Path | BinaryIO) -> NDArray[Any] | NpzFile:
    """Load a ``.npy`` array, mapped if it is a path, or an ``.npz`` archive; never pickles.

    Raises:
        OSError: it cannot be read, or is a pipe or a device, which is not waited for.
        ValueError: it is neither; numpy's many kinds of errors become this one.
    """
    found: NDArray[Any] | NpzFile | None
    try:
        found = _usual(what) if isinstance(what, Path) else None
        if found is None:
            found = np.load(what, mmap_mode="r" if isinstance(what, Path) else None, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from None
    return found


def _usual(file: Path) -> NDArray[Any] | None:
    """Map an array as ``np.save`` writes it, in a third of the time of ``np.load``; None for another file.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
        ValueError: it is shorter than it says.
    """
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(errno.EINVAL, "not a file")  # a pipe would be waited for
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
        said = _HEADER.match(head)
        if said is None or said.end() != 10 + int.from_bytes(head[8:10], "little"):
            return None
        shape = tuple(int(number) for number in said[2].split(b",") if number.strip())
        if 0 in shape:  # an empty file cannot be mapped
            return None
        found = np.memmap(stream, said[1].decode(), "r", said.end(), shape)
        found.filename = str(file)  # what is damaged is named by it
        return found


def mapped(file: Path) -> NDArray[Any]:
    """Map an array of the store.

    Raises:
        CorruptError: the file is missing, or is not an array.
        StoreError: the system refused to read it.
    """
    try:
        return np.asarray(load_numpy(file))
    except (OSError, ValueError) as error:
        raise unread(file, error, f"corrupt, not an array ({error}); {REMEDY}") from None


def unread(file: Path, error: Exception, otherwise: str) -> StoreError:
    """Return the error for an unreadable file: the system refused it, or it is damaged.

    Args:
        file: of the store.
        error: that was caught.
        otherwise: what is said of a damaged file.
    """
    if isinstance(error, OSError) and is_refusal(error):
        return StoreError(system_words(OSError(error.errno, error.strerror, str(file))))
    return CorruptError(f"{file}: {otherwise}")


def weights_in(file: Path, load: Callable[[bytes], T]) -> T:
    """Read weights of the store.

    Args:
        file: of safetensors, whose own reader names neither the file nor what the system said.
        load: makes tensors of its bytes.

    Raises:
        CorruptError: the file is missing, or holds no weights.
        StoreError: the system refused to read it.
    """
    try:
        return load(file.read_bytes())
    except OSError as error:
        raise unread(file, error, f"corrupt, it cannot be read ({error.strerror}); {REMEDY}") from None
    except Exception as error:  # the library has a kind of error of its own
        reason = str(error).partition("\n")[0]
        raise CorruptError(f"{file}: corrupt, no weights in it ({reason}); {REMEDY}") from None


def damaged(array: NDArray[Any], what: str) -> CorruptError:
    """Return the error for a mapped array whose numbers cannot be right."""
    base: object = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    file = base.filename if isinstance(base, np.memmap) else "an array of the store"
    return CorruptError(f"{file}: corrupt, {what}; {REMEDY}")


def array_in(file: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Make a ``.npy`` file and map it for writing.

    Raises:
        OSError: the disk has no room for all of it; it is reserved now, for a write into a map without room would kill
            the process.
    """
    if 0 in shape:  # an empty file cannot be mapped
        np.save(file, np.empty(shape, dtype))
        return np.empty(shape, dtype)
    made = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
    return made


def write_durably(file: Path, text: str | bytes) -> None:
    """Write a small file so that after a crash it is either whole or absent.

    The bytes reach the disk before the name does.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    with beside.open("wb") as stream:
        stream.write(text.encode() if isinstance(text, str) else text)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(file)
    sync_folder(file.parent)


def write_into_folder(file: Path, text: str) -> None:
    """Write a small file as :func:`write_durably`, and make its folder if needed.

    Raises:
        StoreError: it cannot be written.
        FullError: the disk is full.
    """
    with disk_errors_named(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(file, text)


def check_local(target: Path) -> None:
    """Refuse an address such as ``s3://bucket/x`` as the place of an output.

    It would become a folder ``s3:`` here.

    Raises:
        TargetError: it is one.
    """
    path = target.absolute()
    for folder in path.parents:
        if _SCHEME.fullmatch(folder.name) and not folder.exists():
            raise TargetError(f"{target}: an address; name a file or a folder of this machine, and copy it from there")


def check_target(file: Path, *, overwrite: bool = True) -> None:
    """Check that a file can be written, before long work is done for it.

    Args:
        file: to be written.
        overwrite: it may be there already.

    Raises:
        TargetError: its folder is missing, it is a folder itself or an address, or it may not be overwritten.
        StoreError: this user may not write it.
    """
    check_local(file)
    folder = file.absolute().parent
    if not folder.is_dir():
        raise TargetError(f"{file}: there is no folder {folder}; make it first")
    if file.is_dir():
        raise TargetError(f"{file}: is a folder; name a file in it")
    if file.exists() and not overwrite:
        raise TargetError(f"{file}: is there already; say --overwrite, or name another file with --out")
    # A file that is replaced by another one needs only its folder; a device is no file and is written itself.
    if not os.access(folder, os.W_OK) or (file.exists() and not os.access(file, os.W_OK)):
        raise StoreError(f"{file}: cannot be written: no permission")


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give another name to write to; it takes the file's place where the block succeeds.

    Raises:
        FullError: the disk is full.
        StoreError: it cannot be written.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with disk_errors_named(file.parent):
            yield beside
            beside.replace(file)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)


def entries(folder: Path, pattern: str = "*") -> list[Path]:
    """Return what lies in a folder, by name; nothing where there is no folder.

    ``Path.glob`` takes a folder that may not be read for an empty one.

    Args:
        folder: of the store.
        pattern: that names match.

    Raises:
        StoreError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.match(pattern))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(system_words(error)) from None


def files_below(folder: Path) -> list[str]:
    """Return the files in a folder and in those below it, relative to it, sorted.

    Raises:
        StoreError: one of the folders cannot be read.
    """
    found: list[str] = []
    for path in entries(folder):
        if path.is_dir():
            found += (f"{path.name}/{name}" for name in files_below(path))
        elif path.is_file():
            found.append(path.name)
    return sorted(found)


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files below a folder; what another process removes is not counted."""
    found = 0
    with suppress(FileNotFoundError):
        for path in folder.rglob("*"):
            with suppress(FileNotFoundError):
                found += path.stat().st_size if path.is_file() else 0
    return found


def append_line(file: Path, line: str) -> None:
    """Append one line to a log durably; first end a line that a crash cut off."""
    with file.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(line.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file's bytes, as hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sealed_json(folder: Path, name: str) -> Any:  # noqa: ANN401  whatever JSON holds
    """Read a small file of an artifact, and check it against the manifest; a draft has none yet.

    Raises:
        CorruptError: it is not what was written.
        StoreError: the system refused to read it.
    """
    file, manifest = folder / name, folder / layout.MANIFEST
    try:
        data = file.read_bytes()
        sealed = json.loads(manifest.read_bytes())["outputs"][name]["sha256"] if manifest.exists() else None
        if sealed in {None, hashlib.sha256(data).hexdigest()}:
            return json.loads(data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unread(file, error, f"corrupt, it cannot be read ({error}); {REMEDY}") from None
    raise CorruptError(f"{file}: corrupt, its sha256 does not match the manifest; {REMEDY}")


def seal_file(file: Path) -> dict[str, Any]:
    """Flush a file to the disk and return its ``sha256`` and ``bytes``."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    return {"sha256": sha256_of(file), "bytes": file.stat().st_size}


@contextmanager
def table_errors_named(file: Path) -> Iterator[None]:
    """Add the name of the file to errors of a library that reads or writes tables.

    Raises:
        CorruptError: the file is no table.
        OSError: the system refused to read or to write it.
    """
    try:
        yield
    except OSError as error:
        reason = str(error.strerror or error).partition("\n")[0]
        raise OSError(error.errno or errno.EIO, reason, str(file)) from None
    except ValueError as error:  # those of pyarrow among them
        reason = str(error).partition("\n")[0]
        raise CorruptError(f"{file}: corrupt, it cannot be read ({reason}); {REMEDY}") from None


@contextmanager
def disk_errors_named(root: Path) -> Iterator[None]:
    """Turn the disk errors of any library into ours, for writes under ``root``.

    Raises:
        FullError: the block failed and the disk under ``root`` is full.
        StoreError: the block failed because the system refused to read or to write something under ``root``.
    """
    try:
        yield
    except Exception as error:
        if _is_full(error, root):
            raise FullError(
                f"{root}: no room left on the disk. Nothing in the store was changed; free some space and run again"
            ) from error
        if isinstance(error, OSError) and error.errno and str(error.filename).startswith(str(root)):
            raise StoreError(system_words(error)) from error
        if found := _OF_RUST.search(str(error)):
            number = int(found["number"])
            raise StoreError(system_words(OSError(number, os.strerror(number), str(root)))) from error
        if type(error) is OSError and not error.errno:  # libraries in C say neither the file nor the number
            nameless = OSError(errno.EIO, str(error).partition("\n")[0], str(root))
            raise StoreError(system_words(nameless)) from error
        raise


def _is_full(error: Exception, root: Path) -> bool:
    """Return whether an error means a full disk.

    Some libraries drop the errno, so the message and the disk are looked at, too.
    """
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    if "No space left" in str(error) or "File too large" in str(error):
        return True
    existing = next(path for path in (root, *root.parents) if path.exists())
    return isinstance(error, OSError | RuntimeError) and shutil.disk_usage(existing).free < 1 << 16
