"""Records what a dream's step should be: loss and gradient of one step for many objectives (float64), and 50 steps of
the reference chain (float32), all with PyTorch's autograd on a ViT-Ti with formula weights.

Usage: tools/record_dream_golden.py [OUT]     (default tests/data/golden/dream)
Needs torch, torchvision, timm, safetensors. Nothing here is shared with keyhole's own code.
"""

import json
import math
import sys
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
import golden_formula as formula

ARCHITECTURE = "vit_tiny_patch16_224"
SIDE, TOKENS = 224, 197
A = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float64)
COLOURS = A / A.norm(dim=0).max()
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)


# ---- images ---------------------------------------------------------------------------------------------------------


def scale(n, power=1.0):
    fy, fx = torch.fft.fftfreq(n, dtype=torch.float64)[:, None], torch.fft.rfftfreq(n, dtype=torch.float64)[None]
    return 1.0 / torch.clamp(torch.sqrt(fx * fx + fy * fy), min=1.0 / n) ** power


def colour(x, low=0.0, high=1.0):
    return torch.sigmoid(torch.einsum("ck,bkyx->bcyx", COLOURS.to(x.dtype), x)) * (high - low) + low


def standard(x):
    flat = x.flatten(1)
    mean, sd = flat.mean(1), flat.std(1, unbiased=True)
    view = (-1,) + (1,) * (x.dim() - 1)
    return (x - mean.view(view)) / (sd.view(view) + 1e-4)


def fourier(theta):
    n = theta.shape[2]
    z = torch.complex(theta[..., 0], theta[..., 1]) * scale(n).to(theta.dtype)
    return colour(torch.fft.irfft2(z, s=(n, n), norm="ortho") / 4)


def maco(theta, magnitude):
    n = theta.shape[2]
    phase = standard(theta)
    z = torch.polar(magnitude.expand_as(phase).contiguous(), phase)
    return colour(standard(torch.fft.irfft2(z, s=(n, n))), -2.5, 2.5)


# ---- transforms -------------------------------------------------------------------------------------------------------


def shift(x, dx, dy, fill):
    side = x.shape[-1]
    big = F.pad(x - fill, (64, 64, 64, 64))
    return big[..., 64 - dy:64 - dy + side, 64 - dx:64 - dx + side] + fill


def rotate(x, degrees, fill):
    side = x.shape[-1]
    c, s, centre = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), (side - 1) / 2
    ry, rx = torch.meshgrid(torch.arange(side, dtype=x.dtype) - centre, torch.arange(side, dtype=x.dtype) - centre,
                            indexing="ij")
    grid = torch.stack([c * rx - s * ry, s * rx + c * ry], -1) / centre
    grid = grid[None].expand(x.shape[0], -1, -1, -1)
    return F.grid_sample(x - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=True) + fill


def resize(x, side):
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=True)


def chain(x, draw, clean):
    dx, dy, index, angle, dx2, dy2 = draw
    fill = 0.5 if clean else 0.0
    x = F.pad(x - 0.5, (12, 12, 12, 12)) + 0.5
    d = x.shape[-1]
    x = shift(x, dx, dy, fill)
    side = math.ceil((1 + (index - 5) / 50.0) * d)
    x = resize(x, side)
    if side < d:
        rim = math.ceil((d - side) / 2)
        x = F.pad(x - fill, (rim,) * 4) + fill
    if clean and x.shape[-1] > d:
        cut = (x.shape[-1] - d) // 2
        x = x[..., cut:cut + d, cut:cut + d]
    x = rotate(x, angle, fill) if angle else x
    x = shift(x, dx2, dy2, fill)
    return resize(x, SIDE)


def normalise(x, norm):
    mean, std = (torch.tensor(v, dtype=x.dtype).view(1, 3, 1, 1) for v in norm)
    return (x - mean) / std


# ---- objectives -------------------------------------------------------------------------------------------------------


class Watched:
    """The model with what objectives read: fc1's outputs, the input of attn.proj, block outputs, logits."""

    def __init__(self, dtype):
        self.model = formula.fill(timm.create_model(ARCHITECTURE)).to(dtype).eval()
        for p in self.model.parameters():
            p.requires_grad_(False)
        self.pre, self.value, self.stream = {}, {}, {}
        for i, block in enumerate(self.model.blocks):
            block.mlp.fc1.register_forward_hook(lambda m, a, out, i=i: self.pre.__setitem__(i, out))
            block.attn.proj.register_forward_pre_hook(lambda m, a, i=i: self.value.__setitem__(i, a[0]))
            block.register_forward_hook(lambda m, a, out, i=i: self.stream.__setitem__(i, out))

    def __call__(self, x):
        self.logits = self.model(x)


def neuron(w, block, index, tokens=slice(None), gate=lambda h: h):
    return -gate(w.pre[block][:, tokens, index]).mean()


def diversity(w, block, first=0):
    u = F.normalize(w.pre[block][:, first:], dim=-1, eps=1e-12)
    return u.sum(0).pow(2).sum()


def early_diversity(w, block):
    grams = torch.einsum("itj,isj->its", w.pre[block], w.pre[block])
    grams = grams / grams.flatten(1).norm(dim=1).view(-1, 1, 1)
    inner = torch.einsum("its,kts->ik", grams, grams)
    return inner.sum() - inner.diagonal().sum()


def direction(w, block, d, power):
    h = w.stream[block]
    cosine = F.cosine_similarity(h, d, dim=-1).clamp(min=0.1)
    return -((h @ d) * cosine**power).mean()


def objectives(w, dtype):
    d = formula.tensor("direction", (192,)).to(dtype)
    gelu = torch.nn.functional.gelu
    softmax = torch.softmax(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64), 0).to(dtype)
    return {
        "pre": (1, lambda: neuron(w, 9, 100)),
        "last": (1, lambda: neuron(w, 11, 767)),
        "first": (1, lambda: neuron(w, 0, 3)),
        "negative": (1, lambda: -neuron(w, 9, 100)),
        "post": (1, lambda: neuron(w, 9, 100, gate=gelu)),
        "class_token": (1, lambda: neuron(w, 10, 5, slice(0, 1))),
        "patches": (1, lambda: neuron(w, 10, 5, slice(1, None))),
        "cell": (1, lambda: neuron(w, 10, 5, slice(1 + 30, 2 + 30))),
        "mixed": (1, lambda: softmax[0] * neuron(w, 9, 100) + softmax[1] * neuron(w, 9, 7) +
                  softmax[2] * neuron(w, 11, 30)),
        "logit": (1, lambda: -w.logits[:, 207].mean()),
        "probability": (1, lambda: -torch.softmax(w.logits, 1)[:, 207].mean()),
        "log_probability": (1, lambda: -torch.log_softmax(w.logits, 1)[:, 207].mean()),
        "value": (1, lambda: -w.value[8][:, :, 70].mean()),
        "direction": (1, lambda: direction(w, 7, d, 2)),
        "diverse": (3, lambda: neuron(w, 9, 100) + 1e-2 * diversity(w, 9)),
        "diverse_class": (2, lambda: neuron(w, 9, 100, slice(0, 1)) + 1e-2 * diversity(w, 9, 1)),
        "diverse_early": (2, lambda: neuron(w, 9, 100) - 1e-3 * early_diversity(w, 9)),
        "interpolated": (3, lambda: sum((1 - i / 2) * -w.pre[9][i, :, 100].mean() + i / 2 * -w.pre[10][i, :, 5].mean()
                                        for i in range(3)) / 3),
    }


DRAW = (3, 5, 2, 7, 1, 3)
CLEAN_DRAW = (-3, 4, 9, -6, 2, -1)


def theta_start(images, dtype):
    return (formula.tensor("theta", (images, 3, 128, 65, 2)) * 0.03).to(dtype)


def dots(gradient):
    """Norm, and products with six formula tensors: enough to notice any element."""
    flat = gradient.double().flatten()
    return [float(flat.norm())] + [float(flat @ formula.tensor(f"probe{k}", (flat.numel(),)).double())
                                   for k in range(6)]


def steps_one(out, cases):
    w = Watched(torch.float64)
    for name, (images, loss) in objectives(w, torch.float64).items():
        theta = theta_start(images, torch.float64).requires_grad_()
        w(normalise(chain(fourier(theta), DRAW, False), IMAGENET))
        value = loss()
        value.backward()
        cases[name] = dict(loss=float(value.detach()), dots=dots(theta.grad))
        if name == "pre":
            out["pre.gradient"] = theta.grad.float()
        print(name, cases[name]["loss"], cases[name]["dots"][:2])
    theta = theta_start(1, torch.float64).requires_grad_()
    w(normalise(chain(fourier(theta), CLEAN_DRAW, True), HALF))
    value = neuron(w, 9, 100)
    value.backward()
    cases["clean"] = dict(loss=float(value.detach()), dots=dots(theta.grad))
    maco_one(w, cases)


def maco_one(w, cases):
    """Two crops of a 320 pixel image, torchvision's roi_align, no normalisation."""
    n = 320
    magnitude = (formula.tensor("magnitude", (1, 3, n, n // 2 + 1)).double() + 1.5) * scale(n)
    phases = formula.tensor("phases", (1, 3, n, n // 2 + 1)).double().requires_grad_()
    image = maco(phases, magnitude)
    image.retain_grad()
    boxes = torch.tensor([[0, 0.40, 0.31, 0.40 + 0.27, 0.31 + 0.27], [0, -0.05, 0.8, -0.05 + 0.29, 0.8 + 0.29]],
                         dtype=torch.float64)
    boxes[:, 1:] *= n
    w(torchvision.ops.roi_align(image, boxes, output_size=(SIDE, SIDE), aligned=False))
    value = neuron(w, 9, 100)
    value.backward()
    cases["maco"] = dict(loss=float(value.detach()), dots=dots(phases.grad),
                         alpha=dots(image.grad.abs().sum(1)))


def fifty(out, cases):
    """The reference chain in float32, Adam 0.05, draws from a small generator that is recorded."""
    torch.manual_seed(0)
    w = Watched(torch.float32)
    theta = (formula.tensor("theta", (1, 3, 128, 65, 2)) * 0.01).requires_grad_()
    adam = torch.optim.Adam([theta], lr=0.05)
    state, draws, losses = 12345, [], []

    def below(limit):
        nonlocal state
        state = (state * 1103515245 + 12345) % 2**31
        return state // 65536 % limit

    for step in range(50):
        draw = (below(8), below(8), below(11), below(21) - 10, below(4), below(4))
        draws.append(draw)
        adam.zero_grad()
        w(normalise(chain(fourier(theta), draw, False), IMAGENET))
        loss = neuron(w, 9, 100)
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    cases["fifty"] = dict(draws=draws, losses=losses)
    out["fifty.image"] = fourier(theta.detach())[0]
    print("fifty", losses[0], losses[-1])


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "tests/data/golden/dream")
    folder.mkdir(parents=True, exist_ok=True)
    out, cases = {}, {}
    steps_one(out, cases)
    fifty(out, cases)
    cases["versions"] = dict(torch=torch.__version__, timm=timm.__version__, torchvision=torchvision.__version__)
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "dream.safetensors")
    (folder / "dream.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
