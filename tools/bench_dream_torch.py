"""Seconds per step of the reference chain in PyTorch, as Lucent runs it: whole forward, parameters left requiring
gradients, autograd down to the Fourier coefficients. Beside `keyhole bench --dream random:vit_base_patch16_224`.

Usage: tools/bench_dream_torch.py [--threads 2] [--batch 1 4] [--steps 5] [--frozen]
--frozen: parameters need no gradient, what a careful user would do; still the whole forward.
"""

import argparse
import sys
import time
from pathlib import Path

import timm
import torch

sys.path.insert(0, str(Path(__file__).parent))
from record_dream_golden import IMAGENET, chain, fourier, normalise


def seconds_per_step(model, hidden, batch, steps):
    theta = (torch.randn(batch, 3, 128, 65, 2) * 0.01).requires_grad_()
    adam = torch.optim.Adam([theta], lr=0.05)
    times = []
    for step in range(steps + 1):
        start = time.perf_counter()
        adam.zero_grad()
        draw = (step % 8, 3, step % 11, step % 21 - 10, 1, 2)
        model(normalise(chain(fourier(theta), draw, False), IMAGENET))
        (-hidden["fc1"][:, :, 1198].mean()).backward()
        adam.step()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[steps // 2]  # the first one warms up


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--frozen", action="store_true")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    model = timm.create_model("vit_base_patch16_224").eval()
    for q in model.parameters():
        q.requires_grad_(not args.frozen)
    hidden = {}
    model.blocks[10].mlp.fc1.register_forward_hook(lambda m, a, out: hidden.__setitem__("fc1", out))
    print(f"torch {torch.__version__}, {args.threads} threads, {'frozen' if args.frozen else 'as Lucent'}")
    for batch in args.batch:
        s = seconds_per_step(model, hidden, batch, args.steps)
        print(f"batch {batch}: {s:.3f} s a step, {batch / s:.3f} image-steps/s")


if __name__ == "__main__":
    main()
