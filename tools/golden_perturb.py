"""Golden numbers of disturbed models on a tiny one: attention cut, tokens missing, gradient maps, in torch float64.

Usage: golden_perturb.py [FILE]    (default: tests/data/atlas/perturb.safetensors)

The model is tests/data/golden/vit_base, the pictures and label maps are those of golden_atlas.py. The forward pass is written out
here on timm's weights; gradients come from torch's autograd, not from formulas.
"""

import os

os.environ.setdefault("TIMM_FUSED_ATTN", "0")

import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_model_data_config

sys.path.insert(0, str(Path(__file__).resolve().parent))
from golden_atlas import LABELS, ROOT, open_model

PREFIX, SIDE, GRID = 1, 32, 4
PATCHES = GRID * GRID


def embed(model, images):
    x = model.patch_embed(images)
    return torch.cat([model.cls_token.expand(len(x), -1, -1), x], 1) + model.pos_embed


def attention(block, x, change=None):
    a, (n, tokens, dim) = block.attn, x.shape
    q, k, v = a.qkv(block.norm1(x)).reshape(n, tokens, 3, a.num_heads, dim // a.num_heads).permute(2, 0, 3, 1, 4)
    pattern = ((q @ k.transpose(-2, -1)) * (dim // a.num_heads) ** -0.5).softmax(-1)
    if change:
        pattern = change(pattern)
    return pattern, v, lambda p: a.proj((p @ v).transpose(1, 2).reshape(n, tokens, dim))


def run(model, x, change=None):
    """Logits, and the last residual stream."""
    for block in model.blocks:
        pattern, _, mix = attention(block, x, change)
        x = x + mix(pattern)
        x = x + block.mlp(block.norm2(x))
    return model.head(model.norm(x)[:, 0]), x


def lens(model, x):
    return model.head(model.norm(x))


def place(z, truth):
    """Classes before the true one; equals count when they come first."""
    at = z.gather(-1, truth[..., None])
    before = torch.arange(z.shape[-1]) < truth[..., None]
    return (z > at).sum(-1) + ((z == at) & before).sum(-1)


def self_only(pattern):
    pattern = pattern.clone()
    pattern[:, :, PREFIX:] = 0
    for t in range(PREFIX, pattern.shape[-1]):
        pattern[:, :, t, t] = 1
    return pattern


def no_cls(pattern):
    pattern = pattern.clone()
    pattern[:, :, PREFIX:, 0] = 0
    return pattern


def gradient_maps(model, x, truth, double):
    total = torch.zeros(len(x), PATCHES, dtype=torch.float64)
    for block in model.blocks:
        pattern, _, mix = attention(block, x.detach())
        pattern = pattern.detach().requires_grad_()
        out = mix(pattern)
        z = lens(model, out[:, 0])
        loss = F.cross_entropy(z.softmax(-1) if double else z, truth, reduction="sum")
        total -= torch.autograd.grad(loss, pattern)[0][:, :, 0, PREFIX:].sum(1)
        x = x + out.detach()
        x = (x + block.mlp(block.norm2(x))).detach()
    return total


def relevance(model, images, truth):
    """Chefer et al. 2021: the whole matrix R, as published; gradients of the class's logit at every pattern of one graph."""
    x, patterns = embed(model, images), []
    for block in model.blocks:
        pattern, _, mix = attention(block, x)
        patterns.append(pattern)
        x = x + mix(pattern)
        x = x + block.mlp(block.norm2(x))
    z = model.head(model.norm(x)[:, 0]).gather(1, truth[:, None]).sum()
    R = torch.eye(x.shape[1], dtype=x.dtype).expand(len(x), -1, -1)
    for pattern, gradient in zip(patterns, torch.autograd.grad(z, patterns)):
        R = R + (pattern * gradient).clamp(min=0).mean(1).detach() @ R
    return R[:, 0, PREFIX:]


def recorded_relevance(name, c):
    """The same on timm's own forward pass, of a recorded case's input."""
    folder = ROOT / "tests/data/golden" / name
    config = json.loads((folder / "config.json").read_text())
    model = timm.create_model(config["architecture"], pretrained=False, **config["model_args"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    model, patterns = model.double().eval(), []
    for block in model.blocks:
        block.attn.attn_drop.register_forward_hook(lambda module, args, out: patterns.append(out))
    z = model(load_file(folder / "golden.safetensors")["input"].double())
    R = torch.eye(patterns[0].shape[-1], dtype=z.dtype).expand(len(z), -1, -1)
    for pattern, gradient in zip(patterns, torch.autograd.grad(z[:, c].sum(), patterns)):
        R = R + (pattern * gradient).clamp(min=0).mean(1).detach() @ R
    return R[:, 0, model.num_prefix_tokens:]


def neuron_gradient(model, image, block_at, neuron, c):
    image = image.clone().requires_grad_()
    x = embed(model, image[None])
    for block in model.blocks[:block_at + 1]:
        pattern, _, mix = attention(block, x)
        x = x + mix(pattern)
        hidden = block.mlp.act(block.mlp.fc1(block.norm2(x)))
        out = block.mlp.fc2(hidden)
        x = x + out
    order = np.argsort(-lens(model, out)[0, PREFIX:, c].detach().numpy(), kind="stable")[:3]
    goal = sum(0.5 ** n * hidden[0, PREFIX + int(t), neuron] for n, t in enumerate(order))
    g = torch.autograd.grad(goal, image)[0].clamp(0, 1)
    cells = F.avg_pool2d(g[None], SIDE // GRID)[0]
    grey = 0.299 * cells[0] + 0.587 * cells[1] + 0.114 * cells[2]
    return ((grey - grey.min()) / (grey.max() - grey.min())).flatten()


def best_neurons(model):
    """Per class the key neuron of all blocks with the largest ln alignment."""
    norm, E = model.norm, model.head.weight
    scores = []
    for block in model.blocks:
        v = block.mlp.fc2.weight.T
        scores.append(F.layer_norm(v, v.shape[-1:], norm.weight, norm.bias, norm.eps) @ E.T + model.head.bias)
    flat = torch.cat(scores).detach().numpy()
    best = [int(np.argsort(-flat[:, c], kind="stable")[0]) for c in range(flat.shape[1])]
    width = scores[0].shape[0]
    return [(i // width, i % width) for i in best]


def kept_logits(model, x, keep):
    return run(model, torch.cat([x[:, :PREFIX], x[:, [PREFIX + int(t) for t in keep]]], 1))


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/data/atlas/perturb.safetensors"
    folder = ROOT / "tests/data/atlas"
    model = open_model().double()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    files = sorted(folder.glob("pictures/class_*/*.png"))
    truth = torch.tensor([int(p.parent.name.split("_")[1]) for p in files])
    images = torch.stack([transform(Image.open(p).convert("RGB")) for p in files]).double()
    n, out = len(files), {}
    with torch.no_grad():
        x = embed(model, images)
        logits, last = run(model, x)
        assert (logits - model(images)).abs().max() < 1e-12
        hit = place(logits, truth) == 0
        known = place(lens(model, last)[:, PREFIX:], truth[:, None].expand(-1, PATCHES)) == 0

        rows = []  # images, hits, base hits, tokens, identifiable, base identifiable
        for change in (self_only, no_cls):
            z, end = run(model, x, change)
            k = place(lens(model, end)[:, PREFIX:], truth[:, None].expand(-1, PATCHES)) == 0
            rows.append([n, (place(z, truth) == 0).sum(), hit.sum(), n * PATCHES, k.sum(), known.sum()])
            out[f"logits_{change.__name__}"] = z
        take = np.floor((np.arange(SIDE) + 2 + 0.5) * 40 / 35).astype(int)  # resize 40 to 35, crop 32 from 2
        for majority in (False, True):
            for kept_label in (1, 0):
                row = np.zeros(6)
                for i, p in enumerate(files):
                    mask = np.asarray(Image.open(folder / f"truth/images/object/{p.parent.name}/{p.stem}.png"))[:, :, 0]
                    mask = mask[np.ix_(take, take)] == LABELS.index(int(truth[i])) + 1
                    if not mask.any():
                        continue
                    cells = mask.reshape(GRID, SIDE // GRID, GRID, SIDE // GRID)
                    label = cells.mean((1, 3)) > 0.5 if majority else cells[:, 0, :, 0]
                    keep = np.flatnonzero(label.ravel() == bool(kept_label))
                    z, end = kept_logits(model, x[i:i + 1], keep)
                    k = place(lens(model, end)[0, PREFIX:], truth[i].expand(len(keep))) == 0
                    row += [1, place(z, truth[i:i + 1]).item() == 0, hit[i], len(keep), k.sum(), known[i, keep].sum()]
                if majority:
                    out[f"majority_{kept_label}"] = torch.tensor(row)
                else:
                    rows.append(row)
        out["rows"] = torch.tensor(np.array([[float(v) for v in r] for r in rows]))

    single, double = (gradient_maps(model, x, truth, d) for d in (False, True))
    out["map_single"], out["map_double"] = single, double
    out["relevance"] = relevance(model, images, truth)
    for name in ("deit3_base", "vit_base_qk_norm"):
        out[f"relevance.{name}"] = recorded_relevance(name, 3)
    best = best_neurons(model)
    out["neuron_gradient"] = torch.stack([neuron_gradient(model, images[i], *best[truth[i]], int(truth[i])) for i in range(n)])

    with torch.no_grad():
        y, coefficient = x, []
        for block in model.blocks:
            pattern, _, mix = attention(block, y)
            y = y + mix(pattern)
            coefficient.append(block.mlp.act(block.mlp.fc1(block.norm2(y)))[:, PREFIX:])
            y = y + block.mlp(block.norm2(y))
        neuron = torch.stack([coefficient[best[c][0]][i, :, best[c][1]] for i, c in enumerate(truth.tolist())])
        others = torch.nn.functional.one_hot(truth, logits.shape[1]).bool()
        curves = np.zeros((6, PATCHES + 1, 2))
        for m, maps in enumerate((double, neuron, out["relevance"])):
            for sign in range(2):
                for removed in range(PATCHES + 1):
                    for i in range(n):
                        order = np.argsort(-maps[i].numpy(), kind="stable")
                        order = order[::-1] if sign else order
                        z, _ = kept_logits(model, x[i:i + 1], order[removed:])
                        margin = z[0, truth[i]] - z[0].masked_fill(others[i], -np.inf).max()
                        curves[2 * m + sign, removed] += [place(z, truth[i:i + 1]).item() == 0, margin / n]
        out["curves"] = torch.tensor(curves)
        accuracy = curves[:, :, 0] / n
        out["auc"] = torch.tensor(np.trapezoid(accuracy, dx=1 / PATCHES, axis=1))
        inner = accuracy[:, 1:PATCHES]
        out["auc_published"] = torch.tensor(inner.sum(1) / (inner.max(1) * PATCHES))
    save_file({k: v.double().contiguous() for k, v in out.items()}, path,
              metadata={"recorded_with": f"torch {torch.__version__}, timm {timm.__version__}"})
    print(out["rows"], hit.sum(), out["auc"], out["auc_published"])


if __name__ == "__main__":
    main()
