"""Packed data sets, JPEG headers and checkpoints' names under random damage and random content."""

import io
import json
import re

import numpy as np
import pytest
import torch
from counted_cases import fuzz
from hypothesis import strategies as st
from mmengine.dataset import BaseDataset
from PIL import Image

from amt_mm.checkpoints import convert, detect_naming
from amt_mm.datasets import PackedImages, pack
from amt_mm.datasets.jpeg_header import read_jpeg_header
from amt_mm.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)


class Files(BaseDataset):
    """Samples of a few bytes, every second one without a label."""

    def load_data_list(self):
        chance = np.random.default_rng(int(self.ann_file))
        return [dict(img_path=f'ä/{n}.jpg', img_bytes=chance.bytes(1 + n * 7), **(
            dict(gt_label=n) if n % 2 else {})) for n in range(13)]


@pytest.fixture(scope='module')
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp('packed') / 'file'
    raws = []
    for seed in (1, 2):
        pack(Files(str(seed), metainfo=dict(classes=['a', 'b']), serialize_data=False), path)
        raws.append(path.read_bytes())
    return path, *raws


def damage(raw, chance):
    """A bit of header or index, an end, a number of the header."""
    kind, place = chance.integers(5), chance.integers(len(raw))
    if kind == 0:
        raw[chance.integers(180)] ^= 1 << chance.integers(8)
    elif kind == 1:
        raw[-1 - place % (len(raw) - 5000)] ^= 1 << chance.integers(8)
    elif kind == 2:
        del raw[place:]
    elif kind == 3:
        raw += chance.bytes(1 + place % 50)
    else:
        digits = [n for n in range(8, 200) if chr(raw[n]).isdigit()]
        raw[chance.choice(digits)] = ord('0') + chance.integers(10)


@fuzz(600, which=st.integers(1, 2), seed=SEEDS)
def test_a_damaged_packed_data_set_is_refused_or_the_same(packed, which, seed):
    path, before = packed[0], packed[which]
    raw = bytearray(before)
    damage(raw, np.random.default_rng(seed))
    path.write_bytes(raw)
    try:
        found = PackedImages(str(path))
    except InputError as error:
        assert str(path) in str(error) and '\n' not in str(error)
        return
    path.write_bytes(before)
    wanted = PackedImages(str(path))
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        assert (one['img_path'], one.get('gt_label')) == (other['img_path'], other.get('gt_label'))
        # Images themselves have no checksum: a decoder finds what is wrong with them.
        assert len(one['img_bytes']) == len(other['img_bytes'])


@fuzz(200, values=st.dictionaries(
    st.sampled_from(['num_samples', 'fingerprint', 'index_start', 'names_bytes', 'index_crc32']),
    st.one_of(st.none(), st.booleans(), st.integers(-2**70, 2**70), st.integers(0, 5000),
              st.floats(), st.text(max_size=5), st.lists(st.none(), max_size=2)), min_size=1))
def test_a_packed_header_of_any_values(packed, values):
    path, raw = packed[:2]
    said = {**json.loads(raw[8:4096]), **values}
    path.write_bytes((raw[:8] + json.dumps(said).encode()).ljust(4096) + raw[4096:])
    if {name: said[name] for name in said if name != 'fingerprint'} == {
            name: value for name, value in json.loads(raw[8:4096]).items()
            if name != 'fingerprint'} and isinstance(said['fingerprint'], str) and re.fullmatch(
                r'\d+-[0-9a-f]{32}', said['fingerprint']):
        PackedImages(str(path))
        return
    with pytest.raises(InputError, match='header is damaged|index is damaged'):
        PackedImages(str(path))


def jpeg(seed, **options):
    chance, file = np.random.default_rng(seed), io.BytesIO()
    image = chance.integers(0, 256, (9, 13, 3), np.uint8)
    Image.fromarray(image).save(file, 'JPEG', **options)
    return file.getvalue()


@fuzz(800, seed=SEEDS, start=st.sampled_from([0, 3, 20, None]), number=st.integers(0, 20),
      progressive=st.booleans())
def test_jpeg_headers_of_any_bytes(seed, start, number, progressive):
    """A header, no header, or a cut file; nothing else, whatever the bytes."""
    chance = np.random.default_rng(seed)
    raw = bytearray(jpeg(seed % 4, progressive=progressive))
    if start is None:
        # Anywhere, or in the frame, which says sizes and sampling factors.
        frame = raw.index(b'\xff\xc2' if progressive else b'\xff\xc0')
        first, last = (0, len(raw)) if number % 2 else (frame + 4, frame + 19)
        for place in chance.integers(first, last, number // 2):
            raw[place] = chance.choice([0, 1, 8, 255, chance.integers(256)])
        if number % 4 == 3:
            del raw[chance.integers(len(raw)):]
    else:
        raw[start:] = chance.bytes(number * 10)
    try:
        found = read_jpeg_header(bytes(raw))
    except ValueError as error:
        assert 'truncated' in str(error)
        return
    if found is not None:
        assert 1 <= found.height < 2**16 and 1 <= found.width < 2**16
        assert found.mcu_width in (8, 16, 24, 32)
        if start is None and number == 0:
            assert (found.height, found.width) == (9, 13)


def some_weights(depth, width, decoder_depth, chance):
    """Of mmpretrain's names, with the shapes that conversion looks at."""
    def pair(name, *shape):
        return {f'{name}.weight': torch.randn(*shape, generator=chance),
                f'{name}.bias': torch.randn(shape[0], generator=chance)}

    def block(name, width):
        return {**pair(f'{name}.ln1', width), **pair(f'{name}.attn.qkv', 3 * width, width),
                **pair(f'{name}.attn.proj', width, width), **pair(f'{name}.ln2', width),
                **pair(f'{name}.ffn.layers.0.0', 2 * width, width),
                **pair(f'{name}.ffn.layers.1', width, 2 * width)}

    state = {'backbone.cls_token': torch.randn(1, 1, width, generator=chance),
             **pair('backbone.patch_embed.projection', width, 3, 2, 2),
             **pair('backbone.ln1', width)}
    for layer in range(depth):
        state |= block(f'backbone.layers.{layer}', width)
    for layer in range(decoder_depth):
        state |= block(f'neck.decoder_blocks.{layer}', width)
    return state


@fuzz(300, depth=st.integers(1, 13), width=st.integers(1, 4), decoder=st.integers(0, 3),
      way=st.sampled_from(['mae', 'timm', 'simmim']), encoder_only=st.booleans(), seed=SEEDS)
def test_names_there_and_back(depth, width, decoder, way, encoder_only, seed):
    chance = torch.Generator().manual_seed(seed)
    state = some_weights(depth, width, decoder, chance)
    there = convert(state, way, encoder_only)
    encoder = {name: value for name, value in state.items() if name.startswith('backbone.')}
    kept = state if way == 'mae' and not encoder_only else encoder
    assert sorted(there.left_out) == sorted(state.keys() - kept.keys())
    assert detect_naming(there.state) in (way, 'timm')
    back = convert(there.state, 'mmpretrain').state
    assert back.keys() == kept.keys()
    for name, value in kept.items():
        if way == 'simmim' and name.endswith('.attn.qkv.bias'):
            value = value.clone()
            value[width:2 * width] = 0  # SimMIM's keys have no bias
        assert torch.equal(back[name], value), name
