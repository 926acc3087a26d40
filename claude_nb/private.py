"""Files for this user's eyes only: folders 0700, files 0600, replaced at once.

What is run and who is trusted stands in these folders, so they must be this user's, and no links: whoever
owns one, or the place of a link, can put something else there. All that goes wrong is a `FolderUnusable`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from claude_nb.errors import FolderUnusable

# What a writer that was killed has left is named so; nobody reads it.
UNFINISHED = ".new"
_BLOCK = 4096
_numbers = itertools.count()


@contextlib.contextmanager
def telling(path: Path) -> Iterator[None]:
    """Say in one line which of our files could not be written, and what to do. Raises `FolderUnusable`."""
    try:
        yield
    except FolderUnusable:
        raise
    except OSError as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: OSError) -> FolderUnusable:
    """The error to raise for one of our files or folders."""
    reason = error.strerror or str(error)
    return FolderUnusable(f"{path} cannot be written: {reason}. {_cure(path)}", str(path), error.errno)


def _cure(path: Path) -> str:
    from jupyter_core.paths import jupyter_runtime_dir  # only where something is wrong

    runs = path.is_relative_to(jupyter_runtime_dir())
    variable = "JUPYTER_RUNTIME_DIR" if runs else "JUPYTER_DATA_DIR"
    return f"Set {variable} to another folder and restart the kernel; `jupyter claude doctor` looks at it."


def private_folder(folder: Path, *, may_be_link: bool = False) -> Path:
    """The folder, made if need be, readable by nobody else; what stands above it is only made if missing.

    Raises `FolderUnusable` if it cannot be made or is not this user's alone.
    """
    with telling(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if exposed(folder, may_be_link=may_be_link) is None and folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    danger = exposed(folder, may_be_link=may_be_link)
    if danger is not None:
        raise FolderUnusable(f"{folder} is not used: {danger}. {_cure(folder)}", str(folder))
    return folder


def exposed(folder: Path, *, may_be_link: bool = False) -> str | None:
    """Why the folder is not this user's alone and cannot be made so; None if it is."""
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        if not may_be_link:
            return "it is a link, whose place another folder may take"
        if status.st_uid == os.geteuid():
            status = folder.stat()
    if status.st_uid != os.geteuid():
        return f"it belongs to another user (uid {status.st_uid}), who could replace what is in it"
    if not stat.S_ISDIR(status.st_mode):
        return "it is no folder"
    return None


def unfinished(path: Path) -> Path:
    """Where the file's next content is put together: a name that no other writer uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}{UNFINISHED}")


def cannot_write(folder: Path) -> str | None:
    """Why no file can be made in the folder, or in the nearest above it that is there; None if it can.

    Tried, since permissions alone do not tell of a full disk; nothing of the try stays.
    """
    import tempfile  # only for who asks

    place = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(_BLOCK))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{place}: {error.strerror or error}"
    return None


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """A reader sees the old content or the new one, also if the writer is killed. Raises `FolderUnusable`."""
    new = unfinished(path)
    with telling(path):
        try:
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                os.fchmod(fd, mode)
            new.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink()
            raise
