# Attentive probing on your own class folders.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/attentive.py',
    '../../_base_/datasets/labelled/folder.py',
]
