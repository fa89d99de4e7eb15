# Image retrieval among your own class folders: test images query the training images.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/retrieval.py',
    '../../_base_/datasets/labelled/folder.py',
]
