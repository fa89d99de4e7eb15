"""Instance segmentation data sets in COCO and LVIS v1 format."""

from __future__ import annotations

import os.path
from collections import defaultdict
from collections.abc import Mapping

from mmdet.datasets import BaseDetDataset
from mmengine.logging import print_log

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .annotation_faults import format_ids
from .annotations import COCO_SOURCE, LVIS_SOURCE, Annotations, read_annotations
from .image_sizes import check_image_sizes


@DATASETS.register_module()
class CocoInstances(BaseDetDataset):
    """Objects with masks in COCO format, checked before training.

    mmdet's own data set silently drops objects of unknown categories or without area, and
    numbers labels in the order of the file whatever names the config gives. Here:

    - Classes are those of the annotation file, in its order, so any file in this format
      works. Names in ``metainfo`` must be identical.
    - Values of a wrong type or range and references to unknown categories or images stop the run,
      as do images of another size than the annotation's.
    - Unusable objects (no area, no pixel in the mask, box thinner than one pixel or outside the
      image) are left out of training, counted and logged.
    - With ``filter_cfg=dict(filter_empty_gt=True)`` images without objects are left out of
      training, counted and logged; otherwise they are trained on as background. Tests use all
      images.
    - Crowds are not objects. What lies in one is trained on as background, as in detectron2, if
      the assigners have ``ignore_iof_thr=-1``, as in the configs here; with another value
      mmdet leaves what exceeds it out of the losses.

    ``metainfo`` has ``classes`` and ``image_counts``, the number of images with each class.

    Args:
        args: See :class:`mmdet.datasets.BaseDetDataset`.
        kwargs: See there; ``ann_file``, ``data_root``, ``data_prefix=dict(img=...)``,
            ``filter_cfg`` with ``filter_empty_gt`` and ``min_size`` (of the shorter side, in
            pixels), ``pipeline``, ``test_mode``.

    Raises:
        InputError: The annotation file is missing or faulty, does not fit the images, has other
            classes than ``metainfo``, or leaves nothing to train on.
    """

    source = COCO_SOURCE

    def load_data_list(self) -> list[dict]:
        """Read the annotation file.

        Returns:
            Per image ``img_path``, ``img_id``, ``height``, ``width`` and ``instances``, in mmdet's
            form.
        """
        content, self._flaws = self.read()
        self._set_classes(content['categories'])
        self._labels = {category['id']: label
                        for label, category in enumerate(content['categories'])}
        self._left_out = defaultdict(list)
        objects = defaultdict(list)
        for entry in content['annotations']:
            objects[entry['image_id']].append(entry)
        data = [self.parse_data_info({'image': image, 'objects': objects[image['id']]})
                for image in content['images']]
        check_image_sizes(self.ann_file, data)
        counts = self._metainfo['image_counts'] = [0] * len(self._metainfo['classes'])
        for sample in data:
            for label in {instance['bbox_label'] for instance in sample['instances']}:
                counts[label] += 1
        return data

    def read(self) -> Annotations:
        """Read and check the annotation file."""
        return read_annotations(self.ann_file, self.source)

    def _set_classes(self, categories: list[dict]) -> None:
        names = tuple(category['name'] for category in categories)
        given = self._metainfo.get('classes')
        if given is not None and tuple(given) != names:
            other = next((pair for pair in zip(given, names, strict=False) if pair[0] != pair[1]),
                         (f'{len(given)} names', f'{len(names)} names'))
            raise InputError(f'metainfo.classes has {other[0]}, but annotation file '
                             f'{self.ann_file} has {other[1]}: remove metainfo.classes, the file '
                             'defines the classes')
        self._metainfo['classes'] = names

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Convert ``image`` and its ``objects`` from the file to mmdet's form."""
        image, instances = raw_data_info['image'], []
        for entry in raw_data_info['objects']:
            if reason := self._flaws.get(entry['id']):
                self._left_out[reason].append(entry['id'])
                continue
            x, y, w, h = entry['bbox']
            instances.append(dict(
                bbox=[x, y, x + w, y + h],
                bbox_label=self._labels[entry['category_id']],
                ignore_flag=int(bool(entry.get('iscrowd'))),
                mask=entry['segmentation']))
        return dict(
            img_path=self._path(image),
            img_id=image['id'], seg_map_path=None,
            height=image['height'], width=image['width'], instances=instances)

    def _path(self, image: Mapping) -> str:
        folder, name = self.data_prefix.get('img', self.data_root), self.file_name(image)
        # Without a folder, names are whole paths.
        if folder and (os.path.isabs(name) or '..' in name.split('/')):
            raise InputError(f'annotation file {self.ann_file}: image {image["id"]}: its file '
                             f'{name!r} is not in {folder}; write names relative to the folder, or '
                             'leave out data_root and data_prefix')
        return os.path.join(folder, name)

    def file_name(self, image: Mapping) -> str:
        """Return the file name of an image under ``data_prefix['img']``."""
        return image['file_name']

    def filter_data(self) -> list[dict]:
        """Return the images to train on, and log what is left out; for a test, all images."""
        if self.test_mode:
            return self.data_list
        cfg = self.filter_cfg or {}
        large = [sample for sample in self.data_list
                 if min(sample['width'], sample['height']) >= cfg.get('min_size', 0)]
        kept = large
        if cfg.get('filter_empty_gt', False):
            kept = [sample for sample in large
                    if not all(instance['ignore_flag'] for instance in sample['instances'])]
        left_out = [f'{reason}: {format_ids(ids)}' for reason, ids in self._left_out.items()]
        if len(large) < len(self.data_list):
            left_out.append(f'image smaller than {cfg["min_size"]} pixels: '
                            f'{len(self.data_list) - len(large)}')
        if len(kept) < len(large):
            left_out.append(f'image without objects: {len(large) - len(kept)}')
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
    """Objects with masks in LVIS v1 format; ``coco_url`` names the files.

    LVIS uses images of both parts of COCO 2017, so ``data_root`` has the folders ``train2017``
    and ``val2017``. See :class:`CocoInstances`.

    Raises:
        InputError: As there, or a field that the LVIS metric needs is missing or refers to an
            unknown category: evaluation would fail, after hours of training.
    """

    source = LVIS_SOURCE

    def read(self) -> Annotations:
        """Read and check the annotation file, with the fields that LVIS adds."""
        return read_annotations(self.ann_file, self.source, lvis=True)

    def file_name(self, image: Mapping) -> str:
        """Return folder and name, such as ``train2017/000000391895.jpg``."""
        return '/'.join(image['coco_url'].split('/')[-2:])

