"""What a run of a protocol keeps besides its metrics, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import Dataset

from amt_mm.checkpoints import read_pickle
from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.errors import InputError

from .dataset_features import dataset_labels
from .drawing import draw_evenly
from .kept_records import is_record

# Images that a page shows of each encoder.
_SHOWN = 6


def keep(runner: Runner, name: str, **content: object) -> None:
    """Write tensors, numbers and texts to ``kept/<name>.pth`` of the run's folder.

    Only one process may call it for a name.
    """
    with atomic_file(_file(Path(runner.work_dir), name)) as file:
        torch.save(content, file)


def keep_predictions(runner: Runner, metric: str, predictions: Tensor, labels: Tensor,
                     names: Sequence[str] | None) -> None:
    """Keep the classes that a classifier answered.

    Args:
        runner: Of the run.
        metric: Name of its accuracy, such as ``'knn/top1_k20'``.
        predictions: ``(n,)`` classes.
        labels: ``(n,)``, the true ones.
        names: Of the classes; None if they have none.
    """
    keep(runner, f'predictions_{metric.replace("/", "_")}', metric=metric,
         predictions=predictions.cpu(), labels=labels.cpu(), names=names and list(names))


def kept(folder: Path, name: str) -> dict | None:
    """Read what :func:`keep` wrote in the folder of a run; None if it wrote nothing.

    Raises:
        InputError: The file is damaged, or not what a run keeps under this name.
    """
    file = _file(folder, name)
    if not file.is_file():
        return None
    record = read_pickle(file, file)
    if not is_record(name, record):
        raise InputError(f'{file}: is not what a run keeps for its report; remove it, and the '
                         'report is made without it')
    return record


def kept_alike(folder: Path, prefix: str) -> dict[str, dict]:
    """Read all that a run kept under names with a prefix, by the rest of the name."""
    names = sorted(path.stem for path in _file(folder, '').parent.glob(f'{prefix}*.pth'))
    return {name.removeprefix(prefix): kept(folder, name) for name in names}


def shown_rows(dataset: Dataset) -> list[int]:
    """Choose images to show, spread over the classes, the same for all encoders."""
    labels = dataset_labels(dataset)
    even = torch.zeros(len(dataset), dtype=torch.long) if labels is None else labels
    return draw_evenly(even, _SHOWN, [0]).tolist()


def _file(folder: Path, name: str) -> Path:
    return folder / 'kept' / f'{name}.pth'
