"""Values as execd sends them to clients: texts by MIME type."""

import base64
import json
import sys
import traceback

MAX_TEXT = 1 << 20
MAX_DATA = 8 << 20

# Of two images of the same thing one is enough.
METHODS = (
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("text/latex", "_repr_latex_"),
    ("application/json", "_repr_json_"),
    ("application/javascript", "_repr_javascript_"),
)


def format_value(value):
    """All forms of a value. An error of its `__repr__` is the caller's; other forms that fail are left out, and said so."""
    # Only if someone has imported matplotlib can this be one of its figures.
    figure = getattr(sys.modules.get("matplotlib.figure"), "Figure", ())
    if isinstance(value, figure):
        from .figures import figure_data

        return figure_data(value)
    data = {}
    bundle = _call(value, "_repr_mimebundle_", include=None, exclude=None)
    if isinstance(bundle, tuple):
        bundle = bundle[0]
    if isinstance(bundle, dict):
        data.update(bundle)
    for mime, name in METHODS:
        if mime in data or (mime == "image/jpeg" and "image/png" in data):
            continue
        form = _call(value, name)
        if isinstance(form, tuple):
            form = form[0]
        if form is not None:
            data[mime] = form
    if "text/plain" not in data:
        data["text/plain"] = repr(value)
    return to_texts(data)


def to_texts(data):
    """The same by MIME type with every value a text, of bounded length all together."""
    texts = {}
    room = MAX_DATA
    for mime, value in data.items():
        if value is None:
            continue
        text = _to_text(value)
        if mime == "text/plain" and len(text) > MAX_TEXT:
            text = "%s… (%d characters more)" % (text[:MAX_TEXT], len(text) - MAX_TEXT)
        if len(text) > room:
            sys.stderr.write("A result of type %s was left out, as it has %d characters\n" % (mime, len(text)))
            continue
        room -= len(text)
        texts[str(mime)] = text
    return texts


def _to_text(value):
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (dict, list, int, float)):
        return json.dumps(value, default=str)
    return str(value)


def _call(value, name, **arguments):
    """What the method of that name gives, None without one. Looked up as Python looks up its own special methods, because
    there are objects that claim to have every attribute."""
    if isinstance(value, type):
        return None
    method = getattr(type(value), name, None)
    if method is None or not callable(method):
        return None
    try:
        return getattr(value, name)(**arguments)
    except NotImplementedError:
        return None
    except Exception:
        sys.stderr.write(traceback.format_exc())
        return None


class Displays:
    """`display()` and its relatives, which show values in the middle of a cell."""

    def __init__(self, channel):
        self._channel = channel
        # The cell that runs; a thread may show something later than its own.
        self.cell = 0

    def show(self, data):
        """Shows forms of a value, in order with what is printed."""
        texts = to_texts(data)
        if not texts:
            return
        if self._channel.send(op="result", cell=self.cell, data=texts):
            self._channel.sync()
        else:
            sys.stdout.write(texts.get("text/plain", "") + "\n")

    def display(self, *values, **options):
        """Shows values. `raw=True` takes them as forms by MIME type."""
        for value in values:
            self.show(value if options.get("raw") and isinstance(value, dict) else format_value(value))
        display_id = options.get("display_id")
        return DisplayHandle(self, display_id) if display_id else None

    def publish(self, data, *_metadata, **_options):
        """Shows forms by MIME type, as IPython's `publish_display_data` does."""
        self.show(data)


class DisplayHandle:
    """What was shown cannot be taken back, so an update is shown as well."""

    def __init__(self, displays, display_id):
        self.display_id = display_id
        self._displays = displays

    def display(self, value, **options):
        self._displays.display(value, **options)

    update = display


def clear_output(*_options, **_more):
    """What was shown cannot be taken back."""
