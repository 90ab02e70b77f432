"""IPython.display without a notebook: with IPython installed its functions are made ours; without it, a cell that imports it
gets a stand-in with the classes that are used most.
"""

import sys
import types

NAMES = ("IPython", "IPython.display", "IPython.core", "IPython.core.display")


def patch(displays, clear_output):
    """An action for the module of IPython that has the functions."""

    def act(module):
        replacements = {
            "display": displays.display,
            "update_display": displays.display,
            "publish_display_data": displays.publish,
            "clear_output": clear_output,
        }
        for name, function in replacements.items():
            if hasattr(module, name):
                setattr(module, name, function)

    return act


class StandIn:
    """A finder for the last place: only what nobody else has, and only for cells, because other packages ask for IPython to
    learn whether they are in a notebook."""

    def __init__(self, names, displays, clear_output):
        self._names = names
        self._functions = {
            "display": displays.display,
            "update_display": displays.display,
            "clear_output": clear_output,
        }

    def find_spec(self, name, _path=None, _target=None):
        if name not in NAMES or not self._is_asked_by_cell():
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.get_ipython = lambda: None
        module.version_info = (8, 24)
        for cls in (HTML, Markdown, Latex, SVG, JSON, Javascript, Image):
            setattr(module, cls.__name__, cls)
        for name, function in self._functions.items():
            setattr(module, name, function)
        return module

    def exec_module(self, module):
        pass

    def _is_asked_by_cell(self):
        frame = sys._getframe(2)
        while frame is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        return frame is not None and frame.f_globals is self._names


class Data:
    """Data of one MIME type, from a text, a file or a URL."""

    mime = "text/plain"
    mode = "r"

    def __init__(self, data=None, url=None, filename=None, **_options):
        if isinstance(data, str) and self.mode == "rb":
            data, filename = None, data
        if data is None and filename is not None:
            with open(filename, self.mode) as file:
                data = file.read()
        if data is None and url is not None:
            from urllib.request import urlopen

            data = urlopen(url, timeout=30).read()
        self.data = data

    def _repr_mimebundle_(self, **_options):
        return {self.mime: self.data}

    def __repr__(self):
        return "<%s object>" % type(self).__name__


class HTML(Data):
    mime = "text/html"


class Markdown(Data):
    mime = "text/markdown"


class Latex(Data):
    mime = "text/latex"


class SVG(Data):
    mime = "image/svg+xml"


class JSON(Data):
    mime = "application/json"


class Javascript(Data):
    mime = "application/javascript"


class Image(Data):
    mode = "rb"

    def _repr_mimebundle_(self, **_options):
        return {"image/jpeg" if bytes(self.data[:2]) == b"\xff\xd8" else "image/png": self.data}
