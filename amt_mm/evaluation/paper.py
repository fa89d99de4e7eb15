"""Figures of the paper, to be printed beside one's own."""

from __future__ import annotations

# AMT (AAAI 2023), Table 1: top-1 in per cent, (linear, fine-tuned), pre-trained on ImageNet-1K,
# ViT-B/16. MAE for 400 epochs, SimMIM for 200; the paper probes no SimMIM linearly.
TABLE_1 = {
    'MAE': {
        'cifar10': (85.2, 96.5), 'cifar100': (65.2, 87.4), 'tiny-imagenet': (55.2, 76.5),
        'stl10': (80.9, 96.5), 'in1k': (56.6, 82.6)},
    'MAE + AM': {
        'cifar10': (89.4, 97.4), 'cifar100': (69.9, 87.3), 'tiny-imagenet': (59.9, 76.3),
        'stl10': (87.1, 97.4), 'in1k': (61.5, 82.5)},
    'MAE + AMT': {
        'cifar10': (88.1, 97.5), 'cifar100': (68.7, 87.8), 'tiny-imagenet': (59.6, 77.8),
        'stl10': (86.8, 97.5), 'in1k': (61.7, 82.8)},
    'SimMIM': {
        'cifar10': (None, 95.0), 'cifar100': (None, 80.3), 'tiny-imagenet': (None, 74.0),
        'stl10': (None, 92.3), 'in1k': (None, 81.5)},
    'SimMIM + AM': {
        'cifar10': (None, 97.8), 'cifar100': (None, 85.9), 'tiny-imagenet': (None, 78.8),
        'stl10': (None, 96.5), 'in1k': (None, 81.5)},
    'SimMIM + AMT': {
        'cifar10': (None, 97.7), 'cifar100': (None, 86.1), 'tiny-imagenet': (None, 75.8),
        'stl10': (None, 96.5), 'in1k': (None, 80.7)},
}
