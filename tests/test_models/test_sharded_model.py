"""A host sharded among two processes trains as under DistributedDataParallel."""

import pytest
import torch
from divided_runs import DIVIDED, SGD, WHOLE, build, trained, two
from labelled_toys import LabelledImages
from mmengine.config import Config
from mmengine.registry import DATASETS
from three_hosts import build_host, host_config
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.errors import InputError
from amt_mm.evaluation.dataset_features import labelled_features, loader_in_order
from amt_mm.hooks import KNNProbeHook
from amt_mm.models import ShardedModel
from amt_mm.models.unwrapped import whole_model
from amt_mm.saliency import cls_saliency
from amt_mm.sharded_tensors import gather_tensor

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='two processes on the CPU')
HOSTS = ('mae', 'mae_cls', 'simmim', 'maskfeat')


def state(folder, name, epoch):
    return torch.load(folder / name / f'epoch_{epoch}.pth', weights_only=False)['state_dict']


@pytest.mark.slow
def test_all_hosts_have_the_same_weights_and_maps_as_unsharded(tmp_path):
    def work(rank):
        for host in HOSTS:
            # SimMIM's units need an even grid.
            model = host_config(host, img_size=(40, 56) if 'mae' in host else (48, 64))
            model['data_preprocessor'].update(mean=[120., 110, 100], std=[60., 50, 40])
            for name, wrapper in (('whole', WHOLE), ('divided', DIVIDED)):
                trained(tmp_path, f'{host}_{name}', wrapper, SGD, 2, model=model, begin=0,
                        crop=model['backbone']['img_size'], optim=dict(clip_grad=None))

    two(work, tmp_path)
    for host in HOSTS:
        whole, divided = (state(tmp_path, f'{host}_{name}', 2) for name in ('whole', 'divided'))
        begun = state(tmp_path, f'{host}_whole', 1)
        assert any(not torch.equal(begun[key], whole[key]) for key in whole)
        assert list(whole) == list(divided)
        for key, value in whole.items():
            assert torch.equal(divided[key], value), (host, key)
        for epoch in (0, 1):
            one, other = ((tmp_path / f'{host}_{name}/saliency/epoch_{epoch}.amtmap').read_bytes()
                          for name in ('whole', 'divided'))
            assert one == other, (host, epoch)


@pytest.mark.slow
def test_each_process_stores_half(tmp_path):
    def work(rank):
        runner = trained(tmp_path, 'run', epochs=1)
        weights = list(runner.model.module.parameters())
        kept = [value.to_local().numel() for value in weights]
        moments = runner.optim_wrapper.optimizer.state.values()
        host = runner.model.module
        blocks = [*host.backbone.layers, *host.neck.decoder_blocks]
        with runner.model.unsharded() as whole:
            filled = not any(value.is_meta for value in whole.parameters())
        emptied = all(value.is_meta for value in whole.parameters())
        return (sum(kept), sum(value.numel() for value in weights), filled, emptied,
                sum(s['exp_avg'].to_local().numel() for s in moments),
                sum(p.to_local().numel() for p in weights if p.requires_grad),
                all(isinstance(value, DTensor) for value in weights)
                and all(isinstance(block, FSDPModule) for block in blocks))

    ends = two(work, tmp_path)
    assert ends[0][0] + ends[1][0] == ends[0][1] == ends[1][1]
    for kept, count, filled, emptied, moments, trainable, all_divided in ends:
        # More than half: parameters of one row, such as [CLS], are in the first process only.
        assert kept < .6 * count
        assert filled and emptied and all_divided and moments == trainable


def test_weights_are_broadcast_from_the_first_process(tmp_path):
    def work(rank):
        model, plain = build_host('mae'), build_host('mae')
        # As with randomness.diff_rank_seed.
        torch.manual_seed(rank)
        divided = ShardedModel(model).module.state_dict()
        torch.manual_seed(0)
        plain.init_weights()
        return [key for key, value in plain.state_dict().items()
                if not torch.equal(gather_tensor(divided[key]), value)]

    assert two(work, tmp_path) == [[], []]


@pytest.mark.slow
def test_a_pretrained_encoder_fills_the_shards(tmp_path):
    def work(rank):
        # Of another grid and without biases, for which zeros are added.
        state = {key: value for key, value in build_host('mae', 9, img_size=32).state_dict().items()
                 if key.startswith('backbone.') and not key.endswith('qkv.bias')}
        torch.save(dict(state_dict=state), tmp_path / f'{rank}.pth')
        plain, divided = build_host('mae'), ShardedModel(build_host('mae')).module
        for model in (plain, divided):
            load_backbone(model, tmp_path / f'{rank}.pth')
        found = divided.backbone.state_dict()
        return [key for key, value in plain.backbone.state_dict().items()
                if not torch.equal(gather_tensor(found[key]), value)]

    assert two(work, tmp_path) == [[], []]


@pytest.mark.slow
def test_unsharded_host_is_equal_and_leaves_the_sharded_one_unchanged(tmp_path, toy_mae):
    def work(rank):
        runner = trained(tmp_path, 'run', epochs=1)
        before = [value.to_local().clone() for value in runner.model.module.parameters()]
        images = torch.randn(3, 3, 40, 56, generator=torch.Generator().manual_seed(0))
        with runner.model.unsharded() as whole:
            assert whole.data_preprocessor is runner.model.module.data_preprocessor
            maps = cls_saliency(whole.backbone, images)
        with pytest.raises(ZeroDivisionError), runner.model.unsharded() as whole:
            1 / 0  # noqa: B018
        after = [value.to_local() for value in runner.model.module.parameters()]
        trained_on = runner.model.module.training
        return maps, all(map(torch.equal, before, after)), whole.training == trained_on

    (maps, same, mode), (other, also, mode_too) = two(work, tmp_path)
    assert torch.equal(maps, other) and same and also and mode and mode_too

    plain = toy_mae()
    plain.load_state_dict(state(tmp_path, 'run', 1))
    images = torch.randn(3, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cls_saliency(plain.backbone, images), maps)


@pytest.mark.slow
def test_knn_probe_uses_the_unsharded_encoder(tmp_path):
    def work(rank):
        labels = [i * 5 % 7 for i in range(21)]
        DATASETS.register_module(name='ToyLabelled', module=LabelledImages, force=True)
        found = []
        for name, wrapper in (('whole', WHOLE), ('divided', DIVIDED)):
            probe = KNNProbeHook(train=dict(type='ToyLabelled', labels=labels), ks=(1, 5),
                                 test=dict(type='ToyLabelled', labels=labels[:9], seed=1))
            runner = build(tmp_path, name, wrapper, SGD, 1, optim=dict(clip_grad=None))
            runner.register_hook(probe)
            runner.train()
            loader = loader_in_order(probe._test, 2)
            with whole_model(runner) as model:
                found.append(labelled_features(model, loader).features['mean'])
            found.append({key: value for key, value in probe.probe(runner, 1).items()
                          if 'seconds' not in key})
        return found

    features, scores, of_divided, scores_of_divided = two(work, tmp_path)[1]
    assert torch.equal(features, of_divided) and len(features) == 9
    assert scores == scores_of_divided and scores


def test_one_process_is_rejected(toy_runner):
    with pytest.raises(InputError, match='needs several processes'):
        toy_runner(cfg=Config(dict(model_wrapper_cfg=DIVIDED)))


def test_other_models_are_rejected(tmp_path):
    def work(rank):
        with pytest.raises(InputError, match='shards AMTMAE.*not Linear'):
            ShardedModel(nn.Linear(2, 2))

    two(work, tmp_path)
