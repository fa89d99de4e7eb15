# Fine-tuning on 10 % of the labels, as finetune_1percent.py on 1 %.
_base_ = './finetune.py'
protocol = 'finetune-10percent'

train_dataloader = dict(dataset=dict(few_labels=dict(share=0.1, names=None, seed=0)))
