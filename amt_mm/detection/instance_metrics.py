"""Box and mask AP as COCO and LVIS define them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmdet.evaluation import CocoMetric, LVISMetric
from mmengine.logging import MMLogger
from pycocotools import mask as rle

from amt_mm.registry import METRICS

from .annotations import COCO_SOURCE, LVIS_SOURCE, require_annotations
from .lvis_eval import LVISEval, LVISResults

_COCO_NAMES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
_LVIS_NAMES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')


@METRICS.register_module()
class CocoInstanceMetric(CocoMetric):
    """COCO's AP of boxes and masks by pycocotools, through mmdet.

    Gives ``bbox_mAP``, ``bbox_mAP_50``, ``bbox_mAP_75``, small, medium and large as
    ``_s``, ``_m``, ``_l``, and the same for ``segm``, from 0 to 1; -1 where there is no
    object of that size. mmdet gives no figures at all when a model finds nothing; here
    they are 0.

    Args:
        ann_file: Annotation file in the layout of COCO.
        metric: What to measure, ``bbox`` and ``segm``.
        kwargs: See :class:`mmdet.evaluation.CocoMetric`.

    Raises:
        InputError: There is no such annotation file.
    """

    def __init__(self, ann_file: str, metric: Sequence[str] = ('bbox', 'segm'), **kwargs) -> None:
        require_annotations(ann_file, COCO_SOURCE)
        super().__init__(ann_file=ann_file, metric=list(metric), **kwargs)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluate the predictions of all images."""
        if _nothing_found(results):
            return _zeros(self.metrics, _COCO_NAMES)
        return super().compute_metrics(results)


@METRICS.register_module()
class LVISInstanceMetric(LVISMetric):
    """LVIS's AP of boxes and masks by the lvis package, on numpy of today.

    Gives ``bbox_AP``, ``bbox_AP50``, ``bbox_AP75``, small, medium and large as ``APs``,
    ``APm``, ``APl``, rare, common and frequent classes as ``APr``, ``APc``, ``APf``, and
    the same for ``segm``, from 0 to 1; -1 where no class or object is of that kind. At
    most 300 detections an image count, and of a class only those in images of which the
    annotators say whether it is there.

    mmdet's metric stops on current numpy, and takes the area of the box for that of the
    mask in ``segm_APs``, ``APm`` and ``APl``; here it is the mask's, as in COCO's.

    Args:
        ann_file: Annotation file in the layout of LVIS v1.
        metric: What to measure, ``bbox`` and ``segm``.
        kwargs: See :class:`mmdet.evaluation.LVISMetric`.

    Raises:
        InputError: There is no such annotation file.
    """

    def __init__(self, ann_file: str, metric: Sequence[str] = ('bbox', 'segm'), **kwargs) -> None:
        require_annotations(ann_file, LVIS_SOURCE)
        super().__init__(ann_file=ann_file, metric=list(metric), **kwargs)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluate the predictions of all images."""
        if _nothing_found(results):
            return _zeros(self.metrics, _LVIS_NAMES)
        self.cat_ids = self._lvis_api.get_cat_ids()
        scores = {}
        with tempfile.TemporaryDirectory() as folder:
            files = self.results2json([prediction for _, prediction in results],
                                      self.outfile_prefix or str(Path(folder, 'results')))
            for metric in self.metrics:
                detections = LVISResults(self._lvis_api, files[metric])
                if metric == 'segm':
                    for entry in detections.anns.values():
                        entry['area'] = rle.area(entry['segmentation'])
                evaluation = LVISEval(self._lvis_api, detections, metric)
                evaluation.run()
                scores.update({f'{metric}_{name}': float(evaluation.results[name])
                               for name in _LVIS_NAMES})
        return scores


def _nothing_found(results: list) -> bool:
    nothing = not any(len(prediction['labels']) for _, prediction in results)
    if nothing:
        MMLogger.get_current_instance().warning(
            f'nothing was found in any of {len(results)} images: all AP are 0')
    return nothing


def _zeros(metrics: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    return {f'{metric}_{name}': 0.0 for metric in metrics for name in names}
