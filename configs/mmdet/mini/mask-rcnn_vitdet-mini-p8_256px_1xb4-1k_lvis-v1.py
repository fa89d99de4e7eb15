# The same 80 images in LVIS v1 format, with repeat-factor sampling and the LVIS metric.
#   python tools/train.py THIS_CONFIG --pretrained CHECKPOINT
#   python tools/test.py THIS_CONFIG work_dirs/NAME/iter_1000.pth
_base_ = 'mask-rcnn_vitdet-mini-p8_256px_1xb4-1k_coco.py'

model = dict(test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)))

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ClassBalancedDataset',
        # LVIS's .001 would repeat none of 80 images; half of these classes are rarer than .03.
        oversample_thr=0.03,
        dataset=dict(
            type='amt_mm.LVISInstances',
            data_root='data/coco_mini',
            ann_file='annotations/lvis_v1_train.json',
            data_prefix=dict(img=''),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline={{_base_.train_pipeline}})))
val_dataloader = dict(
    dataset=dict(
        type='amt_mm.LVISInstances',
        ann_file='annotations/lvis_v1_train.json',
        data_prefix=dict(img='')))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='amt_mm.LVISInstanceMetric', ann_file='data/coco_mini/annotations/lvis_v1_train.json')
test_evaluator = val_evaluator
