"""The encoder as a program of torch.export, which runs without this package."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.errors import InputError
from amt_mm.evaluation.features import evaluating

from .encoder import LoadedEncoder
from .pixel_encoder import PixelEncoder

# The program has the operators of the encoder, so the same bits are expected on most machines.
_TOLERANCE = 1e-5


def write_torch(loaded: LoadedEncoder, path: Path) -> list[str]:
    """Write the file, and compare what it computes with the encoder.

    Args:
        loaded: The encoder.
        path: A ``.pt2`` file; the batch is dynamic, the size of images that of the encoder.

    Returns:
        Lines to say.

    Raises:
        InputError: The program computes something else.
    """
    network, content = PixelEncoder.of(loaded), io.BytesIO()
    pixels = network.example()
    with evaluating(network):
        program = torch.export.export(
            network, (pixels[:2], ), dynamic_shapes={'pixels': {0: torch.export.Dim('batch')}})
        for node in program.graph.nodes:
            node.meta.pop('stack_trace', None)  # paths of this machine
        torch.export.save(program, content)
        # Of another batch than that of the export.
        found = torch.export.load(io.BytesIO(content.getvalue())).module()(pixels)
        difference = max(float((theirs - ours).abs().max())
                         for theirs, ours in zip(found, network(pixels), strict=True))
    if not difference <= _TOLERANCE:
        raise InputError(f'the exported program differs from the encoder by {difference:.1e}, more '
                         f'than {_TOLERANCE:g}: nothing is written')
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return [f"load: torch.export.load('{path}').module()", network.inputs(), network.outputs(),
            f'check: the program agrees with the encoder to {difference:.1e}']
