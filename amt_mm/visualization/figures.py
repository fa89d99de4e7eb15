"""Matplotlib figures in one style, as files."""

from __future__ import annotations

from pathlib import Path

# MMEngine brings it.
import matplotlib as mpl
from matplotlib.figure import Figure

from amt_mm.checkpoints.safe_save import atomic_file

STYLE = {'font.size': 9, 'axes.titlesize': 10, 'axes.spines.top': False,
         'axes.spines.right': False, 'axes.axisbelow': True, 'svg.fonttype': 'none',
         # Else each picture of the same numbers is another file.
         'svg.hashsalt': 'amt_mm'}


def save_figure(figure: Figure, path: Path) -> Path:
    """Write ``path`` with .png and with .svg behind it.

    Args:
        figure: Drawn under :data:`STYLE`.
        path: Without an ending; folders are made.

    Returns:
        The SVG file.
    """
    files = [path.with_name(f'{path.name}.{kind}') for kind in ('png', 'svg')]
    for file in files:
        with mpl.rc_context(STYLE), atomic_file(file) as temporary:
            figure.savefig(temporary, format=file.suffix[1:], dpi=150, bbox_inches='tight',
                           # Without the date, the same numbers give the same file.
                           metadata={'Date': None} if file.suffix == '.svg' else None)
    return files[-1]
