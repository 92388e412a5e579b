"""Golden numbers of distances between classes on a tiny model: every reading, raw and normalised, in numpy float64.

Usage: golden_distances.py [FILE]    (default: tests/data/atlas/distances.safetensors)

The model is tests/data/golden/vit_base, the pictures are those of golden_atlas.py. Maps are normalised image by image here, and
distances of images taken pair by pair: nothing follows from sums.
"""

import os

os.environ.setdefault("TIMM_FUSED_ATTN", "0")

import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

sys.path.insert(0, str(Path(__file__).resolve().parent))
from golden_atlas import CLASSES, LABELS, ROOT, forward, open_model
from golden_key_values import stable_top

# in the order of the array
READINGS = [("D1", 1), ("D2", 1), ("D3", 1), ("D1", 3), ("D1c", 3), ("D2", 3), ("D3", 3)]


def compared(name, own):
    """own: for each class [images, k, patches] of its own neurons. Distances, and the mean length of what is compared."""
    if name == "D1c":
        own = [x.reshape(len(x), 1, -1) for x in own]  # the k maps one behind the other
    maps = [x.mean(1) for x in own]  # [images, numbers]
    n = len(maps)
    d = np.zeros((n, n))
    for a in range(n):
        for b in range(n):
            if name == "D2":
                pairs = [((x - y) ** 2).sum() for i, x in enumerate(maps[a]) for j, y in enumerate(maps[b]) if a != b or i != j]
                d[a, b] = np.sqrt(np.mean(pairs))
            else:
                d[a, b] = np.linalg.norm(maps[a].mean(0) - maps[b].mean(0))
    lengths = [np.sqrt((x ** 2).sum(1).mean()) if name == "D2" else np.linalg.norm(x.mean(0)) for x in maps]
    return d, np.mean(lengths)


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/data/atlas/distances.safetensors"
    model = open_model()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    paths = sorted((ROOT / "tests/data/atlas/pictures").glob("class_*/*.png"))
    truth = np.array([int(p.parent.name.split("_")[1]) for p in paths])
    seen = forward(model, torch.stack([transform(Image.open(p).convert("RGB")) for p in paths]))
    state = {k: v.double().numpy() for k, v in model.state_dict().items()}
    E, gamma, beta, bias = (state[k] for k in ("head.weight", "norm.weight", "norm.bias", "head.bias"))
    blocks = len(model.blocks)
    shape = (len(READINGS), blocks, CLASSES, CLASSES)
    distance, per_norm, zscore = np.zeros(shape), np.full(shape, np.nan), np.full(shape, np.nan)
    for b in range(blocks):
        maps = seen[f"post{b}"][:, 1:]  # [images, patches, neurons]
        mean, deviation = maps.mean((0, 1)), maps.std((0, 1))
        scaled = (maps - mean) / deviation
        v = state[f"blocks.{b}.mlp.fc2.weight"].T
        ln = (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + model.norm.eps) * gamma @ E.T + E @ beta + bias
        for i, (name, k) in enumerate(READINGS):
            first = [stable_top(ln[:, c], k) for c in range(E.shape[0])]
            own_of = lambda x: [x[truth == c][:, :, first[c]].transpose(0, 2, 1) for c in LABELS]
            if name == "D3":  # class means of the same neurons, of all classes of the model; a z-score already
                union = sorted({int(j) for c in first for j in c})
                p = np.stack([scaled[truth == c].mean((0, 1))[union] for c in LABELS])
                distance[i, b] = zscore[i, b] = np.linalg.norm(p[:, None] - p[None], axis=2)
                continue
            distance[i, b], length = compared(name, own_of(maps))
            per_norm[i, b] = distance[i, b] / length
            if (name, k) != ("D2", 3):  # keyhole does not tell it
                zscore[i, b] = compared(name, own_of(scaled))[0]
    out = {"distance": distance, "per_norm": per_norm, "zscore": zscore}
    save_file({k: torch.from_numpy(np.nan_to_num(v, nan=-999.0)) for k, v in out.items()}, path,
              metadata={"recorded_with": f"numpy {np.__version__}, torch {torch.__version__}, timm {timm.__version__}"})
    print({k: [float(f"{np.nanmin(v):.3g}"), float(f"{np.nanmax(v):.3g}")] for k, v in out.items()})


if __name__ == "__main__":
    main()
