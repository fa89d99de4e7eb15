# Low-shot classification as in AttMask: 1, 5, 10 and 20 training images per class, 5 draws, k-NN
# with 1 neighbour for 1 image, otherwise 20, on the features of the k-NN protocol.
# Logistic regression on the same images instead: test_cfg.classifier=linear
_base_ = './knn.py'
protocol = 'lowshot'

test_cfg = dict(
    _delete_=True,
    type='amt_mm.LowShotTestLoop',
    shots=(1, 5, 10, 20),
    draws=5,
    pooling=None,
    train_dataloader=_base_.test_cfg.train_dataloader)
