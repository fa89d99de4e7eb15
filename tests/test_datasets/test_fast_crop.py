import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

import io

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmpretrain.datasets import RandomResizedCrop
from PIL import Image

from amt_mm.datasets import (
    DecodeRandomResizedCrop,
    ImageFolder,
    LoadImage,
    RandomResizedCropWithBox,
    ReadImage,
    StagedDataset,
    dataset_fingerprint,
    whole_image_view,
)
from amt_mm.datasets import encoded as encoded_module
from amt_mm.errors import InputError
from amt_mm.registry import TRANSFORMS


def photograph(height, width, seed=0):
    """Colours whose power decreases with the square of frequency, as in photographs."""
    chance = np.random.RandomState(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    planes = [np.fft.ifft2(np.fft.fft2(chance.randn(height, width)) * amplitude).real
              for _ in range(3)]
    image = np.stack(planes, -1)
    # Channels of photographs are correlated.
    image = image + 2 * image.mean(-1, keepdims=True)
    return np.clip(128 + 45 * image / image.std(), 0, 255).astype(np.uint8)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **{'quality': 90, **options})
    return str(path)


def crops(path, load, crop, seeds=range(8)):
    for seed in seeds:
        np.random.seed(seed)
        yield crop(load({'img_path': path})), np.random.random()


def same(found, wanted):
    """Within 1, except one value in 200 because of intermediate rounding."""
    difference = np.abs(found.astype(int) - wanted)
    return (difference > 1).mean() < .005 and difference.max() < 10


FORMATS = {
    '420.jpg': dict(subsampling=2), '422.jpg': dict(subsampling=1), '444.jpg': dict(subsampling=0),
    'progressive.jpg': dict(progressive=True), 'a.png': {}}


@pytest.fixture(params=['libturbojpeg', 'opencv'])
def decoder(request, monkeypatch):
    """With and without libturbojpeg."""
    if request.param == 'opencv':
        monkeypatch.setattr(encoded_module, 'decode_part', lambda *args: None)
    elif encoded_module.decode_part.__globals__['libturbojpeg']() is None:
        pytest.skip('libturbojpeg is not installed')


@pytest.mark.parametrize('name', FORMATS)
@pytest.mark.parametrize('size', [(113, 150), (150, 67), (375, 500)], ids=str)
def test_equals_mmpretrain_with_pillow(tmp_path, decoder, name, size):
    # Same draws, same random stream afterwards, same box, same pixels within 1.
    path = save(tmp_path / name, photograph(*size), **FORMATS[name])
    options = dict(scale=(96, 80), crop_ratio_range=(.2, 1.), interpolation='bicubic',
                   backend='pillow')
    wanted = crops(path, LoadImage(), RandomResizedCropWithBox(**options))
    stock = crops(path, LoadImage(), RandomResizedCrop(**options))
    found = crops(path, ReadImage(), DecodeRandomResizedCrop(**options))
    reduced = min(size) >= 200  # some crops are then decoded at half the size
    for (a, after_a), (b, after_b), (c, after_c) in zip(wanted, found, stock, strict=True):
        assert after_a == after_b == after_c
        assert a['crop_box'] == b['crop_box']
        assert a['img_shape'] == b['img_shape'] == (96, 80, 3)
        assert a['ori_shape'] == b['ori_shape'] == size
        assert same(b['img'], c['img']) or reduced


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('part', [(0, 0, 40, 30), (17, 32, 60, 64), (90, 121, 1, 1)])
def test_parts_equal_those_of_the_whole_image(tmp_path, decoder, part, interpolation):
    path = save(tmp_path / 'a.jpg', photograph(113, 150), subsampling=2)
    top, left, height, width = part
    image = ReadImage()({'img_path': path})['img']
    whole = cv2.imread(path)
    np.testing.assert_array_equal(image.decode(), whole)
    cut = whole[top:top + height, left:left + width]
    np.testing.assert_array_equal(image.part(*part), cut)
    crop = DecodeRandomResizedCrop(scale=24, interpolation=interpolation)
    crop.rand_crop_params = lambda image: setattr(crop, '_drawn', part) or part
    wanted = np.asarray(Image.fromarray(cut).resize(
        (24, 24), getattr(Image.Resampling, interpolation.upper())))
    found = crop(ReadImage()({'img_path': path}))
    assert same(found['img'], wanted)
    assert found['crop_box'] == (left / 150, top / 113, (left + width) / 150,
                                 (top + height) / 113)


def power(images):
    """Power in rings of spatial frequency, without the mean colour."""
    grey = np.stack(images).astype(float).mean(-1)
    side = grey.shape[-1]
    window = np.hanning(side)
    spectrum = np.abs(np.fft.fft2((grey - grey.mean((1, 2), keepdims=True))
                                  * window[:, None] * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    return np.bincount((radius * 16).astype(int).ravel(), spectrum.sum(0).ravel())[:8]


@pytest.mark.parametrize('side, reduction', [(170, 2), (330, 4), (640, 8)])
def test_reduced_decoding_keeps_the_statistics(tmp_path, decoder, monkeypatch, side, reduction):
    seen = []
    part = encoded_module.EncodedImage.part
    monkeypatch.setattr(encoded_module.EncodedImage, 'part',
                        lambda self, *args: seen.append(args[4]) or part(self, *args))
    options = dict(scale=48, crop_ratio_range=(.9, 1.), aspect_ratio_range=(.95, 1.05))
    fast, stock = DecodeRandomResizedCrop(**options), RandomResizedCropWithBox(
        interpolation='bicubic', backend='pillow', **options)
    ours, theirs = [], []
    for seed in range(6):
        path = save(tmp_path / f'{seed}.jpg', photograph(side, side, seed))
        ours += [r['img'] for r, _ in crops(path, ReadImage(), fast, [seed])]
        theirs += [r['img'] for r, _ in crops(path, LoadImage(), stock, [seed])]
    assert set(seen) == {reduction}
    a, b = np.stack(ours).astype(float), np.stack(theirs).astype(float)
    assert np.abs(a - b).mean() < 5  # mostly a subpixel shift
    assert abs(a.mean() - b.mean()) < .2
    assert a.std() / b.std() == pytest.approx(1, abs=.02)
    ratio = power(ours) / power(theirs)
    assert ratio[:4] == pytest.approx(1, abs=.08)   # below half of the highest frequency
    assert ratio[4:] == pytest.approx(1, abs=.3)


def test_shrinking_does_not_alias():
    # One-pixel stripes average to grey; unfiltered sampling would alias.
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = DecodeRandomResizedCrop(scale=100, crop_ratio_range=(1., 1.),
                                   aspect_ratio_range=(1., 1.))
    assert np.ptp(crop({'img': stripes})['img'][:, 5:-5].astype(int)) < 12


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / 'a.jpg', photograph(60, 90), exif=exif)
    options = dict(scale=32, crop_ratio_range=(.2, 1.), interpolation='bicubic', backend='pillow')
    wanted = crops(path, LoadImage(), RandomResizedCropWithBox(**options))
    found = crops(path, ReadImage(), DecodeRandomResizedCrop(**options))
    for (a, _), (b, _) in zip(wanted, found, strict=True):
        assert a['crop_box'] == b['crop_box'] and a['ori_shape'] == b['ori_shape']
        assert same(a['img'], b['img'])


@pytest.mark.parametrize('mode', ['L', 'CMYK', 'RGB'])
def test_other_kinds_of_jpeg(tmp_path, mode):
    path = tmp_path / 'a.jpg'
    Image.fromarray(photograph(60, 90)).convert(mode).save(path)
    crop = DecodeRandomResizedCrop(scale=24, crop_ratio_range=(1., 1.),
                                   aspect_ratio_range=(1.5, 1.5))
    found = crop(ReadImage()({'img_path': str(path)}))['img']
    whole = LoadImage()({'img_path': str(path)})['img']
    wanted = np.asarray(Image.fromarray(whole).resize((24, 24), Image.Resampling.BICUBIC))
    assert same(found, wanted)


def test_truncated_and_missing_files_are_named(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(photograph(60, 90)).save(whole, 'JPEG')
    path = tmp_path / 'broken.jpg'
    path.write_bytes(whole.getvalue()[:-200])
    for name in (path, tmp_path / 'none.jpg'):
        with pytest.raises(InputError, match=name.name) as caught:
            ReadImage()({'img_path': str(name)})
        assert '\n' not in str(caught.value)
        assert ReadImage(ignore_empty=True)({'img_path': str(name)}) is None


@pytest.mark.parametrize('name', ['decode_part', 'cv2.imdecode'])
def test_want_of_memory_names_the_file(tmp_path, monkeypatch, name):
    save(tmp_path / 'a.jpg', photograph(40, 50))

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(encoded_module, 'decode_part', lambda *_: None)
    monkeypatch.setattr(f'amt_mm.datasets.encoded.{name}', fail)
    image = ReadImage()({'img_path': str(tmp_path / 'a.jpg')})
    with pytest.raises(InputError, match=r'a\.jpg: not enough memory to decode it'):
        DecodeRandomResizedCrop(scale=16)(image)


@pytest.mark.parametrize('wrong', [dict(backend='cv2'), dict(interpolation='area')])
def test_another_resizing_is_refused(wrong):
    with pytest.raises(InputError, match='RandomResizedCropWithBox'):
        DecodeRandomResizedCrop(scale=8, **wrong)


def test_a_flip_before_the_crop_is_refused():
    with pytest.raises(InputError, match='DecodeRandomResizedCrop'):
        DecodeRandomResizedCrop(scale=8)({'img': photograph(9, 9), 'flip': True})


@pytest.fixture
def folder(tmp_path):
    for i in range(5):
        save(tmp_path / f'{i}.jpg', photograph(60 + 7 * i, 90, i))
    return tmp_path


def pipeline(load, crop):
    return [dict(type=load), dict(type=crop, scale=32, backend='pillow', interpolation='bicubic'),
            dict(type='RandomFlip', prob=.5), dict(type='amt_mm.PackInputsWithBox')]


SLOW = ('amt_mm.LoadImage', 'amt_mm.RandomResizedCropWithBox')
FAST = ('amt_mm.ReadImage', 'amt_mm.DecodeRandomResizedCrop')


@pytest.mark.slow
@pytest.mark.parametrize('size', [None, (24, 16)])
def test_whole_images_equal_those_of_the_regular_pipeline(folder, size):
    slow, fast = (ImageFolder(str(folder), pipeline=pipeline(*names)) for names in (SLOW, FAST))
    assert dataset_fingerprint(slow) == dataset_fingerprint(fast)
    for a, b in zip(whole_image_view(slow, size), whole_image_view(fast, size), strict=True):
        assert size in (None, a['inputs'].shape[1:])
        np.testing.assert_array_equal(a['inputs'].numpy(), b['inputs'].numpy())
        assert a['data_samples'].sample_idx == b['data_samples'].sample_idx


def test_staged_samples_equal_single_ones(folder):
    # Deterministic (whole crop, no flip), so the order does not matter.
    still = pipeline(*FAST)
    still[1].update(crop_ratio_range=(1., 1.), max_attempts=0)
    still[2].update(prob=0.)
    dataset = ImageFolder(str(folder), pipeline=still)
    staged = StagedDataset(dict(type='ImageFolder', data_root=str(folder), pipeline=still,
                                _scope_='amt_mm'))
    assert len(staged) == 5
    order = [4, 0, 0, 3] * 5  # more than a chunk
    for index, sample in zip(order, staged.__getitems__(order), strict=True):
        np.testing.assert_array_equal(sample['inputs'].numpy(), dataset[index]['inputs'].numpy())
        assert sample['data_samples'].sample_idx == index
    assert dataset_fingerprint(staged) == dataset_fingerprint(dataset)


def test_staged_pixels_come_from_the_box(folder):
    staged = StagedDataset(ImageFolder(str(folder), pipeline=pipeline(*FAST)))
    np.random.seed(0)
    samples = staged.__getitems__(list(range(5)))
    assert len({sample['data_samples'].crop_box for sample in samples}) == 5
    for index, sample in enumerate(samples):
        packed = sample['data_samples']
        image = cv2.imread(staged.get_data_info(index)['img_path'])
        height, width = image.shape[:2]
        x0, y0, x1, y1 = (round(v * s) for v, s in
                          zip(packed.crop_box, (width, height) * 2, strict=True))
        wanted = np.asarray(Image.fromarray(image[y0:y1, x0:x1]).resize(
            (32, 32), Image.Resampling.BICUBIC))
        wanted = wanted[:, ::-1] if packed.flip else wanted
        assert same(sample['inputs'].permute(1, 2, 0).numpy(), wanted)


def test_staged_unreadable_images_are_replaced_by_the_data_set(folder):
    (folder / '2.jpg').write_bytes(b'')
    still = pipeline(*FAST)
    still[0]['ignore_empty'] = True
    staged = StagedDataset(ImageFolder(str(folder), pipeline=still))
    indices = [sample['data_samples'].sample_idx for sample in staged.__getitems__([1, 2, 3])]
    assert indices[0] == 1 and indices[2] == 3 and indices[1] != 2


def test_is_built_from_a_config():
    crop = Compose([TRANSFORMS.build(dict(type='amt_mm.DecodeRandomResizedCrop', scale=16))])
    assert isinstance(crop.transforms[0], RandomResizedCropWithBox)
