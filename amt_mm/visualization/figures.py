"""Matplotlib figures in one style, written to files."""

from __future__ import annotations

from pathlib import Path

# A dependency of MMEngine.
import matplotlib as mpl
from matplotlib.figure import Figure

from amt_mm.checkpoints.safe_save import atomic_file

STYLE = {'font.size': 9, 'axes.titlesize': 10, 'axes.spines.top': False,
         'axes.spines.right': False, 'axes.axisbelow': True, 'svg.fonttype': 'none',
         # Makes the SVG reproducible.
         'svg.hashsalt': 'amt_mm'}


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as ``<path>.png`` and ``<path>.svg``.

    Args:
        figure: Drawn under :data:`STYLE`.
        path: Without suffix; missing folders are created.

    Returns:
        The SVG file.
    """
    files = [path.with_name(f'{path.name}.{kind}') for kind in ('png', 'svg')]
    for file in files:
        with mpl.rc_context(STYLE), atomic_file(file) as temporary:
            figure.savefig(temporary, format=file.suffix[1:], dpi=150, bbox_inches='tight',
                           # The date would make the SVG differ from run to run.
                           metadata={'Date': None} if file.suffix == '.svg' else None)
    return files[-1]
