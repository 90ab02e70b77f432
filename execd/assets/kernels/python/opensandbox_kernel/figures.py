"""The matplotlib backend: figures are results of the cell that made them, by `plt.show()` or at its end, and then closed."""

import io
import sys

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase, _Backend
from matplotlib.backends.backend_agg import FigureCanvasAgg

# Shows forms by MIME type; the kernel sets it.
show_data = None
# Figures that the cell has shown.
_shown = set()


def figure_data(figure):
    image = io.BytesIO()
    canvas = figure.canvas
    if not hasattr(canvas, "print_png"):
        canvas = FigureCanvasAgg(figure)
    # What `savefig(bbox_inches="tight")` writes; the margins of a figure say nothing.
    canvas.print_figure(image, format="png", bbox_inches="tight", facecolor=figure.get_facecolor())
    _shown.add(figure)
    return {"image/png": image.getvalue(), "text/plain": repr(figure)}


def show_all():
    """Shows every figure that pyplot has open and has not been shown yet, and closes them all."""
    try:
        for manager in Gcf.get_all_fig_managers():
            figure = manager.canvas.figure
            if figure not in _shown and (figure.get_axes() or figure.texts or figure.images):
                show_data(figure_data(figure))
    finally:
        _shown.clear()
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None and Gcf.figs:
            pyplot.close("all")


class FigureCanvas(FigureCanvasAgg):
    pass


class FigureManager(FigureManagerBase):
    def show(self):
        figure = self.canvas.figure
        if figure not in _shown:
            show_data(figure_data(figure))


FigureCanvas.manager_class = FigureManager

@_Backend.export
class _BackendOfKernel(_Backend):
    FigureCanvas = FigureCanvas
    FigureManager = FigureManager

    @staticmethod
    def show(*_arguments, **_options):
        show_all()
