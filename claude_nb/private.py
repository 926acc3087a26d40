"""Files for this user's eyes only: folders 0700, files 0600, replaced at once."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

# What a writer that was killed has left is named so; nobody reads it.
UNFINISHED = ".new"
_numbers = itertools.count()


def private_folder(folder: Path) -> Path:
    """The folder, made if need be, readable by nobody else; what stands above it is only made if missing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def unfinished(path: Path) -> Path:
    """Where the file's next content is put together: a name that no other writer uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}{UNFINISHED}")


def replace_file(path: Path, content: bytes) -> None:
    """A reader sees the old content or the new one, also if the writer is killed. Raises `OSError`."""
    new = unfinished(path)
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
