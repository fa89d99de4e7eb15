"""DistillationStep: its parts are the step, no more and no less."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from amt_mm import shipped
from amt_mm.errors import InputError
from lab.benchmark.batches import make_images
from lab.benchmark.clock import CPUClock
from lab.benchmark.distillation import DistillationStep
from lab.benchmark.memory import peak_memory
from lab.benchmark.racing import race

CONFIG = '''
_base_ = '{folder}/clothing/ibot-{name}_vit-nano-p8_1xb64-coslr-30e_clothing.py'
model = dict(
    backbone=dict(arch=dict(embed_dims=24, num_layers=2, feedforward_channels=48)),
    head=dict(out_channels=19, hidden_channels=16, bottleneck_channels=8), patch_weight={weight})
'''


@pytest.fixture
def step_of(tmp_path):
    def make(name='attmask-high', weight=1, text=CONFIG):
        path = tmp_path / f'{name}.py'
        path.write_text(text.format(folder=shipped.configs_folder(), name=name, weight=weight))
        return DistillationStep(str(path), 3, make_images(tmp_path / f'images{name}', 3), tmp_path)
    return make


def products(work):
    with FlopCounterMode(display=False) as counter:
        work.step(CPUClock())
    return counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize('weight', [1, 0])
@pytest.mark.parametrize('strategy', ['random', 'high'])
def test_the_parts_have_all_products_of_the_step(step_of, strategy, weight):
    step = step_of(weight=weight)
    parts = {part.name: products(part) for part in step.parts(strategy)}
    whole, = step.steps([strategy])
    assert sum(parts.values()) == products(whole)
    # Forward and backward are three times forward, but for the gradient of the images.
    assert 2.5 < parts['student, global crops'] / parts['teacher, global crops'] < 3
    assert (parts['attention and masks'] > 0) == (strategy == 'high')


@pytest.mark.slow
def test_every_step_masks_the_mean_of_training(step_of):
    step, counts = step_of(), {}
    for work in [*step.steps(['random', 'block', 'high', 'hint']), *step.masks(['low'])]:
        made = []
        mask = step.model.make_mask
        step.model.make_mask = lambda *args, made=made, mask=mask: (
            made.append(mask(*args)) or made[-1])
        for _ in range(2):
            work.step(CPUClock())
        step.model.make_mask = mask
        counts[work.name] = [each.counts.tolist() for each in made]
    # .3 of the tokens of half of the crops: 5 of 36; of a hint's top 3, floor(.15 * 3) are shown.
    assert all(each == [[5] * 6] * 2 for each in counts.values()), counts


def test_gradients_are_clipped_and_the_teacher_follows(step_of):
    step = step_of()
    with torch.no_grad():
        for parameter in step.model.teacher.parameters():
            parameter.add_(1)
        step.model.head.mlp[4].weight.mul_(50)
    norms = []
    step.optim_wrapper.optimizer.register_step_pre_hook(lambda optimizer, *_: norms.extend(
        float(parameter.grad.norm()) for parameter in step.model.parameters()
        if parameter.grad is not None))
    whole, = step.steps(['high'])
    step.model.cls_weight = 1e3
    name = 'layers.1.ffn.layers.1.weight'
    before = step.model.teacher.backbone.get_parameter(name).clone()
    whole.step(CPUClock())
    assert max(norms) == pytest.approx(3, rel=1e-4)
    student = step.model.backbone.get_parameter(name)
    torch.testing.assert_close(step.model.teacher.backbone.get_parameter(name),
                               .996 * before + .004 * student)
    assert all(parameter.grad is None for parameter in step.model.parameters())


@pytest.mark.slow
def test_a_race_of_works_has_one_phase(step_of):
    step = step_of()
    works = [*step.parts('hint'), *step.steps(['hint'])]
    seconds = race(works, 2, warm_up=1).seconds
    assert seconds.shape == (2, len(works), 1) and (seconds > 0).all()
    assert peak_memory(step) > step.kept_bytes() > step.state_bytes() / 3


@pytest.mark.slow
@pytest.mark.parametrize('text', [
    "_base_ = '{folder}/quickstart/mae_vit-mini-p8_1xb128-coslr-24e_scenes.py'",
    CONFIG + '    , masking=None)'])
def test_other_models_are_refused(step_of, text):
    text = text.replace('={weight})\n    , masking', '=0, masking')
    with pytest.raises(InputError, match='only for amt_mm.IBOT with masks'):
        step_of(text=text)
