"""Golden numbers of ablations on a tiny model: PyTorch in float64 with forward hooks that change coefficients.

Usage: golden_ablation.py [FOLDER]    (default: tests/data/atlas; its pictures/ must be there, see golden_atlas.py)

Writes ablation.safetensors. The model is tests/data/golden/vit_base. Nothing here shares code with keyhole: the edit happens at the activation
function's output and the whole model runs again, where keyhole updates the residual stream and resumes behind the block.
"""

import os

os.environ.setdefault("TIMM_FUSED_ATTN", "0")

import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_model_data_config

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "tests/data/golden/vit_base"
PREFIX, K, FEW = 1, 10, 4
SIDE, GRID = 32, 4  # pixels of the model's input, patches in a row


def open_model():
    config = json.loads((MODEL / "config.json").read_text())
    model = timm.create_model(config["architecture"], pretrained=False, **config["model_args"])
    model.load_state_dict(load_file(MODEL / "model.safetensors"))
    model.pretrained_cfg.update(config["pretrained_cfg"])
    return model.eval().double()


def read(folder, model):
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    paths = sorted((folder / "pictures").glob("class_*/*.png"))
    truth = np.array([int(p.parent.name.split("_")[1]) for p in paths])
    return torch.stack([transform(Image.open(p).convert("RGB")) for p in paths]).double(), truth


def masks(folder, truth, majority):
    """Patches [images, patches] that show the image's class, from the label maps."""
    take = np.floor((np.arange(SIDE) + 2 + 0.5) * 40 / 35).astype(int)  # resize 40 to 35, crop 32 from 2
    labels = sorted(set(truth.tolist()))
    out = []
    for i, p in enumerate(sorted((folder / "pictures").glob("class_*/*.png"))):
        labelled = np.asarray(Image.open(folder / f"truth/images/object/{p.parent.name}/{p.stem}.png"))[:, :, 0]
        shown = labelled[np.ix_(take, take)] == labels.index(truth[i]) + 1
        cells = shown.reshape(GRID, SIDE // GRID, GRID, SIDE // GRID)
        out.append((cells.mean((1, 3)) > 0.5 if majority else cells[:, 0, :, 0]).ravel())
    return np.stack(out)


def run(model, images, edits=None):
    """edits: {block: f(a)} on coefficients [images, tokens, neurons]. Returns logits and the coefficients."""
    seen, handles = {}, []
    for b, block in enumerate(model.blocks):
        def hook(module, args, out, b=b):
            if edits and b in edits:
                out = edits[b](out.clone())
            seen[b] = out.detach()
            return out
        handles.append(block.mlp.act.register_forward_hook(hook))
    with torch.no_grad():
        logits = model(images)
    for h in handles:
        h.remove()
    return logits, seen


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/data/atlas"
    model = open_model()
    images, truth = read(folder, model)
    base, coefficients = run(model, images)
    blocks, neurons = len(model.blocks), model.blocks[0].mlp.fc1.out_features
    n = len(images)
    out = {"base": base}

    # every neuron alone set to zero, on a few images
    single = torch.zeros(blocks, neurons, FEW, base.shape[1], dtype=torch.float64)
    for b in range(blocks):
        for j in range(neurons):
            def zero(a, j=j):
                a[:, :, j] = 0
                return a
            single[b, j] = run(model, images[:FEW], {b: zero})[0]
    out["single"] = single

    # alignment `ln`: the true head on every value vector
    def order(b):
        v = model.blocks[b].mlp.fc2.weight.detach().T
        with torch.no_grad():
            ln = model.head(model.norm(v))
        return np.stack([np.argsort(-ln[:, c].numpy(), kind="stable") for c in range(ln.shape[1])])

    orders = [order(b) for b in range(blocks)]
    means = []
    for b in range(blocks):
        a = coefficients[b]
        means.append(torch.stack([a[:, 0].mean(0), a[:, PREFIX:].mean((0, 1))]))  # class token, patches

    # the first K of each image's own class: op, tokens
    def own(b, value, tokens, k):
        def change(a):
            for i in range(n):
                for j in orders[b][truth[i]][:k]:
                    new = value(i, a[i, :, j], j)
                    these = tokens(i) if callable(tokens) else tokens
                    a[i, these, j] = new[these]
            return a
        return run(model, images, {b: change})[0]

    every, cls, patches = slice(None), slice(0, 1), slice(PREFIX, None)
    first, majority = (masks(folder, truth, m) for m in (False, True))
    out["mask"], out["mask_majority"] = torch.tensor(first * 1.0), torch.tensor(majority * 1.0)
    for b in range(blocks):
        def mean(i, a, j, b=b):
            new = torch.full_like(a, float(means[b][1, j]))
            new[0] = means[b][0, j]
            return new

        out[f"mean{b}"] = own(b, mean, every, K)
        out[f"zero{b}"] = own(b, lambda i, a, j: 0 * a, every, K)
        out[f"scale{b}"] = own(b, lambda i, a, j: 2.5 * a, every, K)
        out[f"cls{b}"] = own(b, lambda i, a, j: 0 * a, cls, K)
        out[f"patches{b}"] = own(b, lambda i, a, j: 0 * a, patches, K)
        out[f"half{b}"] = own(b, mean, every, neurons // 2)
        out[f"most{b}"] = own(b, mean, every, neurons - 3)
        out[f"all{b}"] = own(b, mean, every, neurons)
        out[f"mask{b}"] = own(b, mean, lambda i: PREFIX + np.flatnonzero(first[i]), K)
        out[f"context{b}"] = own(b, mean, lambda i: PREFIX + np.flatnonzero(~first[i]), K)
        out[f"majority{b}"] = own(b, lambda i, a, j: 0 * a, lambda i: PREFIX + np.flatnonzero(majority[i]), neurons)

    # both blocks at once
    def both(a, b):
        for i in range(n):
            a[i][:, orders[b][truth[i]][:K].copy()] = 0
        return a

    out["global"] = run(model, images, {b: (lambda a, b=b: both(a, b)) for b in range(blocks)})[0]

    # the class's own means
    b = 1
    own_mean = {c: torch.stack([coefficients[b][truth == c][:, 0].mean(0), coefficients[b][truth == c][:, PREFIX:].mean((0, 1))])
                for c in set(truth)}

    def class_mean(i, a, j):
        new = torch.full_like(a, float(own_mean[truth[i]][1, j]))
        new[0] = own_mean[truth[i]][0, j]
        return new

    out["class_mean1"] = own(b, class_mean, every, K)

    # contribution of every neuron of the last block to the true class: coefficient at the class token, fold, over sigma
    with torch.no_grad():
        x = {}
        h = model.norm.register_forward_pre_hook(lambda module, args: x.setdefault("x", args[0].detach()))
        model(images)
        h.remove()
    sigma = torch.sqrt(x["x"][:, 0].var(1, unbiased=False) + model.norm.eps)
    v = model.blocks[1].mlp.fc2.weight.detach().T
    fold = ((v - v.mean(1, keepdim=True)) * model.norm.weight) @ model.head.weight.T  # [neurons, classes]
    labels = sorted(set(truth))
    given = coefficients[1][:, 0] / sigma[:, None]
    out["contribution1"] = torch.stack([(given[truth == c].mean(0) * fold[:, c]) for c in labels])
    edit = (coefficients[1][:, 0] - means[1][0]) / sigma[:, None]
    out["direct1"] = torch.stack([(edit[truth == c].mean(0) * fold[:, c]) for c in labels])

    tensors = {k: t.detach().double().contiguous() for k, t in out.items()}
    save_file(tensors, folder / "ablation.safetensors", {"torch": torch.__version__, "timm": timm.__version__})
    print(f"{len(tensors)} tensors, {sum(t.numel() for t in tensors.values())} numbers")


if __name__ == "__main__":
    main()
