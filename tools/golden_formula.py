"""Deterministic weights and images without any file: a hash of the tensor's name seeds a mixer of the index."""

import numpy as np
import torch

FORMULA = (
    "h = FNV-1a-32(name); z = (i+1)*0x9E3779B1 + h; z ^= z>>15; z *= 0x2C1B3C6D; z ^= z>>12; z *= 0x297A2D39; "
    "z ^= z>>15 (uint32); u = 2*z/2^32 - 1; value = fp32(off + scale*u); (off, scale): 1-D *.weight (1, 0.2), "
    "*.bias (0, 0.1), gamma (0, 0.5), tokens and pos_embed (0, 0.5), other weights (0, sqrt(3/fan_in)), image (0, 1)"
)


def fnv1a(data):
    h = 0x811C9DC5
    for byte in data:
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def mix(name, count):
    """The first `count` mixed uint32 of a name."""
    with np.errstate(over="ignore"):
        z = (np.arange(1, count + 1, dtype=np.uint32) * np.uint32(0x9E3779B1)) + np.uint32(fnv1a(name.encode()))
        z ^= z >> np.uint32(15)
        z *= np.uint32(0x2C1B3C6D)
        z ^= z >> np.uint32(12)
        z *= np.uint32(0x297A2D39)
        z ^= z >> np.uint32(15)
    return z


def tensor(name, shape, off=0.0, scale=1.0):
    u = 2.0 * mix(name, int(np.prod(shape))).astype(np.float64) / 4294967296.0 - 1.0
    return torch.from_numpy((off + scale * u).astype(np.float32).reshape(shape))


TOKENS = ("cls_token", "dist_token", "reg_token", "pos_embed", "attn_pool.latent", "register_tokens", "mask_token")


def weight(name, shape):
    """The tensor of a timm name; the first rule that fits gives (off, scale)."""
    if len(shape) == 1 and name.endswith(".weight"):
        return tensor(name, shape, 1.0, 0.2)
    if name.endswith(".bias"):
        return tensor(name, shape, 0.0, 0.1)
    if name.endswith("gamma"):
        return tensor(name, shape, 0.0, 0.5)
    if name in TOKENS:
        return tensor(name, shape, 0.0, 0.5)
    fan_in = int(np.prod(shape[1:]))
    return tensor(name, shape, 0.0, float(np.sqrt(3.0 / fan_in)))


def image(batch, height, width):
    return tensor("image", (batch, 3, height, width))


def photo(name, width, height):
    """An RGB image [height, width, 3] of the top 8 bits."""
    return (mix(name, width * height * 3) >> np.uint32(24)).astype(np.uint8).reshape(height, width, 3)


@torch.no_grad()
def fill(model):
    """Every parameter of a timm model by the formula, under its own name."""
    for name, value in model.state_dict().items():
        value.copy_(weight(name, tuple(value.shape)))
    return model
