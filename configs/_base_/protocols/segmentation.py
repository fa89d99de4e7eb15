# Semantic segmentation by a frozen encoder: batch norm and a linear head on the patch tokens of the
# last layer, as the linear head of DINOv2 (40,000 iterations of 16 images, AdamW at .001). Images
# are encoded once, whole and without augmentation; mean IoU at the size of the masks.
# Finer patches by larger images: overlay.image_size=512
_base_ = './knn.py'
protocol = 'segmentation'

# Masks keep their names: `gt_seg_map` is resized with the image.
test_pipeline = [
    dict(type='amt_mm.LoadMask'),
    dict(type='amt_mm.LoadImage'),
    dict(type='Resize', scale=(224, 224), backend='pillow', interpolation='bicubic'),
    dict(type='PackInputs', algorithm_keys=['gt_seg_map', 'label_pixels'])
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_cfg = dict(
    _delete_=True,
    type='amt_mm.SegmentationTestLoop',
    iterations=40000,
    batch_size=16,
    lr=1e-3,
    weight_decay=1e-4,
    train_dataloader=dict(dataset=dict(pipeline=test_pipeline)))
