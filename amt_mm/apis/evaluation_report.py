"""The page of an evaluation: its table, curves, confused classes, neighbours, maps, components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset, default_collate
from mmpretrain.registry import DATASETS, MODELS
from torch import Tensor

import amt_mm
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.errors import InputError
from amt_mm.evaluation.kept import kept, kept_alike
from amt_mm.evaluation.rows import table_rows
from amt_mm.protocols import PROTOCOLS
from amt_mm.visualization.components_section import components_row, components_section
from amt_mm.visualization.confusions_section import Answers, confusions_section
from amt_mm.visualization.curves import curves_section
from amt_mm.visualization.neighbours_section import neighbour_row
from amt_mm.visualization.page import details_section, document, render_within
from amt_mm.visualization.queries_section import queries_section, query_rows
from amt_mm.visualization.results_section import results_section
from amt_mm.visualization.sections import Row, Section
from amt_mm.visualization.shown import ShownImages

from .evaluation_curves import curve_plots

_MAX_BYTES = 10_000_000
# Images whose neighbours and maps are shown: each takes a row for each encoder.
_ROWS = 3
_NEIGHBOURS = 'Nearest neighbours among the training images'


def write_report(page: Path, results: Sequence[Mapping]) -> Path:
    """Write one HTML page that loads nothing from elsewhere.

    What no run kept is left out, with a sentence that tells how to get it.

    Args:
        page: Where to.
        results: Of each run ``pretraining``, ``data``, ``protocol``, ``seed``, ``checkpoint``,
            ``metrics``, ``folder``, ``config`` (resolved), and ``paper``, as for
            :func:`~amt_mm.evaluation.rows.table_rows`.

    Returns:
        The page.

    Raises:
        InputError: The page would be larger than 10 MB, an image is gone, or what a run kept is
            damaged.
    """
    first = _first_of_each(results)
    text = [results_section(*table_rows(results), notes=_notes(results)), _curves(results),
            _confusions(first)]
    images = _Images()
    pictures = [_neighbours(first, images), _queries(first, images), _components(first, images)]
    details = details_section(_details(results))
    write_text(page, render_within(lambda quality: document(
        'Evaluation of encoders', (),
        [*text, *(section.html(quality) for section in pictures), details]), _MAX_BYTES))
    return page


class _Images:
    """Loads images as the encoders saw them; a data set is built, and its files listed, once."""

    def __init__(self) -> None:
        self._built: dict[str, BaseDataset] = {}

    def __call__(self, cfg: Config, dataset: ConfigDict, rows: Sequence[int],
                 grid: Sequence[int] | None = None) -> ShownImages:
        key = str(dataset)
        if key not in self._built:
            self._built[key] = DATASETS.build(dataset)
        images = self._built[key]
        if max(rows) >= len(images):
            raise InputError(f'the run showed image {max(rows)} of {dataset.get("data_root", key)},'
                             f' which has {len(images)} images now: evaluate again, in another '
                             '--out')
        preprocessor = MODELS.build(cfg.data_preprocessor)
        inputs: Tensor = preprocessor(default_collate([images[row] for row in rows]))['inputs']
        paths = [images.get_data_info(row).get('img_path', f'image {row}') for row in rows]
        side = cfg.model.backbone.patch_size
        # With the folder, which tells a class: classes often number their images alike.
        names = ['/'.join(Path(path).parts[-2:]) for path in paths]
        return ShownImages(inputs, names, preprocessor,
                           tuple(grid or (inputs.shape[2] // side, inputs.shape[3] // side)))


def _first_of_each(results: Sequence[Mapping]) -> dict[str, list[Mapping]]:
    """Return, by name of encoder and data, the first run of each protocol."""
    several = len({result['data'] for result in results}) > 1
    found: dict[str, dict[str, Mapping]] = {}
    for result in results:
        name = result['pretraining'] + f' on {result["data"]}' * several
        found.setdefault(name, {}).setdefault(result['protocol'], result)
    return {name: list(runs.values()) for name, runs in found.items()}


def _notes(results: Sequence[Mapping]) -> list[str]:
    runs = {(result['pretraining'], result['data'], result['protocol']) for result in results}
    notes = ['Behind ± is the standard deviation over runs (of one low-shot run: over its draws).']
    if len(runs) == len(results):
        notes.append('Each figure is of one run: --seeds 0 1 2 or several checkpoints of one name '
                     'tell how much it varies.')
    return notes


def _curves(results: Sequence[Mapping]) -> str:
    plots = curve_plots(results)
    return curves_section(plots) if plots else _left_out(
        'curves', 'Curves', 'epochs, learning rates or painted patches',
        'linear attentive robustness').html(0)


def _confusions(encoders: Mapping[str, Sequence[Mapping]]) -> str:
    classifiers = {}
    for name, runs in encoders.items():
        for run in runs:
            for found in kept_alike(run['folder'], 'predictions_').values():
                heading = PROTOCOLS[run['protocol']].columns.get(found['metric'], found['metric'])
                classifiers[f'{name}: {heading}'] = Answers(
                    found['predictions'], found['labels'], found['names'])
    return confusions_section(classifiers) if classifiers else _left_out(
        'confusions', 'Most confused classes', 'answers of a classifier', 'knn').html(0)


def _neighbours(encoders: Mapping[str, Sequence[Mapping]], images: _Images) -> Section:
    rows: list[list[Row]] = []
    text = []
    for name, runs in encoders.items():
        for run, found in _kept_of(runs, 'neighbours'):
            rows.append(_neighbour_rows(name, run['config'], found, images))
            pairs = list(zip(found['labels'], found['found_labels'], strict=True))[:_ROWS]
            hits = [label == other for label, others in pairs for other in others]
            shares = found['shares'][:_ROWS]
            chance = sum(shares) / len(shares) * len(hits)
            text.append(f'{name}: {sum(hits)} of {len(hits)} neighbours have the class of their '
                        f'image, where {chance:.1f} would at random.')
    if not rows:
        return _left_out('neighbours', _NEIGHBOURS, 'nearest neighbours', 'knn')
    return Section('neighbours', _NEIGHBOURS, [
        'The training images that are most similar to a test image by the cosine of the features '
        'of k-NN, nearest first.', *text], _by_image(rows))


def _neighbour_rows(name: str, cfg: Config, found: Mapping, images: _Images) -> list[Row]:
    shown = images(cfg, cfg.test_dataloader.dataset, found['rows'][:_ROWS])
    others = images(cfg, cfg.test_cfg.train_dataloader.dataset,
                     [row for rows in found['found'][:_ROWS] for row in rows]).images
    rows = []
    for i, (image, image_name) in enumerate(zip(shown.images, shown.names, strict=True)):
        kinds = [found['names'] and found['names'][label] for label in found['found_labels'][i]]
        pictures, others = others[:len(kinds)], others[len(kinds):]
        rows.append(neighbour_row(f'{image_name}, {name}', image, list(zip(
            pictures, kinds, found['cosines'][i], strict=True))))
    return rows


def _queries(encoders: Mapping[str, Sequence[Mapping]], images: _Images) -> Section:
    rows = []
    for name, runs in encoders.items():
        for run in runs:
            for kind, found in kept_alike(run['folder'], 'queries_').items():
                cfg = run['config']
                shown = images(cfg, cfg.test_dataloader.dataset, found['rows'][:_ROWS],
                                found['grid'])
                rows.append(query_rows(f'{name}, {kind.upper()}', shown, found['maps'][:_ROWS]))
    return queries_section(_by_image(rows)) if rows else _left_out(
        'queries', 'Where attentive probes look', 'maps of queries', 'attentive')


def _components(encoders: Mapping[str, Sequence[Mapping]], images: _Images) -> Section:
    rows = []
    for name, runs in encoders.items():
        for run, found in _kept_of(runs, 'tokens')[:1]:
            cfg = run['config']
            shown = images(cfg, cfg.test_dataloader.dataset, found['rows'], found['grid'])
            rows.append(components_row(shown, found['tokens'], name))
    return components_section(rows) if rows else _left_out(
        'components', 'What the encoder finds alike', 'patch features', 'knn')


def _kept_of(runs: Sequence[Mapping], what: str) -> list[tuple[Mapping, Mapping]]:
    return [(run, found) for run in runs if (found := kept(run['folder'], what)) is not None]


def _by_image(encoders: Sequence[Sequence[Row]]) -> list[Row]:
    """Put the rows of one image under each other, those of the first encoder first."""
    return [rows[i] for i in range(_ROWS) for rows in encoders if i < len(rows)]


def _left_out(key: str, title: str, what: str, protocols: str) -> Section:
    return Section(key, title, [f'No run here has {what}: run --protocols {protocols}, in another '
                                '--out if an older version has finished it.'])


def _details(results: Sequence[Mapping]) -> dict[str, str]:
    checkpoints = dict.fromkeys(f'{result["pretraining"]}: {result["checkpoint"]}'
                                for result in results)
    return {'checkpoints': '\n'.join(checkpoints) + '\n',
            'runs': '\n'.join(str(result['folder']) for result in results) + '\n',
            'versions': f'amt_mm {amt_mm.__version__}, torch {torch.__version__}'}
