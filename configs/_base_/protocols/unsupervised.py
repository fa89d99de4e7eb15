# Measures without training on labels: k-means on the training images, with clusters of the test
# images compared with the classes (NMI, ARI, accuracy of the best matching); RankMe, alignment of
# two crops and uniformity of the test images. Features are those of the k-NN protocol.
# Mean of the patch tokens instead: test_cfg.pooling=mean (the default of encoders without [CLS])
_base_ = './knn.py'
protocol = 'unsupervised'

test_cfg = dict(
    _delete_=True,
    type='amt_mm.UnsupervisedTestLoop',
    max_train=25600,
    restarts=10,
    pooling=None,
    train_dataloader=_base_.test_cfg.train_dataloader)
