"""Top-level `await`: one event loop for all cells, whose tasks go on while the kernel waits for the next cell."""

import sys


class Tasks:
    def __init__(self):
        self._loop = None

    def prepare(self, code):
        """A cell that names asyncio finds a current event loop, as it would in a notebook."""
        if "asyncio" in sys.modules or "asyncio" in code:
            self._current()

    def run(self, coroutine):
        """Runs to its end. An interrupt cancels it where it waits."""
        loop = self._current()
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except KeyboardInterrupt as interrupt:
            if task.done():
                raise
            task.cancel()
            raise interrupt.with_traceback(self._end(task) or interrupt.__traceback__)

    def wait_readable(self, fd):
        """Lets tasks that cells have left go on until there is something to read."""
        import asyncio

        loop = self._loop
        if loop is None or loop.is_closed():
            return
        all_tasks = getattr(asyncio, "all_tasks", None) or asyncio.Task.all_tasks
        if not any(not task.done() for task in all_tasks(loop)):
            return
        loop.add_reader(fd, loop.stop)
        try:
            loop.run_forever()
        finally:
            loop.remove_reader(fd)

    def _end(self, task):
        """Lets a cancelled task end; the place where it was cancelled."""
        import asyncio

        try:
            self._loop.run_until_complete(task)
        except asyncio.CancelledError as cancelled:
            return cancelled.__traceback__
        except Exception:
            # It answered the cancellation with an error of its own; the interrupt is what is told.
            return None
        return None

    def _current(self):
        import asyncio

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        # `asyncio.run` leaves none behind.
        asyncio.set_event_loop(self._loop)
        return self._loop
