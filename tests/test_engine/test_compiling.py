"""Two graphs for a whole run, the same losses as without, and one line for what cannot be."""

import shutil

import pytest
import torch
from conftest import toy_pipeline
from mmengine.config import Config
from mmengine.hooks import Hook
from three_hosts import GRID, HOSTS, SIZE, build_host, host_config
from torch._dynamo.utils import counters

from amt_mm.engine import OverlayRunner
from amt_mm.engine.compiling import StaticGraphs, compile_host
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook, TokenLossHook
from amt_mm.masking import AMTMaskGenerator
from amt_mm.reliability import StepSeedHook

ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)


@pytest.fixture(autouse=True)
def nothing_compiled():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


class Watch(Hook):
    """Losses, and the number of graphs after each epoch."""

    def __init__(self):
        self.losses, self.graphs = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))

    def after_train_epoch(self, runner):
        # As a probe or a validation would, in between.
        runner.model.eval()
        with torch.no_grad():
            runner.model.extract_feat(torch.zeros(2, 3, *SIZE))
        runner.model.train()
        self.graphs.append(counters['stats'].get('unique_graphs', 0))


def trained(toy_runner, toy_images, host, compile, hook=None, backbone=(), epochs=5, **changes):
    """7 images in batches of 3: random, refreshed before epochs 3 and 5, and partial batches."""
    watch = Watch()
    model = host_config(host, neck=dict(decoder_depth=1), **{'arch': ARCH, **dict(backbone)})
    runner = toy_runner(
        kind=OverlayRunner, epochs=epochs, model=model,
        dataset=toy_images(7, pipeline=toy_pipeline(scale=SIZE)), work_dir=f'{compile}',
        hooks=[StepSeedHook(), hook or SaliencyUpdateHook(2, 2), watch],
        cfg=Config(dict(compile=compile)), **changes)
    runner.train()
    return runner, watch


@pytest.mark.slow
@pytest.mark.parametrize('host', HOSTS)
def test_one_graph_a_phase_and_none_afterwards(toy_runner, toy_images, host):
    chance = dict(drop_path_rate=0.3)
    plain, expected = trained(toy_runner, toy_images, host, False, backbone=chance)
    runner, found = trained(toy_runner, toy_images, host, dict(backend='eager'), backbone=chance)
    assert found.graphs == [1, 1, 2, 2, 2]
    assert not counters['graph_break']
    assert found.losses == expected.losses
    state = runner.model.state_dict()
    assert list(state) == list(plain.model.state_dict())
    for name, value in plain.model.state_dict().items():
        assert torch.equal(state[name], value), name


@pytest.mark.slow
def test_it_goes_on_from_a_checkpoint_and_back(toy_runner, toy_images):
    """Names in checkpoints are those of a run that is not compiled."""
    compile = dict(backend='eager')
    whole, expected = trained(toy_runner, toy_images, 'mae', False)
    trained(toy_runner, toy_images, 'mae', compile, epochs=3)
    folder = whole.work_dir.replace('False', f'{compile}')
    _, found = trained(toy_runner, toy_images, 'mae', False, load_from=f'{folder}/epoch_3.pth',
                       resume=True)
    assert found.losses == expected.losses[9:]


@pytest.mark.slow
def test_in_bf16_with_recomputed_blocks_and_losses_of_tokens(toy_runner, toy_images):
    settings = dict(
        hook=TokenLossHook(begin=2), backbone=dict(with_cp=True, drop_rate=0.1),
        optim_wrapper=dict(type='amt_mm.BF16OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)))
    _, expected = trained(toy_runner, toy_images, 'mae', False, **settings)
    settings['hook'] = TokenLossHook(begin=2)
    _, found = trained(toy_runner, toy_images, 'mae', dict(backend='aot_eager'), **settings)
    assert found.graphs == [1, 1, 2, 2, 2]
    # In bf16 a gradient may be rounded elsewhere.
    assert found.losses[0] == expected.losses[0]
    assert found.losses == pytest.approx(expected.losses, rel=1e-3)


@pytest.mark.slow
def test_every_size_is_static_and_a_smaller_batch_is_not_compiled():
    """As when a run goes on just before the last, partial batch of an epoch."""
    sizes = []

    def backend(graph, inputs):
        sizes.append([size for tensor in inputs for size in tensor.shape])
        return graph

    model = build_host('mae')
    compile_host(model, dict(backend=backend))
    assert isinstance(model.losses, StaticGraphs)
    for batch, guided, graphs in ((1, False, 1), (4, False, 2), (1, False, 2), (4, True, 3),
                                  (3, True, 3), (4, False, 3)):
        plan = AMTMaskGenerator()(batch, GRID, torch.rand(batch, 24) if guided else None)
        model(torch.randn(batch, 3, *SIZE), mode='loss', plan=plan)
        assert len(sizes) == graphs
    assert all(type(size) is int for graph in sizes for size in graph)


@pytest.mark.parametrize(('options', 'part'), [
    (dict(modus='max-autotune'), 'modus'), (dict(mode='fastest'), 'fastest'),
    (dict(backend='no_such'), 'no_such'), (dict(backend='eager'), 'other random numbers')])
def test_options_that_do_not_work(options, part):
    with pytest.raises(InputError, match=part):
        compile_host(build_host('mae', with_cp=True), options)


@pytest.mark.slow
def test_a_break_in_the_graph_stops_the_run():
    model = build_host('mae')
    target = model.target
    model.target = lambda *args: (torch._dynamo.graph_break(), target(*args))[1]
    compile_host(model, dict(backend='eager'))
    with pytest.raises(torch._dynamo.exc.Unsupported):
        model(torch.randn(2, 3, *SIZE), mode='loss', plan=AMTMaskGenerator()(2, GRID))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which('g++'), reason='inductor needs a C++ compiler on CPUs')
def test_inductor(toy_runner, toy_images):
    _, expected = trained(toy_runner, toy_images, 'mae', False)
    _, found = trained(toy_runner, toy_images, 'mae', True)
    assert found.graphs == [1, 1, 2, 2, 2]
    assert found.losses == pytest.approx(expected.losses, rel=1e-4)
