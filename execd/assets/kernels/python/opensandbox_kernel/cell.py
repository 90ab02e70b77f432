"""Compiling and running cells in one namespace, and telling of their errors."""

import ast
import builtins
import linecache
import sys
import traceback
import types

from . import shell

FOLDER = __file__.rpartition("/")[0] + "/"
ASYNC = getattr(ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0)
CO_COROUTINE = 0x80
MAX_SOURCES = 1000
MAX_MESSAGE = 1 << 16
MAX_TRACEBACK = 1 << 18
MAX_LINES = 1000


class Namespace:
    """The module `__main__` of all cells: pickles and dataclasses look there for what cells define."""

    def __init__(self):
        module = types.ModuleType("__main__")
        module.__builtins__ = builtins
        sys.modules["__main__"] = module
        self.names = module.__dict__
        self._flags = 0
        self._files = []

    def compile(self, code, filename):
        """The parts of a cell in order: its statements, and the expression at its end whose value is shown."""
        self._remember(code, filename)
        tree = self._parse(code, filename)
        parts = []
        last = tree.body[-1:] if tree.body and isinstance(tree.body[-1], ast.Expr) else []
        if last and not code.rstrip().endswith(";"):
            del tree.body[-1]
            parts.append((ast.Interactive(body=last), "single"))
        if tree.body:
            parts.insert(0, (tree, "exec"))
        compiled = []
        for part, mode in parts:
            done = compile(part, filename, mode, self._flags | ASYNC, dont_inherit=True)
            self._keep_features(done.co_flags)
            compiled.append(done)
        return compiled

    def run(self, compiled, run_async):
        for part in compiled:
            if part.co_flags & CO_COROUTINE:
                run_async(eval(part, self.names))
            else:
                exec(part, self.names)

    def _parse(self, code, filename):
        for _ in range(shell.MAX_LINES):
            try:
                return compile(code, filename, "exec", ast.PyCF_ONLY_AST | self._flags | ASYNC, dont_inherit=True)
            except SyntaxError as error:
                rewritten = shell.rewrite(code, error.lineno)
                if rewritten is None:
                    raise
                code = rewritten
        raise SyntaxError("A cell can have %d command lines" % shell.MAX_LINES)

    def _keep_features(self, flags):
        """`from __future__ import` holds for all later cells."""
        import __future__

        for name in __future__.all_feature_names:
            flag = getattr(__future__, name).compiler_flag
            if flags & flag == flag:
                self._flags |= flag

    def _remember(self, code, filename):
        """Tracebacks, warnings and `inspect.getsource` find the lines of cells here."""
        linecache.cache[filename] = (len(code), None, code.splitlines(True), filename)
        self._files.append(filename)
        if len(self._files) > MAX_SOURCES:
            linecache.cache.pop(self._files.pop(0), None)


def describe_error(error):
    """Name, message and traceback of an exception, without what is the kernel's own."""
    try:
        return _describe(error)
    except Exception as other:
        # Whoever has set the recursion limit to 10 shall hear of it.
        told = "its traceback cannot be told: %s" % type(other).__name__
        return {"ename": type(error).__name__, "evalue": _message_of(error), "traceback": [told]}


def _describe(error):
    told = traceback.TracebackException(type(error), error, _from_cell(error.__traceback__))
    _clean(told, set())
    lines = "".join(told.format()).splitlines()
    return {
        "ename": type(error).__name__,
        "evalue": _shorten(_message_of(error), MAX_MESSAGE),
        "traceback": _shorten("\n".join(lines[:MAX_LINES]), MAX_TRACEBACK).splitlines(),
    }


def _from_cell(trace):
    """The traceback from the first line of a cell on: what ran the cell is of no interest."""
    at = trace
    while at is not None and not at.tb_frame.f_code.co_filename.startswith("<cell "):
        at = at.tb_next
    return at or trace


def _clean(told, seen):
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    told.stack[:] = [frame for frame in told.stack if not frame.filename.startswith(FOLDER)]
    for other in [told.__cause__, told.__context__] + list(getattr(told, "exceptions", None) or ()):
        _clean(other, seen)


def _message_of(error):
    try:
        return str(error)
    except Exception as other:
        return "<its message cannot be told: %s>" % type(other).__name__


def _shorten(text, limit):
    return text if len(text) <= limit else "%s… (%d characters more)" % (text[:limit], len(text) - limit)
