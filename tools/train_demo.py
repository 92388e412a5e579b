#!/usr/bin/env python3
"""Train the demo model: a plain timm VisionTransformer that names the objects of the demo world.

    make
    python3 -m venv ../demo-venv && ../demo-venv/bin/pip install -r tools/requirements.txt
    ../demo-venv/bin/python tools/train_demo.py --out out/train

Scenes are rendered by the library while training goes on. OUT gets log.csv, resume.pt (`--resume` goes on from it),
early/ (the checkpoint after a tenth of the training), random/ (before it), model/ (config.json and model.safetensors
as timm's save_for_hf writes them, float16) and accuracy.json: the exported file's answers on 5,000 held-out scenes.

Besides Muon and scenes shown three times, three things shorten the training; none of them is in the checkpoint, and the
last third does without them. 60 % of the
patches are left out at first, mostly such with nothing of the object. Patches of block 8 also answer what object is on
them, through a head of their own that is thrown away; the weight of that falls to zero by half of the training. The
first weights are a head start (positions as waves, attention that sees what is alike). No part, material, colour or
background is ever taught.

`--until 0.1` ends after a tenth, on the same path; `--minutes` shortens the schedule when the machine is slow;
`--report FOLDER` only writes accuracy.json. With glibc on a CPU, large pages make it a sixth faster:
GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold=8000000000:glibc.malloc.mmap_threshold=8000000000"""

import argparse
import copy
import csv
import hashlib
import json
import math
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TIMM_FUSED_ATTN", "0")  # on a CPU the plain products train twice as fast
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import timm
import torch
import torch.nn.functional as F
from timm.models import save_for_hf

from demo_scenes import SIZE, Renderer, Stream, World

ARCHITECTURE = "vit_tiny_patch16_224"
MODEL_ARGS = dict(img_size=SIZE, patch_size=8, embed_dim=128, depth=12, num_heads=2)
HINTED = 8  # block
HELD_OUT = 5000
COLUMNS = ("step", "seen", "progress", "lr", "patch_drop", "loss", "held_out_top1", "images_per_s", "seconds")


def make_model(world):
    """timm's own class and preprocessing fields; only sizes differ from the registered architecture."""
    return timm.create_model(
        ARCHITECTURE, num_classes=world.classes, **MODEL_ARGS,
        pretrained_cfg_overlay=dict(
            tag="keyhole_demo", hf_hub_id=None, hf_hub_filename=None, file=None, url="", custom_load=False,
            input_size=(3, SIZE, SIZE), fixed_input_size=True, interpolation="bicubic", crop_pct=1.0,
            crop_mode="center", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), num_classes=world.classes,
            label_names=world.wnids, label_descriptions=dict(zip(world.wnids, world.names)),
            origin_url=None, paper_ids=None, license="mit"))


@torch.no_grad()
def head_start(model):
    """Positions as waves, which stay learnable, and attention that begins by looking at what is alike (Trockman and
    Kolter 2023, "Mimetic initialization"): Wq Wk' near 0.7 (noise + 1), Wv Wproj near 0.4 (noise - 1)."""
    dim, side = model.embed_dim, model.patch_embed.grid_size[0]
    rate = 1 / 100 ** (torch.arange(dim // 4) / (dim // 4))
    wave = torch.arange(side)[:, None] * rate
    wave = torch.cat([wave.sin(), wave.cos()], 1)  # [side, dim / 2]
    rows, columns = wave[:, None].expand(-1, side, -1), wave[None].expand(side, -1, -1)
    model.pos_embed[0, 1:] = 0.3 * torch.cat([rows, columns], 2).reshape(side * side, dim)
    for block in model.blocks:
        heads, size = block.attn.num_heads, block.attn.head_dim
        q, k, v = block.attn.qkv.weight.chunk(3)
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            u, s, w = torch.linalg.svd(0.7 * (torch.randn(dim, dim) / dim ** 0.5 + torch.eye(dim)))
            q[part], k[part] = (u[:, :size] * s[:size].sqrt()).T, s[:size, None].sqrt() * w[:size]
        u, s, w = torch.linalg.svd(0.4 * (torch.randn(dim, dim) / dim ** 0.5 - torch.eye(dim)))
        v.copy_(s[:, None].sqrt() * w)
        block.attn.proj.weight.copy_(u * s.sqrt())


def normalized(images, device):
    x = torch.from_numpy(images[..., :3]).to(device).permute(0, 3, 1, 2)
    return (x.float() / 255 - 0.5) / 0.5


def scaled_rate(progress, args):
    """Share of the peak rate: linear warm-up, then half a cosine down to a hundredth."""
    if progress < args.warmup:
        return max(progress / args.warmup, 0.01)
    t = min((progress - args.warmup) / (1 - args.warmup), 1)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * t))


class KeptPatches(torch.nn.Module):
    """timm's PatchDropout, but which patches stay is handed in, per thread, so that it does not depend on timing."""

    def __init__(self):
        super().__init__()
        self.own = threading.local()

    def forward(self, x):
        if self.own.kept is None:
            return x
        kept = self.own.kept.unsqueeze(-1).expand(-1, -1, x.shape[2])
        return torch.cat((x[:, :1], x[:, 1:].gather(1, kept)), 1)


class Trainer:
    """Master weights in float32, a working copy in bfloat16 for the passes, and an average for the export.

    A batch is cut into pieces that go through the working copy on one thread each: threads that meet once per step,
    not once per operation, do not mind when something else needs a core. Gradients are added in the pieces' order."""

    def __init__(self, world, args, device):
        self.args, self.device = args, device
        torch.manual_seed(args.seed)
        self.model = make_model(world)
        if args.head_start:
            head_start(self.model)
        self.model = self.model.to(device).train()
        self.worker = make_model(world).to(device, torch.bfloat16).train()
        self.worker.patch_drop = KeptPatches()
        self.average = make_model(world).to(device).eval()
        self.average.load_state_dict(self.model.state_dict())
        self.worker.blocks[HINTED].register_forward_hook(
            lambda block, inputs, output: setattr(self.worker.patch_drop.own, "hinted", output))
        self.hint = torch.nn.Linear(self.model.embed_dim, world.classes + 1).to(device)
        work_hint = torch.nn.Linear(self.model.embed_dim, world.classes + 1).to(device, torch.bfloat16)
        self.averages = list(self.average.parameters())
        self.params = list(self.model.parameters()) + list(self.hint.parameters())
        self.work = list(self.worker.parameters()) + list(work_hint.parameters())
        named = list(self.model.named_parameters())
        matrices = [p for n, p in named if n.startswith("blocks.") and p.ndim == 2]
        decayed = [p for n, p in named if n in ("patch_embed.proj.weight", "head.weight")]
        taken = {id(p) for p in matrices + decayed}
        rest = {"params": [p for p in self.params if id(p) not in taken], "weight_decay": 0.0}
        if args.optimizer == "adamw":
            decayed, matrices = decayed + matrices, []
        self.optimizers = [torch.optim.AdamW([{"params": decayed, "weight_decay": args.weight_decay}, rest],
                                             lr=args.lr, betas=(0.9, 0.99))]
        self.optimizers += [torch.optim.Muon(matrices[k::args.threads], lr=args.lr, weight_decay=args.weight_decay,
                                             adjust_lr_fn="match_rms_adamw")
                            for k in range(args.threads) if matrices[k::args.threads]]
        self.pool = ThreadPoolExecutor(args.threads, initializer=torch.set_num_threads, initargs=(1,))
        self.step = self.seen = 0
        self.seconds = 0.0

    def piece(self, images, labels, cover, kept, hint):
        """Loss and gradients; `hint` weighs what the patches of block HINTED say of the object on them."""
        x = normalized(images, self.device).bfloat16()
        y = torch.from_numpy(labels).to(self.device)
        own = self.worker.patch_drop.own
        own.kept = kept
        loss = F.cross_entropy(self.worker(x).float(), y, label_smoothing=self.args.smoothing)
        total = loss
        if hint:
            patches = own.hinted[:, 1:]
            said = F.linear(F.layer_norm(patches, patches.shape[2:]), *self.work[-2:]).float()
            there = cover.flatten(1) if kept is None else cover.flatten(1).gather(1, kept)
            target = torch.where(there > 0.25, y[:, None], len(self.work[-1]) - 1)
            total = loss + hint * F.cross_entropy(said.flatten(0, 1), target.flatten())
        own.hinted = None
        return loss.item(), torch.autograd.grad(total, self.work, allow_unused=True, materialize_grads=True)

    def kept_patches(self, cover, drop):
        """[images, kept] patch numbers; for a share `near` of the images patches with something of the object first."""
        rng = np.random.default_rng((self.args.seed, 7, self.step))
        near = rng.random((len(cover), 1)) < self.args.near
        noise = rng.random((len(cover), cover[0].numel())) - near * (cover.flatten(1).numpy() > 0)
        keep = round(cover[0].numel() * (1 - drop))
        return torch.from_numpy(noise.argsort(1)[:, :keep].copy()).to(self.device)

    def train_step(self, images, labels, rate, drop, hint):
        with torch.no_grad():
            torch._foreach_copy_(self.work, self.params)
        side = self.model.patch_embed.grid_size[0]
        cover = torch.from_numpy(images[..., 3].reshape(len(images), side, SIZE // side, side, SIZE // side)
                                 .mean((2, 4), dtype=np.float32))  # share of each patch that is the object
        kept = self.kept_patches(cover, drop) if drop else None
        count = len(images) // self.args.pieces
        cuts = [slice(k, k + count) for k in range(0, len(images), count)]
        jobs = [self.pool.submit(self.piece, images[c], labels[c], cover[c].to(self.device), kept[c] if drop else None,
                                 hint) for c in cuts]
        results = [job.result() for job in jobs]
        total = [g.float() for g in results[0][1]]
        for _, grads in results[1:]:
            torch._foreach_add_(total, grads)
        torch._foreach_div_(total, len(results))
        for p, g in zip(self.params, total):
            p.grad = g
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * self.args.lr
        list(self.pool.map(lambda optimizer: optimizer.step(), self.optimizers))
        decay = min(self.args.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.params[:len(self.averages)], 1 - decay)
        self.step += 1
        self.seen += len(labels)
        return sum(loss for loss, _ in results) / len(results)

    def save(self, path):
        state = {"model": self.model.state_dict(), "hint": self.hint.state_dict(), "average": self.average.state_dict(),
                 "optimizers": [o.state_dict() for o in self.optimizers],
                 "step": self.step, "seen": self.seen, "seconds": self.seconds}
        torch.save(state, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    def load(self, path):
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.hint.load_state_dict(state["hint"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.step, self.seen, self.seconds = state["step"], state["seen"], state["seconds"]


@torch.no_grad()
def logits_of(model, images, device, batch=250):
    return torch.cat([model(normalized(images[k:k + batch], device)).float().cpu()
                      for k in range(0, len(images), batch)])


def top1(model, images, device, classes):
    answers = logits_of(model, images, device).argmax(1).numpy()
    return float((answers == np.arange(len(images)) % classes).mean())


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def export(model, folder):
    """The checkpoint as timm writes it, weights in float16."""
    save_for_hf(copy.deepcopy(model).cpu().half(), folder, safe_serialization=True)
    return sha256((folder / "model.safetensors").read_bytes())


def report(folder, world, args, more):
    """What the exported file answers to the held-out scenes, in float32."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).float().eval()
    renderer = Renderer(world, args.held_out_seed, args.renderers)
    images = renderer.scenes(0, HELD_OUT)
    renderer.close()
    truth = np.arange(HELD_OUT) % world.classes
    logits = logits_of(model, images, "cpu")
    answers = logits.argmax(1).numpy()
    top5 = logits.topk(5).indices.numpy()
    counts = np.zeros((world.classes, world.classes), int)
    np.add.at(counts, (truth, answers), 1)
    wrong = sorted(((int(counts[t, a]), world.names[t], world.names[a]) for t in range(world.classes)
                    for a in range(world.classes) if t != a and counts[t, a]), reverse=True)
    return {
        "scenes": HELD_OUT, "held_out_seed": args.held_out_seed,
        "top1": float((answers == truth).mean()), "top5": float((top5 == truth[:, None]).any(1).mean()),
        "loss": F.cross_entropy(logits, torch.from_numpy(truth)).item(),
        "mean_probability_of_the_answer": logits.softmax(1).max(1).values.mean().item(),
        "per_class": {world.names[c]: float(counts[c, c] / counts[c].sum()) for c in range(world.classes)},
        "confusions": [{"true": t, "answered": a, "scenes": n} for n, t, a in wrong[:20]],
        "weights_sha256": sha256((folder / "model.safetensors").read_bytes()),
        "scenes_sha256": sha256(images.tobytes()),
        "parameters": sum(p.numel() for p in model.parameters()),
        "made_with": f"torch {torch.__version__}, timm {timm.__version__}", **more,
    }


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


class Log:
    """log.csv; after a resume the lines behind the resumed step are dropped."""

    def __init__(self, path, resumed_step):
        lines = []
        if resumed_step and path.exists():
            with open(path, newline="") as file:
                lines = [row for row in csv.DictReader(file) if int(row["step"]) <= resumed_step]
        self.file = open(path, "w", newline="")
        self.writer = csv.DictWriter(self.file, COLUMNS, lineterminator="\n")
        self.writer.writeheader()
        self.writer.writerows(lines)
        self.file.flush()

    def add(self, **row):
        self.writer.writerow(row)
        self.file.flush()
        print("  ".join(f"{k} {v}" for k, v in row.items() if v != ""), flush=True)


def train(trainer, world, args, held_out):
    """Until the samples or the minutes are used up. Returns the progress reached."""
    resume = args.out / "resume.pt"
    log = Log(args.out / "log.csv", trainer.step)
    stream = Stream(args.library, args.seed, args.batch, args.reuse, args.keep, args.renderers, trainer.step)
    stop = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.append(True))
    before, begin = trainer.seconds, time.monotonic()
    mark, last_save, losses = (trainer.seen, begin), begin, []
    while True:
        now = time.monotonic()
        trainer.seconds = before + now - begin
        progress = trainer.seen / args.samples
        if args.minutes:
            progress = max(progress, trainer.seconds / 60 / args.minutes)
        is_over = progress >= min(args.until, 1) or bool(stop)
        if progress >= 0.1 and not (args.out / "early").exists():
            export(trainer.average, args.out / "early")
        if trainer.step % args.log_every == 0 and losses or is_over:
            is_round = is_over or trainer.step % args.eval_every == 0
            score = f"{top1(trainer.average, held_out, trainer.device, world.classes):.4f}" if is_round else ""
            speed = (trainer.seen - mark[0]) / max(now - mark[1], 1e-9)
            log.add(step=trainer.step, seen=trainer.seen, progress=f"{progress:.4f}",
                    lr=f"{scaled_rate(progress, args) * args.lr:.3e}",
                    patch_drop=args.patch_drop if progress < args.whole_from else 0,
                    loss=f"{np.mean(losses or [math.nan]):.4f}", held_out_top1=score, images_per_s=f"{speed:.0f}",
                    seconds=f"{trainer.seconds:.0f}")
            if is_round and not is_over:
                gone, done = trainer.seconds - before, max(progress - args.start, 1e-9)
                print(f"  {gone / 60:.1f} min; about {gone / done * (1 - progress) / 60:.0f} min to go", flush=True)
            mark, losses = (trainer.seen, time.monotonic()), []
        if is_over:
            break
        if now - last_save > 60 * args.save_minutes:
            trainer.save(resume)
            last_save = now
        images, labels = stream.next()
        drop = args.patch_drop if progress < args.whole_from else 0.0
        hint = args.hint * max(1 - progress / args.hint_until, 0)
        losses.append(trainer.train_step(images, labels, scaled_rate(progress, args), drop, hint))
        if not math.isfinite(losses[-1]):
            raise SystemExit(f"step {trainer.step}: the loss is {losses[-1]}")
    stream.close()
    trainer.save(resume)
    return progress


def arguments():
    root = Path(__file__).resolve().parent.parent
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--library", type=Path, default=root / "build/release/src/libkeyhole.so")
    p.add_argument("--out", type=Path, default=root / "out/train")
    p.add_argument("--samples", type=int, default=1_000_000, help="images of the whole schedule")
    p.add_argument("--minutes", type=float, help="shorten the schedule so that training ends by then")
    p.add_argument("--until", type=float, default=1.0, help="stop at this share of the schedule")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--report", type=Path, help="only evaluate this checkpoint folder")
    p.add_argument("--seed", type=int, default=1, help="of weights, scenes and order")
    p.add_argument("--held-out-seed", type=int, default=2, help="of the scenes never trained on")
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--pieces", type=int, default=2, help="a batch is cut into")
    p.add_argument("--reuse", type=int, default=3, help="how often a scene is shown, varied; 1: all are new")
    p.add_argument("--keep", type=int, default=100_000, help="scenes kept for that, 27 KB each")
    p.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    p.add_argument("--lr", type=float, default=1.5e-3)
    p.add_argument("--warmup", type=float, default=0.01, help="share of the schedule")
    p.add_argument("--weight-decay", type=float, default=0.05)
    p.add_argument("--smoothing", type=float, default=0.05)
    p.add_argument("--average", type=float, default=0.998, help="decay of the weights' moving average")
    p.add_argument("--patch-drop", type=float, default=0.6, help="share of patches left out at first")
    p.add_argument("--near", type=float, default=0.9, help="share of images that keep the object's patches first")
    p.add_argument("--hint", type=float, default=1.0, help="weight of the patches' own answers at first")
    p.add_argument("--hint-until", type=float, default=0.5, help="share of the schedule where that has faded away")
    p.add_argument("--head-start", type=int, default=1, help="0: timm's own initial weights")
    p.add_argument("--whole-from", type=float, default=0.65, help="no patch is left out from this share on")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--renderers", type=int, default=1, help="threads that render")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--log-every", type=int, default=50, help="steps")
    p.add_argument("--eval-every", type=int, default=400, help="steps; on the first 1,000 held-out scenes")
    p.add_argument("--save-minutes", type=float, default=3)
    args = p.parse_args()
    if args.seed == args.held_out_seed:
        p.error("training scenes and held-out scenes need different seeds")
    return args


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    world = World(args.library)
    if args.report:
        result = report(args.report, world, args, {})
        write_json(args.out / "accuracy.json", result)
        print(f"top-1 {result['top1']:.4f} of {HELD_OUT}")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(world, args, args.device)
    if args.resume:
        trainer.load(args.out / "resume.pt")
    else:
        random_sha = export(trainer.average, args.out / "random")
        print(f"random/model.safetensors {random_sha}")
    print(f"{sum(p.numel() for p in trainer.params)} parameters, {args.device}, {args.threads} threads", flush=True)
    renderer = Renderer(world, args.held_out_seed, args.renderers)
    held_out = renderer.scenes(0, 1000)
    renderer.close()
    args.start = trainer.seen / args.samples
    if args.minutes:
        args.start = max(args.start, trainer.seconds / 60 / args.minutes)
    progress = train(trainer, world, args, held_out)
    if progress < 1:
        print(f"stopped at {progress:.3f} of the schedule; --resume goes on")
        return
    export(trainer.average, args.out / "model")
    settings = {k: v for k, v in vars(args).items() if not isinstance(v, Path) and k not in ("start", "resume")}
    result = report(args.out / "model", world, args, {
        "settings": settings, "steps": trainer.step, "samples": trainer.seen,
        "minutes_of_training": round(trainer.seconds / 60, 1), "early_weights_sha256":
            sha256((args.out / "early/model.safetensors").read_bytes()),
        "random_weights_sha256": sha256((args.out / "random/model.safetensors").read_bytes())})
    write_json(args.out / "accuracy.json", result)
    print(f"top-1 {result['top1']:.4f} of {HELD_OUT} held-out scenes")


if __name__ == "__main__":
    main()
