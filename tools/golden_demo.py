#!/usr/bin/env python3
"""Record what timm computes with the demo model on one of its scenes, in float64: tests/data/golden/demo.safetensors.

    build/release/keyhole diorama --count 7 --seed 3 --no-labels --out out/seven
    python3 tools/golden_demo.py demo/model out/seven/images/scenes/fish/000006.png tests/data/golden/demo.safetensors
    build/release/keyhole verify demo tests/data/golden/demo.safetensors"""

import sys

import timm
import torch
from PIL import Image
from safetensors.torch import save_file

BLOCKS = (0, 5, 11)
OBJECTIVE = 6


def main(folder, picture, out):
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).double().eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model), is_training=False)
    x = transform(Image.open(picture).convert("RGB"))[None].double().requires_grad_(True)
    tensors = {}

    def keep(name):
        return lambda module, inputs, output: tensors.update({name: output.detach()})

    for b in BLOCKS:
        model.blocks[b].register_forward_hook(keep(f"blocks.{b}.hook_resid_post"))
    model.blocks[BLOCKS[-1]].mlp.act.register_forward_hook(keep(f"blocks.{BLOCKS[-1]}.mlp.hook_post"))
    logits = model(x)
    logits[0, OBJECTIVE].backward()
    tensors |= {"input": x.detach(), "logits": logits.detach(), "grad": x.grad}
    save_file({name: t.float().contiguous() for name, t in tensors.items()}, out,
              {"objective": f"logit:{OBJECTIVE}", "recorded_with": f"torch {torch.__version__}, timm {timm.__version__}"})
    print({name: tuple(t.shape) for name, t in tensors.items()}, int(logits.argmax()))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
