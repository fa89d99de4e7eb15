# Low-shot on your own class folders.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/lowshot.py',
    '../../_base_/datasets/labelled/folder.py',
]
