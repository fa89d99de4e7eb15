"""The protocols that evaluate a pre-trained encoder.

This file imports nothing heavy: command lines offer the names before they import the stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Protocol:
    """How an encoder is evaluated on labelled training and test images.

    A config belongs to a protocol by its setting ``protocol``, which it inherits from
    ``configs/_base_/protocols``.

    Attributes:
        configs: Pattern of its configs in ``configs/benchmarks``; ``{data}`` is the data set.
            A public data set without a file of its own takes that of ``folder``.
        columns: Metrics that the table of results shows -> their headings, in per cent.
        trains: ``'head'``, ``'all'`` or, for protocols that measure frozen features, None. Only
            protocols that train run once per seed.
        loop: Module that registers its test loop. Defaults to None: MMEngine's loop.
        paper: Index of its figure in a cell of the paper's Table 1, None if there is none.
        numbers: Metrics that are not percentages -> their headings, after the columns.
        host_configs: Host -> pattern of the configs with a schedule of that host's own.
        labels: ``'classes'``, one of each image, ``'masks'``, one of each pixel,
            ``'relevance'``, classes or the lists of revisited Oxford and Paris,
            ``'backgrounds'``, those of ImageNet-9, or ``'videos'``, masks of the frames of videos.
    """

    configs: str
    columns: Mapping[str, str]
    trains: str | None = None
    loop: str | None = None
    paper: int | None = None
    numbers: Mapping[str, str] = field(default_factory=dict)
    host_configs: Mapping[str, str] = field(default_factory=dict)
    labels: str = 'classes'


PROTOCOLS: dict[str, Protocol] = {
    'knn': Protocol(
        'knn/vit-base-p16_knn_{data}.py', {'knn/top1_k20': 'k-NN'},
        loop='amt_mm.evaluation.knn_loop'),
    'lowshot': Protocol(
        'lowshot/vit-base-p16_lowshot_{data}.py',
        {f'lowshot/top1_{n}shot': f'{n} per class' for n in (1, 5, 10, 20)},
        loop='amt_mm.evaluation.low_shot_loop'),
    'linear': Protocol(
        'linear/vit-base-p16_*-linear-*_{data}.py', {'accuracy/top1': 'linear'},
        trains='head', paper=0),
    'linear4': Protocol(
        'linear/vit-base-p16_*-last4-*_{data}.py', {'accuracy/top1': 'linear, 4 blocks'},
        trains='head'),
    'backgrounds': Protocol(
        'linear/vit-base-p16_*-backgrounds-*_{data}.py',
        {'backgrounds/original': 'IN-9', 'backgrounds/mixed_same': 'IN-9, mixed same',
         'backgrounds/mixed_rand': 'IN-9, mixed rand', 'backgrounds/bg_gap': 'IN-9, gap'},
        trains='head', labels='backgrounds'),
    'linear-sweep': Protocol(
        'linear_sweep/vit-base-p16_linear-sweep_{data}.py',
        {'linear_sweep/cls_top1': 'linear sweep, [CLS]',
         'linear_sweep/mean_top1': 'linear sweep, mean token',
         'linear_sweep/both_top1': 'linear sweep, both'},
        loop='amt_mm.evaluation.linear_sweep_loop'),
    'attentive': Protocol(
        'attentive/vit-base-p16_attentive_{data}.py',
        {'attentive/ep_top1': 'attentive, EP', 'attentive/aim_top1': 'attentive, AIM'},
        loop='amt_mm.evaluation.attentive_loop'),
    'unsupervised': Protocol(
        'unsupervised/vit-base-p16_unsupervised_{data}.py',
        {'unsupervised/nmi': 'NMI', 'unsupervised/ari': 'ARI',
         'unsupervised/accuracy': 'clustering'},
        loop='amt_mm.evaluation.unsupervised_loop',
        numbers={'unsupervised/rankme': 'RankMe', 'unsupervised/alignment': 'alignment',
                 'unsupervised/uniformity': 'uniformity'}),
    'retrieval': Protocol(
        'retrieval/vit-base-p16_retrieval_{data}.py',
        {'retrieval/map': 'retrieval, mAP', 'retrieval/map_easy': 'retrieval, mAP easy',
         'retrieval/map_medium': 'retrieval, mAP medium',
         'retrieval/map_hard': 'retrieval, mAP hard'},
        loop='amt_mm.evaluation.retrieval_loop', labels='relevance'),
    'robustness': Protocol(
        'robustness/vit-base-p16_robustness_{data}.py',
        {'robustness/top1': 'k-NN, whole', 'robustness/random_50': 'k-NN, half occluded',
         'robustness/salient_50': 'k-NN, salient half occluded',
         'robustness/nonsalient_50': 'k-NN, other half occluded',
         'robustness/shuffle_4x4': 'k-NN, 4x4 shuffled'},
        loop='amt_mm.evaluation.robustness_loop'),
    'segmentation': Protocol(
        'segmentation/vit-base-p16_segmentation_{data}.py',
        {'segmentation/miou': 'mIoU', 'segmentation/pixel_accuracy': 'pixel accuracy'},
        loop='amt_mm.evaluation.segmentation_loop', labels='masks'),
    'video-segmentation': Protocol(
        'video_segmentation/vit-base-p16_video-segmentation_{data}.py',
        {'video_segmentation/jf': 'J&F', 'video_segmentation/j': 'J', 'video_segmentation/f': 'F'},
        loop='amt_mm.evaluation.video_segmentation_loop', labels='videos'),
    'finetune': Protocol(
        'finetune/vit-base-p16_8xb128-coslr-*_{data}.py', {'accuracy/top1': 'fine-tuned'},
        trains='all', paper=1,
        host_configs={'SimMIM': 'finetune/vit-base-p16_*-simmim-*_{data}.py'}),
    'finetune-deit': Protocol(
        'finetune/vit-base-p16_*-deit-*_{data}.py', {'accuracy/top1': "fine-tuned, DeiT's recipe"},
        trains='all'),
    **{f'finetune-{share}percent': Protocol(
        f'finetune/vit-base-p16_8xb128-{share}percent-*_{{data}}.py',
        {'accuracy/top1': f'fine-tuned, {share} % of labels'}, trains='all') for share in (1, 10)},
}
