# LVIS v1: data/lvis_v1/annotations/lvis_v1_{train,val}.json; its images are those of COCO, so
# data/lvis_v1/{train2017,val2017} may link to data/coco. Same pipelines as for COCO.
#
# Repeat-factor sampling (Gupta et al., CVPR 2019): an image is repeated max(1, sqrt(.001 / f))
# times, f being the fraction of images with the rarest of its classes. MMEngine always rounds up,
# detectron2 rounds up or down at random in each epoch.
_base_ = 'coco_lsj_1024.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ClassBalancedDataset',
        oversample_thr=1e-3,
        dataset=dict(
            type='amt_mm.LVISInstances',
            data_root='data/lvis_v1',
            ann_file='annotations/lvis_v1_train.json',
            data_prefix=dict(img=''),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline={{_base_.train_pipeline}})))
val_dataloader = dict(
    dataset=dict(
        type='amt_mm.LVISInstances',
        data_root='data/lvis_v1',
        ann_file='annotations/lvis_v1_val.json',
        data_prefix=dict(img='')))
test_dataloader = val_dataloader

val_evaluator = dict(
    type='amt_mm.LVISInstanceMetric', ann_file='data/lvis_v1/annotations/lvis_v1_val.json')
test_evaluator = val_evaluator
