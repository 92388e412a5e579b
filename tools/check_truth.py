#!/usr/bin/env python3
"""Computes the scores of `keyhole truth` again with other means and prints the largest difference of each column.

    keyhole diorama --count 250 --seed 4 --out SCENES
    keyhole truth MODEL --seed 4 --out TRUTH
    tools/check_truth.py MODEL SCENES TRUTH

Label maps come from the files of `keyhole diorama`, the forward pass and the ranking (mode ln) from timm, the
upsampling from torch, the percentile from numpy; AUROC is counted by ranks. Needs timm and pillow."""
import argparse
import csv
import pathlib

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def best_neurons(model):
    """(block, neuron) of the value vector most aligned with each class: head(norm(v)), in float64."""
    scores = []
    for block in model.blocks:
        values = block.mlp.fc2.weight.double().T
        normed = F.layer_norm(values, values.shape[1:], model.norm.weight.double(), model.norm.bias.double(),
                              model.norm.eps)
        scores.append(model.head(normed.float()).double())
    neurons = scores[0].shape[0]
    return [divmod(int(best), neurons) for best in torch.cat(scores).argmax(0)]


def auroc(values, positive):
    ordered = np.sort(values)
    rank = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1) / 2
    p = positive.sum()
    return (rank[positive].sum() - p * (p + 1) / 2) / (p * (positive.size - p))


def score(values, truth):
    mask = values > np.percentile(values, 80)
    both = (mask & truth).sum()
    return {"iou": both / (mask | truth).sum(), "precision": both / mask.sum(), "recall": both / truth.sum(),
            "hit": truth[values.argmax()], "auroc": auroc(values, truth), "object_px": truth.sum(),
            "inside": values[truth].mean(), "outside": values[~truth].mean()}


@torch.no_grad()
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("scenes", type=pathlib.Path)
    p.add_argument("truth", type=pathlib.Path)
    args = p.parse_args()
    model = timm.create_model(f"local-dir:{args.model}", pretrained=True).float().eval()
    prepared = model.pretrained_cfg
    mean, std = (np.array(prepared[key])[:, None, None] for key in ("mean", "std"))
    seen = {}
    for index, block in enumerate(model.blocks):
        block.mlp.act.register_forward_hook(lambda module, args, out, index=index: seen.__setitem__(index, out))
    best = best_neurons(model)
    number = {row["name"]: int(row["number"]) for row in rows(args.scenes / "label.csv") if "object" in row["category"]}
    classes = {row["class"]: row["name"] for row in rows(args.truth / "truth_classes.csv")}
    worst, count = {}, 0
    for row in rows(args.truth / "truth_images.csv"):
        name = classes[row["class"]]
        found = list((args.scenes / "images" / "scenes" / name).glob(f"*{int(row['scene'])}.png"))
        picture = next((path for path in found if int(path.stem) == int(row["scene"])), None)
        if picture is None:
            continue
        pixels = np.asarray(Image.open(picture).convert("RGB")).transpose(2, 0, 1) / 255
        label_map = args.scenes / "images" / "labels" / "object" / name / picture.name
        coded = np.asarray(Image.open(label_map).convert("RGB")).astype(int)
        truth = (coded[..., 0] + 256 * coded[..., 1] == number[name]).ravel()
        logits = model(torch.from_numpy((pixels - mean) / std).float()[None])
        block, neuron = best[int(row["class"])]
        if (block, neuron) != (int(row["block"]), int(row["neuron"])):
            raise SystemExit(f"class {name}: b{block}n{neuron} is best, truth has b{row['block']}n{row['neuron']}")
        grid = model.patch_embed.grid_size
        heat = seen[block][0, model.num_prefix_tokens:, neuron].reshape(1, 1, *grid)
        big = F.interpolate(heat, size=pixels.shape[1:], mode="bilinear", align_corners=False)
        want = score(big.double().numpy().ravel(), truth) | {"predicted": int(logits.argmax())}
        for key, value in want.items():
            worst[key] = max(worst.get(key, 0), abs(float(row[key]) - float(value)))
        count += 1
    if not count:
        raise SystemExit("no scene of TRUTH is in SCENES")
    print(f"{count} scenes; largest difference: " + ", ".join(f"{key} {value:.2g}" for key, value in worst.items()))


if __name__ == "__main__":
    main()
