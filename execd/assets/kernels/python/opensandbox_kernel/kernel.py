"""The kernel: takes cells from its channel, one after the other, and tells how they went."""

import builtins
import faulthandler
import os
import signal
import sys

from . import display, imports, ipython
from .cell import Namespace, describe_error
from .channel import Channel, Interrupts
from .output import Output
from .tasks import Tasks

BACKEND = "module://opensandbox_kernel.figures"


class Kernel:
    def __init__(self, channel_fd):
        self._interrupts = Interrupts()
        self._channel = Channel(channel_fd, self._interrupts)
        self._output = Output(self._channel)
        self._displays = display.Displays(self._channel)
        self._tasks = Tasks()
        self._namespace = Namespace()
        self._count = 0
        faulthandler.enable()
        signal.signal(signal.SIGINT, self._interrupts.on_signal)
        sys.displayhook = self._show_value
        builtins.display = self._displays.display
        builtins.input = _refuse_input
        builtins.exit = builtins.quit = _exit
        self._change_modules()

    def serve(self):
        self._channel.send(op="ready")
        while True:
            if not self._channel.has_message():
                if "asyncio" in sys.modules:
                    self._tasks.wait_readable(self._channel.fd)
            message = self._channel.receive()
            if message is None:
                return
            if message.get("op") == "execute":
                self._execute(message["cell"], message["code"])

    def _execute(self, cell, code):
        self._count += 1
        self._displays.cell = cell
        self._output.begin()
        self._channel.send(op="count", cell=cell, count=self._count)
        error = self._run(code, "<cell %d>" % self._count)
        error = self._show_figures() or error
        if not self._channel.is_ours:
            # A child that the cell forked and that came to the end of the cell like its parent. It must not answer.
            os._exit(1 if error else 0)
        if error:
            self._channel.send(op="error", cell=cell, **error)
        self._channel.send(op="done", cell=cell)

    def _run(self, code, filename):
        """Runs a cell; what its error was, if there was one."""
        signal.signal(signal.SIGINT, self._interrupts.on_signal)
        try:
            try:
                self._interrupts.armed = True
                self._tasks.prepare(code)
                self._namespace.run(self._namespace.compile(code, filename), self._tasks.run)
            finally:
                self._interrupts.armed = False
                self._interrupts.pending = False
        except SystemExit as end:
            # It ends the cell and not the kernel: all that was defined would be lost with it.
            return describe_error(end) if end.code not in (None, 0) else None
        except BaseException as error:
            self._interrupts.armed = False
            sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
            return describe_error(error)
        return None

    def _show_value(self, value):
        if value is None:
            return
        builtins._ = None
        self._displays.show(display.format_value(value))
        builtins._ = value

    def _show_figures(self):
        figures = sys.modules.get("opensandbox_kernel.figures")
        if figures is None:
            return None
        try:
            figures.show_all()
        except BaseException as error:
            return describe_error(error)
        return None

    def _change_modules(self):
        patch = ipython.patch(self._displays, display.clear_output)
        actions = {
            "IPython.core.display_functions": patch,
            "IPython.core.display": patch,
            "matplotlib": self._use_backend,
        }
        if sys.version_info >= (3, 14):
            actions["multiprocessing.context"] = imports.use_fork
        sys.meta_path.insert(0, imports.AfterImport(actions))
        names = self._namespace.names
        sys.meta_path.append(ipython.StandIn(names, self._displays, display.clear_output))

    def _use_backend(self, matplotlib):
        if os.environ.get("MPLBACKEND"):
            return
        matplotlib.rcParams["backend"] = BACKEND

    def show_data(self, data):
        self._displays.show(data)


def _refuse_input(prompt="", *_more):
    raise EOFError("input() cannot be answered here: there is nobody to ask (prompt: %r)" % str(prompt))


def _exit(code=None):
    raise SystemExit(code)
