"""Standard output and error. Nothing is kept back: what a cell prints stands before what the programs print that it runs
next, a crash loses nothing, and a fork doubles nothing.
"""

import builtins
import io
import os
import select
import sys

STDOUT, STDERR = 1, 2


class RawOutput(io.RawIOBase):
    """A descriptor that takes all of what is written, whatever other processes have done to it."""

    def __init__(self, fd, name, before_write):
        self.name = name
        self.mode = "wb"
        self._fd = fd
        self._before_write = before_write

    def writable(self):
        return True

    def fileno(self):
        return self._fd

    def write(self, data):
        self._before_write(self._fd)
        rest = memoryview(data).cast("B")
        length = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                # A child that shares the pipe, such as Node, made it non-blocking for all.
                select.select([], [self._fd], [])
        return length


class TextOutput(io.TextIOWrapper):
    """One of our streams."""


class Output:
    """Puts our streams in the place of sys.stdout and sys.stderr."""

    def __init__(self, channel):
        self._channel = channel
        self._last = None
        for fd, name in ((STDOUT, "stdout"), (STDERR, "stderr")):
            raw = RawOutput(fd, "<%s>" % name, self._before_write)
            stream = TextOutput(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
            stream.mode = "w"
            setattr(sys, name, stream)
            setattr(sys, "__%s__" % name, stream)
        builtins.print = _create_print(builtins.print)

    def begin(self):
        """A cell begins: nothing has been printed in it."""
        self._last = None

    def _before_write(self, fd):
        # Two pipes know nothing of each other's order.
        if self._last != fd:
            if self._last is not None:
                self._channel.sync()
            self._last = fd


def _create_print(original):
    """A `print` that writes each of its lines at once: what threads print stays in whole lines."""

    def print(*values, sep=" ", end="\n", file=None, flush=False):
        stream = sys.stdout if file is None else file
        texts = isinstance(sep, (str, type(None))) and isinstance(end, (str, type(None)))
        if not texts or type(stream) is not TextOutput:
            original(*values, sep=sep, end=end, file=file, flush=flush)
            return
        line = (" " if sep is None else sep).join([str(value) for value in values])
        stream.write(line + ("\n" if end is None else end))

    print.__module__, print.__qualname__, print.__doc__ = "builtins", "print", original.__doc__
    return print
