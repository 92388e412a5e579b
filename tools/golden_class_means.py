"""Golden numbers of class means over chosen images and tokens, and of the strongest neuron of each image, in plain numpy float64.

Usage: golden_class_means.py [FILE]    (default: tests/data/atlas/class_means.safetensors)

Models tests/data/golden/vit_base and, for tokens that are neither class token nor patches, reg4_gap_base; pictures and the forward
pass (timm's in float64) are those of golden_atlas.py, the reductions are taken here over whole arrays. Rows of means are those of
classes with images, in order; a list of strongest neurons is (neuron, images), ended by (-1, 0).
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
from golden_atlas import ROOT, forward, open_model

SHOWN, NOWHERE = 10, 1000
CHOSEN = {"vit_base": [("truth", "mean"), ("predicted", "cls"), ("correct", "max"), ("truth", "all"), ("predicted", "mean")],
          "reg4_gap_base": [("truth", "all")]}


def look(name):
    model = open_model(ROOT / "tests/data/golden" / name)
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    paths = sorted((ROOT / "tests/data/atlas/pictures").glob("class_*/*.png"))
    seen = forward(model, torch.stack([transform(Image.open(p).convert("RGB")) for p in paths]))
    post = np.stack([seen[f"post{b}"] for b in range(len(model.blocks))], 1)  # [images, blocks, tokens, neurons]
    return post, model.num_prefix_tokens, np.array([int(p.parent.name.split("_")[1]) for p in paths]), seen["logits"]


def main():
    out, closest = {}, np.inf
    for name, choices in CHOSEN.items():
        post, prefix, truth, logits = look(name)
        ranked = np.sort(logits, 1)
        closest = min(closest, (ranked[:, -1] - ranked[:, -2]).min())
        called = logits.argmax(1)
        of = {"truth": truth, "predicted": called, "correct": np.where(called == truth, truth, NOWHERE)}
        reduced = {"mean": post[:, :, prefix:].mean(2), "max": post[:, :, prefix:].max(2), "all": post.mean(2), "cls": post[:, :, 0]}
        for by, tokens in choices:
            key, x, c = f"{name}_{by}_{tokens}", reduced[tokens], of[by]
            n = np.bincount(c, minlength=NOWHERE + 1)[:logits.shape[1]]
            present = np.flatnonzero(n)
            out[f"{key}_n"] = n
            out[f"{key}_mean"] = np.stack([x[c == k].mean(0) for k in present])
            top = np.sort(x, 2)
            closest = min(closest, (top[..., -1] - top[..., -2]).min())
            lists = np.full((len(present), x.shape[1], SHOWN, 2), (-1, 0))
            for i, k in enumerate(present):
                for b in range(x.shape[1]):
                    times = np.bincount(x[c == k, b].argmax(1), minlength=x.shape[2])
                    order = sorted(np.flatnonzero(times), key=lambda j: (-times[j], j))[:SHOWN]
                    lists[i, b, :len(order)] = [(j, times[j]) for j in order]
            out[f"{key}_argmax"] = lists
            print(key, {int(k): int(n[k]) for k in present})
    assert closest > 1e-4, closest  # or the largest would be another one in float32
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/data/atlas/class_means.safetensors"
    save_file({k: torch.from_numpy(np.ascontiguousarray(v, dtype=np.float32)) for k, v in out.items()}, path,
              metadata={"recorded_with": f"numpy {np.__version__}, torch {torch.__version__}, timm {timm.__version__}"})
    print(f"{sum(v.size for v in out.values())} numbers; the closest two largest are {closest:.2g} apart")


if __name__ == "__main__":
    main()
