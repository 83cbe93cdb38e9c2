#!/usr/bin/env python3
"""Writes torch_rows.safetensors: inputs, outputs and gradients of layer_norm, softmax and gelu by PyTorch in float64.

Inputs are exact in float32, so that a computation in either type starts from the same numbers. Names are op.case.tensor, the
options of a case are JSON in the metadata under op.case, as in torch_layers.safetensors.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(20)
tensors, metadata = {}, {"torch": torch.__version__}


def draw(*shape, scale=1.0, shift=0.0):
    return (torch.randn(*shape, dtype=torch.float64) * scale + shift).float().double()


def case(name, inputs, options, f):
    leaves = {k: v.clone().requires_grad_() for k, v in inputs.items()}
    y = f(**leaves)
    gy = draw(*y.shape)
    y.backward(gy)
    for k, v in inputs.items():
        tensors[f"{name}.{k}"] = v
        tensors[f"{name}.g{k}"] = leaves[k].grad
    tensors[f"{name}.y"], tensors[f"{name}.gy"] = y.detach(), gy
    metadata[name] = json.dumps(options)


for i, (shape, eps) in enumerate([((1, 3), 1e-5), ((7, 33), 1e-5), ((2, 5, 130), 1e-3)]):
    c = shape[-1]
    inputs = {"x": draw(*shape, scale=2, shift=3), "weight": draw(c, scale=0.5, shift=1), "bias": draw(c)}
    case(f"layer_norm.{i}", inputs, {"eps": eps}, lambda x, weight, bias: F.layer_norm(x, (x.shape[-1],), weight, bias, eps))
for i, shape in enumerate([(1, 1), (5, 19), (3, 2, 257)]):
    case(f"softmax.{i}", {"x": draw(*shape, scale=3)}, {"dim": -1}, lambda x: F.softmax(x, dim=-1))
for i, shape in enumerate([(9,), (13, 37)]):
    case(f"gelu.{i}", {"x": draw(*shape, scale=2)}, {"approximate": "none"}, lambda x: F.gelu(x))

header, data, at = {"__metadata__": metadata}, [], 0
for name, t in tensors.items():
    raw = t.contiguous().numpy().astype("<f8").tobytes()
    header[name] = {"dtype": "F64", "shape": list(t.shape), "data_offsets": [at, at + len(raw)]}
    data.append(raw)
    at += len(raw)
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
path = pathlib.Path(__file__).with_suffix(".safetensors")
path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))
print(path.name, path.stat().st_size)
