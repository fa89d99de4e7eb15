"""A self-contained HTML page that shows the results of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from .curves import CurvePlot, curves_section
from .page import (
    Picture,
    colour_scale,
    details_section,
    document,
    figure,
    legend,
    render_within,
    state_samples,
)
from .results_section import results_section

METHOD = (
    'A masked autoencoder learns visual features without labels: it masks most patches of an '
    'image and learns to reconstruct them from the few that stay visible. Patches are usually '
    'masked at random.',
    'AMT (attention-driven masking and throwing, AAAI 2023) is guided by the model itself. Every '
    'few epochs it computes an attention map of each whole image. Patches with high attention '
    'tend to be masked and must be predicted, patches with medium attention are thrown away, which '
    'saves time, and patches with low attention mostly stay visible. Patches are sampled with '
    'these probabilities, so the mask plan of an image differs each time.',
    'In the reconstructions below, a predicted patch has the true mean and contrast of the patch: '
    'MAE predicts patches without them. So colours are right from the first step on; look at the '
    'structure.')
# With more columns the tokens become too small to see.
_MAX_COLUMNS = 9


@dataclass(frozen=True)
class GalleryRow:
    """The pictures of one image; None where a picture does not exist.

    Attributes:
        name: Of the image.
        image: (H, W, 3) uint8 RGB, as all the others.
        saliency: One picture per refresh, in order.
        plan: From :func:`amt_mm.visualization.plan_picture`.
        reconstruction: From :func:`amt_mm.visualization.paste_reconstruction`.
    """

    name: str
    image: np.ndarray | None
    saliency: Sequence[Picture] = ()
    plan: np.ndarray | None = None
    reconstruction: np.ndarray | None = None


@dataclass(frozen=True)
class Report:
    """The content of the page.

    Attributes:
        title: Heading of the page.
        rows: Results, one mapping per model, as :func:`amt_mm.visualization.table_cells`.
        columns: Heading of each column, in order.
        formats: Number format of columns.
        notes: Sentences under the table on what the results do and do not show.
        verdict: Sentences above the table: what the results show, in one line each.
        plots: Curves, such as the loss.
        gallery: One row per image.
        details: What is needed to reproduce the run: command, duration, versions. Multi-line
            values, such as the config, are collapsed.
        explanation: Paragraphs under the results. Defaults to an outline of the method.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    columns: Mapping[str, str]
    formats: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    verdict: Sequence[str] = ()
    plots: Sequence[CurvePlot] = ()
    gallery: Sequence[GalleryRow] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    explanation: Sequence[str] = METHOD


def render(report: Report, max_bytes: int = 2_000_000) -> str:
    """Render the page as HTML that loads no other resource.

    Pictures are JPEG, at the highest of five qualities that keeps the page within the limit.

    Args:
        report: The content; all text is escaped, terminal control characters too.
        max_bytes: Upper limit of the page in UTF-8. Defaults to 2 MB, suitable for mail and
            phones.

    Raises:
        InputError: The page exceeds the limit even at the lowest quality.
    """
    return render_within(lambda quality: _page(report, quality), max_bytes)


def _page(report: Report, quality: int) -> str:
    sections = [results_section(report.rows, report.columns, report.formats, report.notes,
                                report.verdict)]
    if report.plots:
        sections.append(curves_section(report.plots))
    if report.gallery:
        rows = ''.join(_gallery_row(row, quality) for row in report.gallery)
        sections.append('<section><h2>What the model attends to, and what it must predict</h2>'
                        f'{_legend(report.gallery)}{rows}</section>')
    if report.details:
        sections.append(details_section(report.details))
    if report.explanation:
        explanation = ''.join(f'<p>{escape(text)}</p>' for text in report.explanation)
        sections.insert(1, f'<section><h2>The methods</h2>{explanation}</section>')
    return document(report.title, (), sections)


def _gallery_row(row: GalleryRow, quality: int) -> str:
    def figures(*pictures: Picture) -> str:
        return ''.join(figure(row.name, picture, quality) for picture in pictures)

    refreshes = ''
    if row.saliency:
        # Grouped, so that a phone shows them in a row of their own.
        refreshes = f'<div class="refreshes">{figures(*row.saliency)}</div>'
    height, width = (1, 1) if row.image is None else row.image.shape[:2]
    ratio = f'{width}/{height}'
    columns = min(len(row.saliency) + 3, _MAX_COLUMNS)
    return (f'<article><h3>{escape(row.name)}</h3><div class="strip" '
            f'style="--columns:{columns};--ratio:{ratio}">'
            + figures(Picture('image', row.image))
            + refreshes
            + figures(Picture('plan', row.plan), Picture('reconstruction', row.reconstruction))
            + '</div></article>')


def _legend(gallery: Sequence[GalleryRow]) -> str:
    """Return samples of the three token states and the colour scale of attention."""
    patch = next((row.image for row in gallery if row.image is not None), None)
    return legend(state_samples(patch),
                  colour_scale('attention', 'low to high, in each image'))
