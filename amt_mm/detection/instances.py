"""Data sets of objects with masks, in the layouts of COCO and LVIS v1."""

from __future__ import annotations

import os.path
from collections import defaultdict
from collections.abc import Mapping

from mmdet.datasets import BaseDetDataset
from mmengine.logging import print_log

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .annotations import COCO_SOURCE, LVIS_SOURCE, flaw, read_annotations

_IDS_SHOWN = 5
_LVIS_FIELDS = (('images', 'image', ('neg_category_ids', 'not_exhaustive_category_ids')),
                ('categories', 'category', ('frequency',)))
_LVIS_FREQUENCIES = ('r', 'c', 'f')


@DATASETS.register_module()
class CocoInstances(BaseDetDataset):
    """Objects with masks in the layout of COCO, checked before anything is learnt.

    mmdet's own data set leaves out an object of an unknown category or without an area
    in silence, and gives labels in the order of the file whatever names the config has.
    Here:

    - The classes are those of the annotation file, in its order, so any file in this
      layout will do. Names in ``metainfo`` must be the same ones.
    - What refers to nothing (an unknown category or image) stops the run.
    - An object that cannot be learnt (no area, no mask, box thinner than a pixel or
      outside the image) is left out of training, counted and logged.
    - With ``filter_cfg=dict(filter_empty_gt=True)`` an image without an object is left
      out of training, counted and logged; without, it is learnt as background. Tests
      take all images.
    - Crowds are no objects. What lies in one is learnt as background, as in detectron2,
      while the assigners have ``ignore_iof_thr=-1``, as the configs here do; mmdet leaves
      it out of the losses above another value.

    ``metainfo`` has ``classes`` and ``image_counts``: of each class, the images in which
    it is.

    Args:
        args: See :class:`mmdet.datasets.BaseDetDataset`.
        kwargs: See there; ``ann_file``, ``data_root``, ``data_prefix=dict(img=...)``,
            ``filter_cfg`` with ``filter_empty_gt`` and ``min_size`` (pixels of the
            shorter side), ``pipeline``, ``test_mode``.

    Raises:
        InputError: The annotation file is missing, contradicts itself, has other classes
            than ``metainfo``, or leaves nothing to train on.
    """

    source = COCO_SOURCE

    def load_data_list(self) -> list[dict]:
        """Read the annotation file.

        Returns:
            Of each image ``img_path``, ``img_id``, ``height``, ``width`` and
            ``instances``, as mmdet has them.
        """
        content = self.read()
        self._set_classes(content['categories'])
        self._labels = {category['id']: label
                        for label, category in enumerate(content['categories'])}
        self._left_out = defaultdict(list)
        objects = defaultdict(list)
        for entry in content['annotations']:
            objects[entry['image_id']].append(entry)
        try:
            data = [self.parse_data_info({'image': image, 'objects': objects[image['id']]})
                    for image in content['images']]
        except KeyError as error:
            raise InputError(f'annotation file {self.ann_file}: an image lacks {error}') from error
        except InputError as error:
            raise InputError(f'annotation file {self.ann_file}: {error}') from error
        self._count_images(data)
        return data

    def read(self) -> dict:
        """Read and check the annotation file."""
        return read_annotations(self.ann_file, self.source)

    def _set_classes(self, categories: list[dict]) -> None:
        names = tuple(category['name'] for category in categories)
        given = self._metainfo.get('classes')
        if given is not None and tuple(given) != names:
            other = next((pair for pair in zip(given, names, strict=False) if pair[0] != pair[1]),
                         (f'{len(given)} names', f'{len(names)} names'))
            raise InputError(f'metainfo.classes of the config and annotation file {self.ann_file} '
                             f'differ: {other[0]} here, {other[1]} there; leave metainfo.classes '
                             'out, the file says the classes')
        self._metainfo['classes'] = names

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Bring one image into mmdet's form.

        Args:
            raw_data_info: ``image`` and its ``objects`` as in the file.

        Returns:
            See :meth:`load_data_list`.
        """
        image, instances = raw_data_info['image'], []
        for entry in raw_data_info['objects']:
            reason = flaw(entry, image['width'], image['height'])
            if reason:
                self._left_out[reason].append(entry['id'])
                continue
            x, y, w, h = entry['bbox']
            instances.append(dict(
                bbox=[x, y, x + w, y + h],
                bbox_label=self._labels[entry['category_id']],
                ignore_flag=int(bool(entry.get('iscrowd'))),
                mask=entry['segmentation']))
        return dict(
            img_path=os.path.join(self.data_prefix.get('img', self.data_root),
                                  self.file_name(image)),
            img_id=image['id'], seg_map_path=None,
            height=image['height'], width=image['width'], instances=instances)

    def file_name(self, image: Mapping) -> str:
        """Name of an image's file under ``data_prefix['img']``."""
        return image['file_name']

    def _count_images(self, data: list[dict]) -> None:
        counts = [0] * len(self._metainfo['classes'])
        for sample in data:
            for label in {instance['bbox_label'] for instance in sample['instances']}:
                counts[label] += 1
        self._metainfo['image_counts'] = counts

    def filter_data(self) -> list[dict]:
        """Leave images out of training, and say what was left out.

        Returns:
            The images to train on; for a test, all.
        """
        if self.test_mode:
            return self.data_list
        cfg = self.filter_cfg or {}
        large = [sample for sample in self.data_list
                 if min(sample['width'], sample['height']) >= cfg.get('min_size', 0)]
        kept = large
        if cfg.get('filter_empty_gt', False):
            kept = [sample for sample in large
                    if not all(instance['ignore_flag'] for instance in sample['instances'])]
        left_out = [f'{reason}: {_shown(ids)}' for reason, ids in self._left_out.items()]
        if len(large) < len(self.data_list):
            left_out.append(f'image smaller than {cfg["min_size"]} pixels: '
                            f'{len(self.data_list) - len(large)}')
        if len(kept) < len(large):
            left_out.append(f'image without an object: {len(large) - len(kept)}')
        text = '; '.join(left_out)
        print_log(f'{self.ann_file}: {len(kept)} images to train on, with '
                  f'{sum(len(sample["instances"]) for sample in kept)} objects of '
                  f'{len(self._metainfo["classes"])} classes'
                  + (f'; left out: {text}' if text else ''), 'current')
        if not kept:
            raise InputError(f'annotation file {self.ann_file} leaves no image to train on: '
                             f'{text or "it lists none"}')
        return kept


@DATASETS.register_module()
class LVISInstances(CocoInstances):
    """The same in the layout of LVIS v1, where an image's file is named by its ``coco_url``.

    LVIS takes its images from both parts of COCO 2017, so ``data_root`` has the folders
    ``train2017`` and ``val2017``. See :class:`CocoInstances`.

    Raises:
        InputError: As there, or a field is missing that LVIS's measure needs: evaluation
            would stop without it, after hours of training.
    """

    source = LVIS_SOURCE

    def read(self) -> dict:
        """Read and check the annotation file, with what LVIS adds to COCO's layout."""
        content = super().read()
        for section, noun, fields in _LVIS_FIELDS:
            for entry in content[section]:
                missing = [field for field in fields if entry.get(field) is None]
                if missing:
                    raise InputError(f'annotation file {self.ann_file}: {noun} {entry["id"]} has '
                                     f'no `{missing[0]}`, which the measure of LVIS needs; for '
                                     'a file in the layout of COCO take amt_mm.CocoInstances and '
                                     'amt_mm.CocoInstanceMetric')
        for category in content['categories']:
            if category['frequency'] not in _LVIS_FREQUENCIES:
                raise InputError(f'annotation file {self.ann_file}: category {category["id"]} has '
                                 f'`frequency` {category["frequency"]!r}, not one of '
                                 f'{", ".join(_LVIS_FREQUENCIES)} (rare, common, frequent)')
        return content

    def file_name(self, image: Mapping) -> str:
        """Folder and name, such as ``train2017/000000391895.jpg``."""
        return '/'.join(image['coco_url'].split('/')[-2:])


def _shown(ids: list[int]) -> str:
    more = ', ...' if len(ids) > _IDS_SHOWN else ''
    return f'{len(ids)} (id {", ".join(map(str, ids[:_IDS_SHOWN]))}{more})'
