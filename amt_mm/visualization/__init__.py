"""Pictures, tables and the HTML report. Needs numpy, torch and Pillow only."""

from .colours import apply_colours
from .curves import Curve, CurvePlot
from .page import Picture
from .pictures import denormalise, paste_reconstruction, plan_picture, saliency_overlay, upscale
from .report import GalleryRow, Report, render
from .tables import markdown_table, table_cells, write_table

__all__ = [
    'Curve', 'CurvePlot', 'GalleryRow', 'Picture', 'Report', 'apply_colours', 'denormalise',
    'markdown_table', 'paste_reconstruction', 'plan_picture', 'render', 'saliency_overlay',
    'table_cells', 'upscale', 'write_table'
]
