# Fine-tuning on 1 % of the labels, the same images of each class for all encoders.
# Those of a list instead, such as SimCLR's 1percent.txt of ImageNet:
#   train_dataloader.dataset.few_labels.share=None train_dataloader.dataset.few_labels.names=FILE
_base_ = './finetune.py'
protocol = 'finetune-1percent'

train_dataloader = dict(dataset=dict(few_labels=dict(share=0.01, names=None, seed=0)))
