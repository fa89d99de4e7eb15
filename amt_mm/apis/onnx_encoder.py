"""The encoder as an ONNX file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.errors import InputError
from amt_mm.evaluation.features import evaluating

from .encoder import LoadedEncoder
from .pixel_encoder import PixelEncoder

# What the exporter of torch writes without converting it afterwards.
OPSET = 18
# Largest difference to torch: fp32 sums in another order.
_TOLERANCE = 1e-4


def write_onnx(loaded: LoadedEncoder, path: Path, int8: bool = False) -> list[str]:
    """Write the file and, where onnxruntime is installed, compare it with torch.

    Args:
        loaded: The encoder.
        path: A ``.onnx`` file; the batch is dynamic, the size of images that of the encoder.
        int8: Store the weights of all linear layers in 8 bits, one scale for each output, and
            compute these layers in 8 bits, on inputs scaled anew for each batch. Patch embedding,
            attention and norms stay in fp32. Defaults to False.

    Returns:
        Lines to say.

    Raises:
        InputError: A package is missing, or onnxruntime computes something else.
    """
    needed = ('onnx', 'onnxscript', *(['onnxruntime'] if int8 else []))
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f'ONNX needs {" and ".join(missing)}: pip install {" ".join(missing)}')
    network = PixelEncoder.of(loaded)
    pixels = network.example()
    with evaluating(network), atomic_file(path) as temporary:
        program = torch.onnx.export(
            network, (pixels[:2], ), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=['pixels'], output_names=['tokens', 'features'],
            dynamic_shapes={'pixels': {0: torch.export.Dim('batch')}})
        program.save(temporary, external_data=False)
        checked = [_compare(network, temporary, pixels)]
        if int8:
            checked.append(_quantize(temporary, pixels))
    return [f"load: onnxruntime.InferenceSession('{path}')",
            f'{network.inputs()}; opset {OPSET}', network.outputs(), *checked]


def _compare(network: PixelEncoder, path: Path, pixels: Tensor) -> str:
    """Run both on a batch of another size than that of the export."""
    if importlib.util.find_spec('onnxruntime') is None:
        return 'note: not checked, since onnxruntime is not installed'
    found = _run(path, pixels)
    difference = max(float((theirs - ours).abs().max())
                     for theirs, ours in zip(found, network(pixels), strict=True))
    if not difference <= _TOLERANCE:
        raise InputError(f'onnxruntime differs from torch by {difference:.1e}, more than '
                         f'{_TOLERANCE:g}: nothing is written')
    return f'check: onnxruntime agrees with torch to {difference:.1e}'


def _quantize(path: Path, pixels: Tensor) -> str:
    """Replace the linear layers of a file by those of 8 bits, and say what that changes."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    _, whole = _run(path, pixels)
    quant_pre_process(onnx.load(path), str(path), skip_optimization=True, skip_symbolic_shape=True)
    # Sums of signed weights overflow 16 bits on processors without VNNI.
    quantize_dynamic(path, path, op_types_to_quantize=['MatMul', 'Gemm'], per_channel=True,
                     weight_type=QuantType.QUInt8)
    _, rounded = _run(path, pixels)
    cosine = float(torch.cosine_similarity(whole, rounded).min())
    return f'check: features in 8 bits have a cosine of {cosine:.5f} or more with those in fp32'


def _run(path: Path, pixels: Tensor) -> list[Tensor]:
    """Compute tokens and features by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    found = session.run(['tokens', 'features'], {'pixels': pixels.numpy()})
    return [torch.from_numpy(values) for values in found]
