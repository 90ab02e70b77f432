"""The messages between the kernel and execd: one JSON object a line, over a socket that nothing else may have.

Children do not get it: it is closed when a program is executed, and after a fork. An interrupt in the middle of a message
would tear it, so interrupts wait meanwhile.
"""

import json
import os
import select
from _thread import allocate_lock, get_ident

# Looks for an interrupt this often while it waits for execd.
WAIT_S = 0.1


class Interrupts:
    """SIGINT: raised in the cell that runs, kept back before its first line and in the middle of a message, ignored between
    cells."""

    def __init__(self):
        self.armed = False
        self.pending = False
        self._is_cell = False
        self._main = get_ident()
        self._depth = 0

    def begin(self):
        """From now on an interrupt is for the cell that comes."""
        self.pending = False
        self._is_cell = True

    def end(self):
        self._is_cell = False

    def arm(self):
        """From now on it is raised."""
        self.armed = True
        self._raise_pending()

    def disarm(self):
        self.armed = False

    def on_signal(self, _signal, _frame):
        if self.armed and not self._depth:
            raise KeyboardInterrupt
        if self._is_cell:
            self.pending = True

    def __enter__(self):
        # Signals reach the main thread alone, and so it alone has something to keep back.
        if get_ident() == self._main:
            self._depth += 1

    def __exit__(self, *_error):
        if get_ident() == self._main:
            self._depth -= 1
            if self.armed and not self._depth:
                self._raise_pending()

    def _raise_pending(self):
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt


class Channel:
    def __init__(self, fd, interrupts):
        os.set_inheritable(fd, False)
        self.fd = fd
        self.interrupts = interrupts
        self._pid = os.getpid()
        self._main = get_ident()
        self._lock = allocate_lock()
        self._received = bytearray()
        self._syncs = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._close_in_child)

    @property
    def is_ours(self):
        """Whether this process is the kernel, and not a child that it forked."""
        return os.getpid() == self._pid

    def send(self, **message):
        """Sends a message. In a forked child nothing happens and False is returned."""
        if not self.is_ours:
            return False
        data = memoryview((json.dumps(message) + "\n").encode("ascii"))
        with self.interrupts, self._lock:
            while data:
                data = data[os.write(self.fd, data) :]
        return True

    def sync(self):
        """Waits until execd has handed on all that was printed so far, so that what comes next comes after it."""
        # The main thread alone reads, and it waits for the next cell when none runs.
        if not self.is_ours or get_ident() != self._main or not self.interrupts.armed:
            return
        self._syncs += 1
        number = self._syncs
        with self.interrupts:
            self.send(op="sync", id=number)
            while True:
                message = self._next()
                if message is None:
                    if self.interrupts.pending:
                        return
                    ready, _, _ = select.select([self.fd], [], [], WAIT_S)
                    if ready and not self._fill():
                        return
                elif message.get("op") == "synced" and message.get("id") == number:
                    return

    def receive(self):
        """The next message, or None when execd has gone."""
        while True:
            message = self._next()
            if message is not None:
                return message
            if not self._fill():
                return None

    def has_message(self):
        return b"\n" in self._received

    def _next(self):
        end = self._received.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return json.loads(line.decode("utf-8"))

    def _fill(self):
        data = os.read(self.fd, 1 << 16)
        self._received += data
        return len(data) > 0

    def _close_in_child(self):
        try:
            os.close(self.fd)
        except OSError:
            # The child of a child: closed already.
            pass
