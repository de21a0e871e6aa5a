"""NumPy's arrays on disk, mapped into memory: no content of the file runs code, or ends in another error than one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from tokenize import TokenError

import numpy as np

from diptych.storage.checksums import Damaged

_ERRORS = (OSError, ValueError, EOFError, OverflowError, TypeError, SyntaxError, MemoryError, RecursionError)


def map_array(path: Path, shape: tuple[int | None, ...] | None = None, dtype: str | None = None) -> np.ndarray:
    """The array of a .npy file, mapped read-only. `shape` and `dtype` are what it must have (None: any will do).

    Raises:
        Damaged: the file is not there, cut, no array, or one of another shape or type; names it.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*_ERRORS, struct.error, TokenError) as error:
        raise Damaged(f"{path} is no whole array ({error or type(error).__name__})") from None
    if not isinstance(array, np.ndarray) or array.dtype.hasobject:
        raise Damaged(f"{path} is no array of numbers")
    fits = shape is None or (
        array.ndim == len(shape) and all(want in (None, has) for want, has in zip(shape, array.shape, strict=True))
    )
    if not fits or (dtype is not None and array.dtype != np.dtype(dtype)):
        wanted = f"{dtype or 'numbers'} of the shape {shape}".replace("None", "any")
        raise Damaged(f"{path} holds {array.dtype} of the shape {array.shape}, not {wanted}")
    return array


def crc_of_arrays(name: str, arrays: Iterable[np.ndarray]) -> int:
    """CRC-32 of a name and of the arrays that belong to it: their types, shapes and values."""
    checksum = zlib.crc32(name.encode("utf-8", "surrogatepass"))
    for array in arrays:
        checksum = zlib.crc32(f"{array.dtype.str}{array.shape}".encode(), checksum)
        checksum = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, checksum)
    return checksum
