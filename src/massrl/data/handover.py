"""A data set for worker processes that do not share this process's memory: spawned, not forked.

``Process.start`` writes what a spawned process receives into a pipe, and waits for ever if that process
dies before it has read more than a pipe holds. The data set is therefore written to a file, once for all
workers, and what passes through the pipe is the file's path. Arrays in the file are mapped, not copied:
the workers share the memory of cached images, as forked ones do.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, BinaryIO

from massrl.errors import DataError

_ALIGNMENT = 64  # bytes, of each array in the file


def write_content(file: BinaryIO, content: Any) -> None:
    """Write a pickle whose arrays follow it, each at a multiple of 64 bytes."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    pickle.dump([part.nbytes for part in parts], file)
    for part in parts:
        file.write(bytes(-file.tell() % _ALIGNMENT))
        file.write(part)


def read_content(path: str) -> Any:
    """Return what ``write_content`` wrote to this file; its arrays are mapped and read-only."""
    with Path(path).open("rb") as file:
        sizes = pickle.load(file)
        end = file.tell()
        memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    parts = []
    for size in sizes:
        begin = end + -end % _ALIGNMENT
        end = begin + size
        parts.append(memory[begin:end])
    return pickle.loads(parts[0], buffers=parts[1:])


class Handover:
    """A file that hands a content over to worker processes; it is deleted with this object.

    Attributes:
        path: the file.

    Raises:
        DataError: if the content cannot be pickled, or the file cannot be written.
    """

    def __init__(self, content: Any) -> None:
        handle, self.path = tempfile.mkstemp(prefix="massrl-workers-")
        Finalize(self, _delete, args=(self.path,), exitpriority=0)
        try:
            with os.fdopen(handle, "wb") as file:
                write_content(file, content)
        except OSError as error:
            raise DataError(
                f"the images cannot be handed over to worker processes in {self.path}: {error.strerror}; "
                f"set TMPDIR to a larger disk, or use --data.cache none or --data.workers 0"
            ) from error
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise DataError(
                f"the images cannot be sent to worker processes ({' '.join(str(error).split())}): define "
                f"classes and functions at the top of a module, or use --data.workers 0"
            ) from error


def _delete(path: str) -> None:
    Path(path).unlink(missing_ok=True)
