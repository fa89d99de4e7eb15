"""Detect objects in a folder of images, and draw them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmdet.registry import MODELS, VISUALIZERS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from pycocotools import mask as rle
from torch import nn
from tqdm import tqdm

from amt_mm.checkpoints.check_filled import check_filled
from amt_mm.checkpoints.safe_loading import load_as_data
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.datasets import ImageFolder, LoadImage
from amt_mm.errors import InputError
from amt_mm.messages import warn

# Of the visualizer, about masks that touch the edge.
warnings.filterwarnings('ignore', message='Warning: The polygon is out of bounds')
# What is written next to the pictures.
RESULTS = 'detections.json'


class Detected(NamedTuple):
    """What a run found.

    Attributes:
        images: Number of images.
        objects: Number of objects in them.
        left_out: Number of images that were not looked at.
    """

    images: int
    objects: int
    left_out: int


def detect(cfg: Config, checkpoint: Path, folder: Path, out: Path, threshold: float,
           device: str) -> Detected:
    """Detect objects in every image below a folder.

    ``out`` gets a picture of each image with its objects, under the image's path with ``.jpg``
    appended, and ``detections.json``: for each object ``image`` (path below the folder),
    ``category``, ``score``, ``bbox`` (x, y, width, height in pixels) and ``segmentation``
    (COCO's run-length encoding).

    Args:
        cfg: A detection config.
        checkpoint: A trained detector.
        folder: Of images, with subfolders or not; those that are unreadable or no photographs of 8
            bits are named in a warning and left out.
        out: Folder to write.
        threshold: Smallest score, 0 to 1.
        device: Where to compute.

    Raises:
        InputError: The checkpoint does not fill the model, or there is no image.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    images = ImageFolder(str(folder), split=None, with_label=False)
    model = load_detector(cfg, checkpoint).to(device)
    # The loader passes images that are loaded, so one that is drawn is one that was seen.
    pipeline = Compose([transform for transform in cfg.test_dataloader.dataset.pipeline
                        if transform['type'] != 'LoadAnnotations'])
    # Backends would want a folder of a run.
    visualizer = VISUALIZERS.build({**cfg.visualizer, 'vis_backends': None})
    visualizer.dataset_meta = {'classes': model.dataset_meta['classes'], 'palette': 'random'}
    load, objects, left_out = LoadImage(), [], 0
    for index in tqdm(range(len(images)), 'detecting', unit='image', disable=None):
        path = Path(images.get_data_info(index)['img_path'])
        try:
            image = load({'img_path': str(path)})['img']
        except InputError as error:
            # Unreadable, or no photograph of 8 bits: no reason to lose what was found.
            warn(f'left out: {error}')
            left_out += 1
            continue
        found = inference_detector(model, image, pipeline).cpu()
        name = path.relative_to(folder)
        picture = out / f'{name}.jpg'
        picture.unlink(missing_ok=True)  # a link, perhaps, which is not to be followed
        visualizer.add_datasample(
            name.name, np.ascontiguousarray(image[..., ::-1]), found, draw_gt=False,
            pred_score_thr=threshold, out_file=str(picture))
        objects.extend(_entries(str(name), found, threshold, model.dataset_meta['classes']))
    write_text(out / RESULTS, json.dumps(objects))
    return Detected(len(images) - left_out, len(objects), left_out)


def load_detector(cfg: Config, checkpoint: Path) -> nn.Module:
    """Build a detector and load all of its weights, as data.

    Args:
        cfg: A detection config.
        checkpoint: A trained detector.

    Returns:
        The model on the CPU, in evaluation mode, with ``cfg`` and ``dataset_meta``, which mmdet
        reads. Classes are those that the checkpoint was trained on, or else numbers from 0.

    Raises:
        InputError: The file is not a checkpoint, an entry of the model is missing in it, or it
            was trained on another number of classes.
    """
    model = MODELS.build(cfg.model)
    content = load_as_data(checkpoint, 'cpu')
    state = content.get('state_dict', content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f'{checkpoint}: is not a checkpoint')
    own = model.state_dict()
    fits = check_filled(checkpoint, own, state, '')
    if missing := [key for key in own if key not in fits]:
        raise InputError(f'{checkpoint}: lacks {len(missing)} entries of the detector such as '
                         f'{missing[0]}; give the config that it was trained with')
    model.load_state_dict(fits)
    count = model.roi_head.bbox_head
    count = (count[0] if isinstance(count, nn.ModuleList) else count).num_classes
    meta = content.get('meta') if 'state_dict' in content else None
    classes = ((meta or {}).get('dataset_meta') or {}).get('classes') or [
        str(label) for label in range(count)]
    if len(classes) != count:
        raise InputError(f'{checkpoint}: was trained on {len(classes)} classes, and the heads of '
                         f'the config have {count}')
    model.cfg, model.dataset_meta = cfg, {'classes': tuple(classes)}
    return model.eval()


def _entries(image: str, found: DetDataSample, threshold: float, classes: Sequence[str]
             ) -> Iterator[dict]:
    """Yield the entry of each object of an image."""
    instances = found.pred_instances
    for object_ in instances[instances.scores >= threshold]:
        x1, y1, x2, y2 = object_.bboxes[0].tolist()
        mask = rle.encode(np.asfortranarray(torch.as_tensor(object_.masks[0]).numpy(), np.uint8))
        yield dict(image=image, category=classes[int(object_.labels)],
                   score=round(float(object_.scores), 4), bbox=[x1, y1, x2 - x1, y2 - y1],
                   segmentation=dict(size=list(mask['size']), counts=mask['counts'].decode()))
