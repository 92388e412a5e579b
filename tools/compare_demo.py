#!/usr/bin/env python3
"""keyhole against timm on the same files: the same class for every image, logits within 1e-3.

    build/release/keyhole diorama --count 5000 --seed 2 --size 96 --out out/held-out
    python3 tools/compare_demo.py build/release/keyhole demo/model out/held-out/images/scenes --json out/compare.json

timm reads the checkpoint folder itself, decodes with Pillow and prepares images with the transform that the folder's
config.json asks for; weights are float16 in the file and float32 in the arithmetic, on both sides."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

LIMIT = 1e-3


def timm_logits(folder, paths, batch=100):
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).float().eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model), is_training=False)
    rows = []
    with torch.no_grad():
        for k in range(0, len(paths), batch):
            images = torch.stack([transform(Image.open(p).convert("RGB")) for p in paths[k:k + batch]])
            rows.append(model(images).numpy())
    return np.concatenate(rows)


def keyhole_logits(program, folder, paths, classes):
    """[images, classes] and the true classes as keyhole finds them."""
    done = subprocess.run([program, "classify", folder, "-", "--truth", "--topk", str(classes), "--json"], check=True,
                          input="\n".join(paths) + "\n", stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout)
    assert [image["image"] for image in result["images"]] == paths, "keyhole answered for other images"
    logits = np.full((len(paths), classes), np.nan, np.float32)
    for row, image in zip(logits, result["images"]):
        for entry in image["top"]:
            row[entry["class"]] = entry["logit"]
    answers = [image["top"][0]["class"] for image in result["images"]]
    return logits, np.array(answers), np.array([image["truth"] for image in result["images"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keyhole")
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, help="folder of class folders")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = json.loads((args.model / "config.json").read_text())
    names = [config["pretrained_cfg"]["label_descriptions"][w] for w in config["pretrained_cfg"]["label_names"]]
    paths = sorted(str(p) for p in args.images.glob("*/*.png"))
    if not paths:
        parser.error(f"no CLASS/*.png in {args.images}")
    ours, answers, truth = keyhole_logits(args.keyhole, args.model, paths, len(names))
    theirs = timm_logits(args.model, paths)
    assert [names[t] for t in truth] == [Path(p).parent.name for p in paths], "a true class is not the folder's"
    assert np.isfinite(ours).all() and np.isfinite(theirs).all()
    gap = np.abs(ours - theirs).max(1)
    differ = np.flatnonzero(answers != theirs.argmax(1))
    first_two = np.sort(theirs, 1)[:, -2:]
    result = {"images": len(paths), "keyhole_top1": float((answers == truth).mean()),
              "timm_top1": float((theirs.argmax(1) == truth).mean()), "different_answers": len(differ),
              "largest_logit_difference": float(gap.max()), "median_logit_difference": float(np.median(gap)),
              "smallest_lead_of_an_answer": float((first_two[:, 1] - first_two[:, 0]).min()),
              "made_with": f"torch {torch.__version__}, timm {timm.__version__}"}
    print(json.dumps(result, indent=2))
    for k in differ[:10]:
        print(f"{paths[k]}: keyhole {names[answers[k]]}, timm {names[theirs[k].argmax()]}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return bool(len(differ)) or not gap.max() <= LIMIT


if __name__ == "__main__":
    sys.exit(main())
