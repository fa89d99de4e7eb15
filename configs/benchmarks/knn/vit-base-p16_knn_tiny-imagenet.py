# k-NN on Tiny ImageNet. The paper reports no figure.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/knn.py',
    '../../_base_/datasets/labelled/tiny_imagenet.py',
]
