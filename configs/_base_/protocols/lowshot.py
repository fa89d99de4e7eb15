# Low-shot classification as AttMask does it: 1, 5, 10 and 20 training images a class, drawn 5
# times, classified by k-NN (1 voter for 1 image, else 20); features as for k-NN on all images.
# Logistic regression on the same images instead: test_cfg.classifier=linear
_base_ = './knn.py'
protocol = 'lowshot'

test_cfg = dict(
    _delete_=True,
    type='amt_mm.LowShotTestLoop',
    shots=(1, 5, 10, 20),
    draws=5,
    pooling='cls',
    train_dataloader=_base_.test_cfg.train_dataloader)
