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
        signal.signal(signal.SIGINT, self._interrupts.on_signal)
        self._interrupts.begin()
        self._channel.send(op="count", cell=cell, count=self._count)
        error = self._guard(self._run, code, "<cell %d>" % self._count)
        error = self._guard(self._show_figures) or error
        self._interrupts.end()
        if not self._channel.is_ours:
            # A child that the cell forked and that came to the end of the cell like its parent. It must not answer.
            if error:
                sys.stderr.write("\n".join(error["traceback"] + [""]))
            os._exit(1 if error else 0)
        if error:
            self._channel.send(op="error", cell=cell, **error)
        self._channel.send(op="done", cell=cell)

    def _guard(self, act, *arguments):
        """Does what may be interrupted and may fail; what its error was, if there was one."""
        try:
            try:
                self._interrupts.arm()
                act(*arguments)
            finally:
                self._interrupts.disarm()
        except SystemExit as end:
            # It ends the cell and not the kernel: all that was defined would be lost with it.
            return describe_error(end) if end.code not in (None, 0) else None
        except BaseException as error:
            self._interrupts.disarm()
            sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
            return describe_error(error)
        return None

    def _run(self, code, filename):
        self._tasks.prepare(code)
        self._namespace.run(self._namespace.compile(code, filename), self._tasks.run)

    def _show_value(self, value):
        if value is None:
            return
        builtins._ = None
        self._displays.show(display.format_value(value))
        builtins._ = value

    def _show_figures(self):
        figures = sys.modules.get("opensandbox_kernel.figures")
        if figures is not None:
            figures.show_all()

    def _change_modules(self):
        patch = ipython.patch(self._displays, display.clear_output)
        actions = {
            "IPython.core.display_functions": patch,
            "IPython.core.display": patch,
            "matplotlib": _use_backend,
            "opensandbox_kernel.figures": self._let_show,
        }
        if sys.version_info >= (3, 14):
            actions["multiprocessing.context"] = imports.use_fork
        sys.meta_path.insert(0, imports.AfterImport(actions))
        names = self._namespace.names
        sys.meta_path.append(ipython.StandIn(names, self._displays, display.clear_output))

    def _let_show(self, figures):
        figures.show_data = self._displays.show


def _use_backend(matplotlib):
    if not os.environ.get("MPLBACKEND"):
        matplotlib.rcParams["backend"] = BACKEND


def _refuse_input(prompt="", *_more):
    raise EOFError("input() cannot be answered here: there is nobody to ask (prompt: %r)" % str(prompt))


def _exit(code=None):
    raise SystemExit(code)
