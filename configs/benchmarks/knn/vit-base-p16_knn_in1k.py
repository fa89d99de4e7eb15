# k-NN on ImageNet-1K. The paper reports no figure.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/knn.py',
    '../../_base_/datasets/labelled/imagenet.py',
]
