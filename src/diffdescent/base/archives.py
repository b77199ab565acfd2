"""Members of zip archives that others packed, read in memory and within a limit."""

from __future__ import annotations

import zipfile

MEMBER_BYTES = 1 << 28
"""A member of an archive may have this many bytes when unpacked: 256 MiB."""


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes.

    Raises :class:`ValueError`, which says why, for one that is encrypted, too large, damaged or
    packed by an unknown method.
    """
    info = archive.getinfo(name)
    if info.flag_bits & 1:
        raise ValueError("it is encrypted")
    if info.file_size > MEMBER_BYTES:
        raise ValueError(
            f"it has {info.file_size >> 20} MiB unpacked, and {MEMBER_BYTES >> 20} are the most"
        )
    try:
        return archive.read(info)
    except MemoryError:
        raise
    except Exception as error:  # by where the damage is, any of a dozen
        raise ValueError(f"it is damaged: {error}") from None
