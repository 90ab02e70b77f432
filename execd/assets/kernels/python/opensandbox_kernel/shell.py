"""`!command` and the few `%magics` that notebooks use to prepare themselves. Only a line that Python cannot read is looked at,
so that no valid program changes its meaning.
"""

import os
import shutil
import subprocess
import sys

MAX_LINES = 200
# They prepare what is always so here.
NEEDLESS = ("matplotlib", "config", "load_ext", "autoreload")


def rewrite(code, line_number):
    """The code with the line that could not be compiled made Python, or None when it is not one for us."""
    lines = code.splitlines(True)
    if not line_number or not 0 < line_number <= len(lines):
        return None
    line = lines[line_number - 1]
    text = line.strip()
    indent = line[: len(line) - len(line.lstrip())]
    if text.startswith("!"):
        call = "shell(%r)" % text[1:].strip()
    elif text.startswith("%%"):
        raise SyntaxError("%s is not available here: cells are Python, `!command` and %%pip" % text.split()[0])
    elif text.startswith("%") and text[1:2].isalpha():
        name, _, rest = text[1:].partition(" ")
        call = _magic(name, rest.strip())
    else:
        return None
    lines[line_number - 1] = '%s__import__("opensandbox_kernel.shell", fromlist=["*"]).%s\n' % (indent, call)
    return "".join(lines)


def _magic(name, rest):
    if name == "pip":
        return "pip(%r)" % rest
    if name == "cd":
        return "cd(%r)" % rest
    if name in NEEDLESS:
        return "nothing()"
    raise SyntaxError("%%%s is not available here: there are %%pip, %%cd and `!command`" % name)


def shell(line):
    program = shutil.which("bash") or "/bin/sh"
    try:
        subprocess.call([program, "-c", line])
    except FileNotFoundError:
        raise RuntimeError("Cannot run a command line as there is neither bash nor sh")
    _forget_what_was_missing()


def pip(rest):
    import shlex

    subprocess.call([sys.executable, "-m", "pip"] + shlex.split(rest))
    _forget_what_was_missing()


def cd(directory):
    os.chdir(os.path.expanduser(directory or "~"))


def nothing():
    pass


def _forget_what_was_missing():
    import importlib

    importlib.invalidate_caches()
