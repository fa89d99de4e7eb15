"""Overlays with any values: a guided step with a finite loss, or one line that names the field."""

import math
import re

import pytest
from counted_cases import fuzz
from hypothesis import strategies as st
from tiny_training import HOSTS, PATCH, SIZE, tiny_config, train_a_step

from amt_mm.config import apply_overlay
from amt_mm.errors import InputError

GENERATOR, HOOK = 'overlay.data_preprocessor.mask_generator', 'overlay.hooks.saliency'


def ratio(least):
    return lambda value: type(value) in (int, float) and least <= value < 1


def whole(least, or_none=False):
    return lambda value: type(value) is int and value >= least or or_none and value is None


def one_of(*known):
    return lambda value: any(type(value) is type(k) and value == k for k in known)


def sides(step, or_none=False):
    """Pixels: one number or two, multiples of ``step``."""
    def fits(value):
        given = value if isinstance(value, (list, tuple)) else [value] * 2
        return or_none and value is None or len(given) == 2 and all(
            type(side) is int and side > 0 and side % step == 0 for side in given)
    return fits


# Field -> (what is valid by its documentation, values worth trying beside the wild ones).
GENERATOR_FIELDS = {
    'mask_ratio': (ratio(1e-300), st.floats(.01, .99)),
    'throw_ratio': (ratio(0), st.floats(0, .99)),
    'warmup_mask_ratio': (lambda v: v is None or ratio(1e-300)(v), st.floats(.01, .99)),
    'throw': (one_of('middle', 'low', 'random'), st.sampled_from(['middle', 'low', 'random'])),
    'unit': (whole(1), st.integers(1, 5)),
    'rounding': (one_of('floor', 'ceil'), st.sampled_from(['floor', 'ceil'])),
}
HOOK_FIELDS = {
    'begin': (whole(0), st.integers(0, 10**9)),
    'interval': (whole(1), st.integers(1, 10**9)),
    'end': (whole(0, or_none=True), st.integers(0, 10**9)),
    'by_epoch': (one_of(True, False), st.booleans()),
    'normalize': (one_of('map', 'head'), st.sampled_from(['map', 'head'])),
    'batch_size': (whole(1, or_none=True), st.integers(1, 99)),
    'num_workers': (whole(0, or_none=True), st.integers(0, 9)),
    'dtype': (one_of('float16', 'uint8'), st.sampled_from(['float16', 'uint8'])),
    'image_size': (sides(PATCH, or_none=True), st.integers(1, 10).map(lambda n: 2 * n)),
    'parts': (whole(1), st.integers(1, 99)),
    'precision': (one_of(None, 'fp32', 'bf16'), st.sampled_from(['fp32', 'bf16'])),
    'max_flat': (lambda v: type(v) in (int, float) and 0 <= v <= 1, st.floats(0, 1)),
}
FIELDS = {**{f'{GENERATOR}.{name}': rule for name, rule in GENERATOR_FIELDS.items()},
          **{f'{HOOK}.{name}': rule for name, rule in HOOK_FIELDS.items()}}
WILD = st.one_of(
    st.sampled_from([None, True, False, '', 'x', '1', '0.5', 0, 1, 2, -1, .5, 1.5, 1., -0., 1e308,
                     math.nan, math.inf, -math.inf, [], [1], [8, 8], [8, 6], ['8', 8], {}]),
    st.integers(-5, 40), st.floats(-2, 2), st.text(max_size=3))


@st.composite
def wishes(draw, fields, wild):
    """One to three fields with values, most of them valid."""
    names = draw(st.lists(st.sampled_from(list(fields)), min_size=1, max_size=3, unique=True))
    return {name: draw(WILD if draw(st.integers(0, 9)) < wild else fields[name][1])
            for name in names}


def refused(error, names):
    """In one line that names one of these fields."""
    message = str(error)
    assert '\n' not in message
    assert any(re.search(rf'\b{re.escape(name.rpartition(".")[2])}\b', message)
               for name in names), f'{message} does not name {", ".join(names)}'


def put(cfg, name, value):
    """As a config file of the user's does; Config.merge_from_dict checks some kinds itself."""
    *sections, last = name.split('.')
    node = cfg
    for section in sections:
        if section not in node:
            node[section] = {}
        node = node[section]
    node[last] = value


def outcome(cfg):
    """The loss, or the InputError; anything else is a fault."""
    try:
        return train_a_step(cfg)
    except InputError as error:
        return error


@fuzz(600, host=st.sampled_from(HOSTS), changes=st.one_of(wishes(FIELDS, 1), wishes(FIELDS, 6)))
def test_settings_of_an_overlay(host, changes):
    cfg = tiny_config(host)
    for name, value in changes.items():
        put(cfg, name, value)
    wrong = [name for name, value in changes.items() if not FIELDS[name][0](value)]
    found = outcome(cfg)
    if isinstance(found, InputError):
        # Valid ones may contradict each other, or leave too little of 24 tokens.
        refused(found, changes)
    else:
        assert not wrong
        assert math.isfinite(found)


STRATEGIES = {
    'amt_mm.RandomMaskGenerator': [*GENERATOR_FIELDS][:2] + ['unit', 'rounding'],
    'amt_mm.BlockMaskGenerator': [*GENERATOR_FIELDS][:2] + ['unit', 'rounding', 'min_block'],
    'amt_mm.GridMaskGenerator': [*GENERATOR_FIELDS][:2] + ['unit', 'rounding'],
    'amt_mm.LowAttendedMaskGenerator': [*GENERATOR_FIELDS][:3] + ['unit', 'rounding'],
    'amt_mm.AnnealedMaskGenerator': list(GENERATOR_FIELDS),
}
STRATEGY_FIELDS = {**GENERATOR_FIELDS, 'min_block': (whole(1), st.integers(1, 99))}


@fuzz(300, host=st.sampled_from(HOSTS), kind=st.sampled_from(list(STRATEGIES)), data=st.data())
def test_strategies(host, kind, data):
    fields = {name: STRATEGY_FIELDS[name] for name in STRATEGIES[kind]}
    changes = data.draw(wishes(fields, 2))
    cfg = tiny_config(host)
    cfg.overlay.data_preprocessor.mask_generator = dict(type=kind, **changes)
    wrong = [name for name, value in changes.items() if not fields[name][0](value)]
    found = outcome(cfg)
    if isinstance(found, InputError):
        refused(found, changes)
    else:
        assert not wrong
        assert math.isfinite(found)


@fuzz(300, host=st.sampled_from(HOSTS), size=st.one_of(
          WILD, st.integers(1, 12).map(lambda n: 2 * n), st.tuples(*[st.integers(1, 8).map(
              lambda n: 4 * n)] * 2).map(list)),
      patch=st.one_of(WILD, st.sampled_from([4, 4, 4, 8, 2, 3])), crop=st.booleans())
def test_sizes_of_images_and_patches(host, size, patch, crop):
    cfg = tiny_config(host)
    put(cfg, 'model.backbone.img_size', size)
    put(cfg, 'model.backbone.patch_size', patch)
    sound = whole(1)(patch) and sides(patch)(size)
    if crop and sound:
        cfg.train_dataloader.dataset.pipeline[0].scale = size
    if host == 'maskfeat' and sound:
        cfg.model.target_generator.pool = patch
    found = outcome(cfg)
    if isinstance(found, InputError):
        refused(found, ['img_size', 'patch_size', 'unit', 'mask_ratio', 'warmup_mask_ratio'])
    else:
        same = (size if isinstance(size, (list, tuple)) else [size] * 2) == list(SIZE)
        assert sound and (crop or same)
        assert math.isfinite(found)


@fuzz(150, host=st.sampled_from(HOSTS), size=st.one_of(
          WILD, st.integers(1, 6).map(lambda n: 8 * n), st.fixed_dictionaries(
              {}, optional=dict(size=WILD, edge=WILD, more=WILD))))
def test_image_size_of_an_overlay(host, size):
    cfg = tiny_config(host)
    cfg.overlay.image_size = size
    found = outcome(cfg)
    if isinstance(found, InputError):
        refused(found, ['image_size', 'patch_size', 'unit', 'mask_ratio', 'warmup_mask_ratio'])
    else:
        sides = size['size'] if isinstance(size, dict) else size
        sides = sides if isinstance(sides, (list, tuple)) else [sides] * 2
        assert size is None or len(sides) == 2 and all(
            type(side) is int and side > 0 and side % PATCH == 0 for side in sides)
        assert math.isfinite(found)


LETTERS = st.sampled_from('abcdefghijklmnopqrstuvwxyz_')


def misspelt(name, place, letter):
    place %= len(name)
    return name[:place] + letter + name[place + 1:]


@fuzz(300, host=st.sampled_from(HOSTS), name=st.sampled_from([
          *FIELDS, 'overlay.hooks', 'overlay.transforms', 'overlay.data_preprocessor',
          'overlay.image_size', 'overlay.drop', 'overlay.labelled', 'overlay.model']),
      place=st.integers(0, 30), letter=LETTERS)
def test_misspelt_fields_are_named(host, name, place, letter):
    """Ours in one line; what a class does not know, by MMEngine's registry, by its name."""
    section, _, last = name.rpartition('.')
    wrong = misspelt(last, place, letter)
    if wrong == last:
        return
    cfg = tiny_config(host)
    put(cfg, f'{section}.{wrong}', 1)
    with pytest.raises((InputError, TypeError)) as error:
        train_a_step(cfg)
    assert wrong in str(error.value)
    assert error.type is InputError or 'unexpected keyword' in str(error.value)


@fuzz(200, host=st.sampled_from(HOSTS), name=st.sampled_from([
          'overlay', 'overlay.hooks', 'overlay.hooks.saliency', 'overlay.transforms',
          'overlay.data_preprocessor', GENERATOR, 'overlay.drop', 'overlay.labelled',
          'overlay.model', 'overlay.model.backbone', 'overlay.model.type',
          'overlay.data_preprocessor.type', f'{GENERATOR}.type', f'{HOOK}.type']),
      value=WILD)
def test_sections_of_another_kind(host, name, value):
    cfg = tiny_config(host)
    put(cfg, name, value)
    last = name.rpartition('.')[2]
    try:
        apply_overlay(cfg)
    except InputError as error:
        refused(error, [name, last])
