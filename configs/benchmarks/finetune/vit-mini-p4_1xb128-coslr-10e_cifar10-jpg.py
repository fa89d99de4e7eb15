# Fine-tuning of the encoders of configs/studies on CIFAR-10 as JPEGs: the 1,000 images of each
# class that they were pre-trained on, all 10,000 test images. docs/study.md has its figures.
#   python tools/evaluate.py CHECKPOINTS --configs THIS_CONFIG
_base_ = './vit-mini-p8_1xb128-coslr-10e_clothing.py'

model = dict(backbone=dict(patch_size=4))
overlay = dict(
    image_size=dict(_delete_=True, size=32, edge=32),  # test images are not cropped
    labelled=dict(
        dataset=dict(data_root='data/cifar10_jpg'),
        train=dict(data_prefix='train', first_of_class=1000),
        test=dict(_delete_=True, data_prefix='test')))
