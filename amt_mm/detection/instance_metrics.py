"""Box and mask AP of COCO and LVIS."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric, LVISMetric
from mmengine.logging import MMLogger
from pycocotools import mask as rle

from amt_mm.registry import METRICS

from .annotation_faults import format_ids
from .annotations import COCO_SOURCE, LVIS_SOURCE, read_annotations
from .lvis_eval import LVISEval, LVISResults, LVISTruth

_COCO_NAMES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
_LVIS_NAMES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')


@METRICS.register_module()
class CocoInstanceMetric(CocoMetric):
    """COCO AP of boxes and masks by pycocotools, through mmdet.

    Reports ``bbox_mAP``, ``bbox_mAP_50``, ``bbox_mAP_75``, small, medium and large as ``_s``,
    ``_m``, ``_l``, and the same for ``segm``, in [0, 1]; -1 if no object has that size. Without
    any detection all are 0, where mmdet reports nothing.

    Args:
        ann_file: Annotation file in COCO format.
        metric: ``bbox``, ``segm`` or both.
        kwargs: See :class:`mmdet.evaluation.CocoMetric`.

    Raises:
        InputError: The annotation file does not exist or is faulty.
    """

    def __init__(self, ann_file: str, metric: Sequence[str] = ('bbox', 'segm'), **kwargs) -> None:
        super().__init__(ann_file=None, metric=list(metric), **kwargs)
        truth = COCO()
        truth.dataset = _measured(ann_file, COCO_SOURCE)
        truth.createIndex()
        # mmdet's other names, of what createIndex replaces.
        truth.img_ann_map, truth.cat_img_map = truth.imgToAnns, truth.catToImgs
        self._coco_api = truth

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluate the predictions of all images."""
        return (_zeros_if_empty(results, self.metrics, _COCO_NAMES)
                or super().compute_metrics(results))


@METRICS.register_module()
class LVISInstanceMetric(LVISMetric):
    """LVIS AP of boxes and masks by the lvis package, on current numpy.

    Reports ``bbox_AP``, ``bbox_AP50``, ``bbox_AP75``, small, medium and large as ``APs``,
    ``APm``, ``APl``, rare, common and frequent classes as ``APr``, ``APc``, ``APf``, and the
    same for ``segm``, in [0, 1]; -1 if no class or object is of that kind. At most 300
    detections per image count, and of each class only those in images that are annotated for it.

    mmdet's metric fails on current numpy, and uses the area of the box in place of the mask's in
    ``segm_APs``, ``APm`` and ``APl``; this one uses the mask's, as COCO does.

    Args:
        ann_file: Annotation file in LVIS v1 format.
        metric: ``bbox``, ``segm`` or both.
        kwargs: See :class:`mmdet.evaluation.LVISMetric`.

    Raises:
        InputError: The annotation file does not exist or is faulty.
    """

    def __init__(self, ann_file: str, metric: Sequence[str] = ('bbox', 'segm'), **kwargs) -> None:
        super().__init__(ann_file=None, metric=list(metric), **kwargs)
        self._lvis_api = LVISTruth(_measured(ann_file, LVIS_SOURCE, lvis=True))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluate the predictions of all images."""
        if scores := _zeros_if_empty(results, self.metrics, _LVIS_NAMES):
            return scores
        self.cat_ids = self._lvis_api.get_cat_ids()
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


def _measured(ann_file: str, source: str, lvis: bool = False) -> dict:
    """Read what predictions are compared with: all objects that have a mask."""
    content = read_annotations(ann_file, source, lvis).content
    entries = content['annotations']
    content['annotations'] = [entry for entry in entries if entry['segmentation']]
    if len(content['annotations']) < len(entries):
        MMLogger.get_current_instance().warning(
            f'annotation file {ann_file}: objects without a mask are not measured: '
            + format_ids([entry['id'] for entry in entries if not entry['segmentation']]))
    for entry in content['annotations']:
        # Optional in the file, but not in pycocotools.
        entry['iscrowd'] = entry.get('iscrowd') or 0
    return content


def _zeros_if_empty(results: list, metrics: Sequence[str], names: Sequence[str]
                    ) -> dict[str, float]:
    if any(len(prediction['labels']) for _, prediction in results):
        return {}
    MMLogger.get_current_instance().warning(
        f'no detections in any of {len(results)} images: all AP are 0')
    return {f'{metric}_{name}': 0.0 for metric in metrics for name in names}
