# k-NN on STL-10. The paper reports no figure.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/knn.py',
    '../../_base_/datasets/labelled/stl10.py',
]
