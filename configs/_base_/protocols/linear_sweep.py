# Logistic regression on frozen features of whole images: [CLS], mean of the patch tokens, and both
# concatenated, standardised; every fifth training image selects the penalty. Images are encoded
# once and the fit converges, so there is no learning rate, schedule or seed.
_base_ = './knn.py'
protocol = 'linear-sweep'

test_cfg = dict(
    _delete_=True,
    type='amt_mm.LinearSweepTestLoop',
    l2=[1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0],
    train_dataloader=_base_.test_cfg.train_dataloader)
