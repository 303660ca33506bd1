"""Standard streams that nobody reads, or that are closed: the work goes on, and what is said goes nowhere.

`vdtui prepare ... 2>&1 | head -1` closes the pipe after a line. Were that an error, the work would be left half done;
were it passed over command by command, one of them would forget.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from engine.errors import StorageError
from vdtui.charset import takes_utf8


def open_outputs() -> None:
    """Make the three standard streams such that using them never fails for want of somebody at the other end."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed by `>&-`; the lowest free number is its own, which the next file would get
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
        elif mode == "w" and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _patient(stream))


def finish_outputs() -> None:
    """Write out what is waiting in the streams; raises StorageError if that fails, as on a full disk."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def unheard() -> bool:
    """Tell whether the reader of stdout or stderr has gone, as far as writing to them showed it."""
    return _Patient.unheard


class _Patient(io.FileIO):
    """A stream that leads nowhere from the moment when its reader is gone."""

    unheard = False

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # or Python would complain anew when it closes the stream
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError):
                reason = error.strerror or type(error).__name__
                problem = f"The output cannot be written: {reason}."
                hint = "What was printed is incomplete; free some space, and print again."
                raise StorageError(problem, hint) from error
            _Patient.unheard = True
            return memoryview(content).nbytes


def _patient(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    utf8 = takes_utf8(stream)
    return io.TextIOWrapper(
        io.BufferedWriter(_Patient(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding if utf8 or not stream.encoding.lower().startswith("utf") else "ascii",
        errors=stream.errors if utf8 else "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
