"""Golden numbers of the atlas on a tiny model: every analysis once more, in plain numpy float64.

Usage: golden_atlas.py [FOLDER]    (default: tests/data/atlas)

Writes 24 small labelled pictures, label maps in the layout of Broden (truth/), and golden.safetensors. The model is tests/data/golden/vit_base. Nothing here shares
code with keyhole: the forward pass is timm's in float64, the analyses follow spec formulas directly, over whole arrays.
"""

import os

os.environ.setdefault("TIMM_FUSED_ATTN", "0")

import math
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_model_data_config

from golden_key_values import key_values, stable_top

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "tests/data/golden/vit_base"
LABELS = [1, 6, 8, 9]  # classes the model tells apart a little
CLASSES, PER_CLASS, EXEMPLARS, Q, K = 4, 6, 8, 0.995, 3


def pictures(folder):
    """Blobs over stripes; class c prefers a hue, so that means differ between classes."""
    rng = np.random.default_rng(11)
    for c in range(CLASSES):
        (folder / f"class_{LABELS[c]}").mkdir(parents=True, exist_ok=True)
        for i in range(PER_CLASS):
            y, x = np.mgrid[0:40, 0:40]
            angle, wave = rng.uniform(0, math.pi), rng.uniform(3, 12)
            base = 0.5 + 0.3 * np.sin((x * math.cos(angle) + y * math.sin(angle)) / wave * 2 * math.pi)
            picture = base[..., None] * rng.uniform(0.3, 1, 3)
            cx, cy, radius = rng.uniform(8, 32, 2).tolist() + [rng.uniform(5, 12)]
            blob = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / radius ** 2)[..., None]
            colour = np.roll([1.0, 0.2, 0.1], c) + rng.uniform(-0.1, 0.1, 3)
            picture = picture * (1 - blob) + blob * colour + rng.normal(0, 0.03, picture.shape)
            Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8)).save(folder / f"class_{LABELS[c]}" / f"{i}.png")


def open_model(folder=MODEL):
    import json
    config = json.loads((folder / "config.json").read_text())
    model = timm.create_model(config["architecture"], pretrained=False, **config["model_args"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    model.pretrained_cfg.update(config["pretrained_cfg"])
    return model.eval()


def forward(model, images):
    """Everything the analyses look at, in float64: dictionaries of numpy arrays by block."""
    seen = {}

    def keep(name):
        return lambda module, args, out: seen.__setitem__(name, out.detach().double().numpy())

    handles = []
    for b, block in enumerate(model.blocks):
        handles += [block.mlp.act.register_forward_hook(keep(f"post{b}")),
                    block.attn.register_forward_hook(keep(f"attn{b}")),
                    block.mlp.register_forward_hook(keep(f"mlp{b}")),
                    block.mlp.fc2.register_forward_hook(keep(f"fc2{b}")),
                    block.register_forward_hook(keep(f"resid{b}"))]
        handles.append(block.attn.proj.register_forward_hook(
            lambda module, args, out, b=b: seen.__setitem__(f"z{b}", args[0].detach().double().numpy())))
        if type(block).__name__ == "Block":  # the stream in the middle is what the second norm reads
            handles.append(block.norm2.register_forward_hook(
                lambda module, args, out, b=b: seen.__setitem__(f"mid{b}", args[0].detach().double().numpy())))
    handles.append(model.blocks[0].register_forward_pre_hook(
        lambda module, args: seen.__setitem__("embed", args[0].detach().double().numpy())))
    with torch.no_grad():
        seen["logits"] = model.double()(images.double()).numpy()
    for h in handles:
        h.remove()
    return seen


def pooled(name, paths, truth, out):
    """Direct logit attribution where the logits read the mean of the patches: normed behind it (fc_norm) or before; rpn: norms behind
    attention and MLP as well."""
    model = open_model(ROOT / "tests/data/golden" / name)
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    seen = forward(model, torch.stack([transform(Image.open(p).convert("RGB")) for p in paths]))
    state = {k: v.double().numpy() for k, v in model.state_dict().items()}
    blocks, prefix = len(model.blocks), model.num_prefix_tokens
    is_behind = "fc_norm.weight" in state
    norm = "fc_norm" if is_behind else "norm"
    E, gamma = state["head.weight"], state[f"{norm}.weight"]
    eps = getattr(model, norm).eps
    is_post_norm = type(model.blocks[0]).__name__ == "ResPostBlock"
    last = seen[f"resid{blocks - 1}"][:, prefix:]
    sigma = np.sqrt((last.mean(1, keepdims=True) if is_behind else last).var(2) + eps)
    weight = np.broadcast_to(1 / (sigma * last.shape[1]), last.shape[:2])
    scale = lambda b, k: state.get(f"blocks.{b}.ls{k}.gamma", 1.0)

    def direct(x):
        return np.einsum("nt,ntd,nd->n", weight, x[:, prefix:] - x[:, prefix:].mean(2, keepdims=True), gamma * E[truth])

    def behind(b, k, x):  # what the stream receives of a layer's output
        if not is_post_norm:
            return x * scale(b, k)
        g, shift = (state[f"blocks.{b}.norm{k}.{part}"] for part in ("weight", "bias"))
        return (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + model.blocks[b].norm1.eps) * g + shift

    parts = [direct(seen["embed"])]
    given = []
    for b in range(blocks):
        parts += [direct(behind(b, 1, seen[f"attn{b}"])), direct(behind(b, 2, seen[f"mlp{b}"]))]
        v = (state[f"blocks.{b}.mlp.fc2.weight"] * np.reshape(scale(b, 2), (-1, 1))).T
        of_token = weight
        if is_post_norm:
            v = (v - v.mean(1, keepdims=True)) * state[f"blocks.{b}.norm2.weight"]
            of_token = weight / np.sqrt(seen[f"mlp{b}"][:, prefix:].var(2) + model.blocks[b].norm2.eps)
        fold = (v - v.mean(1, keepdims=True)) * gamma @ E.T  # [neurons, classes]
        given.append(np.einsum("nt,ntj->nj", of_token, seen[f"post{b}"][:, prefix:]) * fold[:, truth].T)
    whole = np.sum(parts, 0) + (E @ state[f"{norm}.bias"] + state["head.bias"])[truth]
    assert np.abs(whole - seen["logits"][np.arange(len(truth)), truth]).max() < 1e-9, name
    by_class = lambda x: np.stack([x[truth == c].mean(0) for c in LABELS])
    out[f"{name}_direct"], out[f"{name}_contribution"] = by_class(np.stack(parts, 1)), by_class(np.stack(given, 1))


def truth_maps(folder, paths, truth, maps, ordered, ln, out):
    """Label maps in Broden's layout, Network Dissection by ND's rules, percentile masks."""
    rng = np.random.default_rng(5)
    labels = [f"class_{c}" for c in LABELS] + ["red", "green", "blue"]  # 1..4 objects, 5..7 colours
    broden = folder / "truth"
    rows, objects, colours = [], [], []
    take = np.floor((np.arange(32) + 2 + 0.5) * 40 / 35).astype(int)  # resize 40 to 35, crop 32 from 2
    for i, path in enumerate(paths):
        y, x = np.mgrid[0:40, 0:40]
        cx, cy, radius = rng.uniform(8, 32, 2).tolist() + [rng.uniform(6, 14)]
        thing = np.where((x - cx) ** 2 + (y - cy) ** 2 < radius ** 2, LABELS.index(truth[i]) + 1, 0)
        other = np.where((x + y) // 9 % 4 == 3, 0, 5 + (x // 13 + i) % 3)
        objects.append(thing[np.ix_(take, take)])
        colours.append(other[np.ix_(take, take)] if i % 5 else None)
        name = f"{path.parent.name}/{path.stem}"
        cells = []
        for kind, values in (("object", thing), ("color", other)):
            if kind == "color" and colours[i] is None:
                cells.append("")
                continue
            file = broden / "images" / kind / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.stack([values, 0 * values, 0 * values], 2).astype(np.uint8)).save(file)
            cells.append(f"{kind}/{name}.png")
        rows.append(f"{name}.png,train,40,40,40,40,{cells[0]},{cells[1]}")
    (broden / "index.csv").write_text("image,split,ih,iw,sh,sw,object,color\n" + "\n".join(rows) + "\n")
    (broden / "category.csv").write_text("name,first,last,count,frequency\nobject,1,4,4,1\ncolor,5,7,3,1\n")
    (broden / "label.csv").write_text("number,name,category,frequency,coverage,syns\n" + "".join(
        f"{l + 1},{name},{'object' if l < 4 else 'color'}(1),1,1,\n" for l, name in enumerate(labels)))

    n, blocks, patches, neurons = maps.shape
    side = math.isqrt(patches)
    upsample = lambda m: torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(m.reshape(-1, 1, side, side))), size=(32, 32), mode="bilinear",
        align_corners=False).numpy()[:, 0]
    # between two observed values, so that rounding decides no pixel of a replicated edge
    last = math.ceil(0.9 * ordered.shape[2]) - 1  # lower than 0.995: 384 values would leave two
    threshold = (ordered[:, :, last] + ordered[:, :, last + 1]) / 2
    has_colour = np.array([c is not None for c in colours])
    thing = np.stack(objects)
    colour = np.stack([c if c is not None else np.zeros((32, 32), int) for c in colours])
    both = np.zeros((blocks, neurons, 7))
    active = np.zeros((blocks, neurons, 2))
    for b in range(blocks):
        for j in range(neurons):
            if threshold[b, j] <= 2.0 ** -13:
                continue
            mask = upsample(maps[:, b, :, j]) > np.float32(threshold[b, j])
            active[b, j] = mask.sum(), mask[has_colour].sum()
            both[b, j] = [(mask & (thing == l)).sum() for l in range(1, 5)] + \
                         [(mask & (colour == l)).sum() for l in range(5, 8)]
    whole = np.array([(thing == l).sum() for l in range(1, 5)] + [(colour == l).sum() for l in range(5, 8)])
    out["dissect_threshold"], out["dissect_both"], out["dissect_active"] = threshold, both, active
    out["dissect_truth"] = whole.astype(float)

    # coefficients on the subject, at its border, behind it
    share = np.stack([(thing[i] == LABELS.index(truth[i]) + 1).reshape(side, 8, side, 8).mean((1, 3)).ravel()
                      for i in range(n)])
    where = [share >= 0.9, (share > 0.1) & (share < 0.9), share <= 0.1]
    out["regions"] = np.stack([[maps[:, b][w].mean(0) for w in where] for b in range(blocks)])

    # percentile masks of the class's first neuron, own and running mean over blocks
    stats = np.zeros((blocks, 2, 5))
    pooled = np.zeros((blocks, 2, 2))
    for i in range(n):
        true = thing[i] == LABELS.index(truth[i]) + 1
        own = np.stack([maps[i, b, :, stable_top(ln[b, :, truth[i]], 1)[0]] for b in range(blocks)])
        running = np.cumsum(own, 0) / np.arange(1, blocks + 1)[:, None]
        for b in range(blocks):
            for k, m in enumerate((own[b], running[b])):
                up = upsample(m)[0]
                mask = up > np.percentile(up, 80)
                cut, union = (mask & true).sum(), (mask | true).sum()
                pooled[b, k] += cut, union
                stats[b, k] += np.array([0, cut / union, cut / mask.sum(), cut / true.sum(),
                                         true.ravel()[up.argmax()]]) / n
    stats[:, :, 0] = pooled[:, :, 0] / pooled[:, :, 1]
    out["masks"] = stats


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/data/atlas"
    pictures(folder / "pictures")
    model = open_model()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    paths = sorted((folder / "pictures").glob("class_*/*.png"))
    truth = np.array([int(p.parent.name.split("_")[1]) for p in paths])
    images = torch.stack([transform(Image.open(p).convert("RGB")) for p in paths])
    seen = forward(model, images)
    blocks, n = len(model.blocks), len(paths)
    state = {k: v.double().numpy() for k, v in model.state_dict().items()}
    E, bias, gamma, beta = (state[k] for k in ("head.weight", "head.bias", "norm.weight", "norm.bias"))
    eps, classes = model.norm.eps, E.shape[0]
    post = np.stack([seen[f"post{b}"] for b in range(blocks)], 1)  # [n, blocks, tokens, neurons]
    neurons, patches = post.shape[3], post.shape[2] - 1
    maps = post[:, :, 1:, :]
    logits = seen["logits"]
    out = {}

    # accuracy
    order = np.argsort(-logits, axis=1, kind="stable")
    place = np.array([list(order[i]).index(truth[i]) for i in range(n)])
    others = np.where(np.eye(classes, dtype=bool)[truth], -np.inf, logits).max(1)
    true_logit = logits[np.arange(n), truth]
    out["accuracy"] = np.array([(place == 0).sum(), (place < 5).sum()], float)
    out["class_margin"] = np.array([(true_logit - others)[truth == LABELS[c]].mean() for c in range(CLASSES)])
    out["class_logit"] = np.array([true_logit[truth == LABELS[c]].mean() for c in range(CLASSES)])

    # distributions over patches
    flat = maps.transpose(1, 3, 0, 2).reshape(blocks, neurons, -1)
    ordered = np.sort(flat, axis=2)
    out["threshold"] = ordered[:, :, math.ceil(Q * flat.shape[2]) - 1]
    out["threshold_99"] = ordered[:, :, math.ceil(0.99 * flat.shape[2]) - 1]
    out["unit_mean"], out["unit_std"] = flat.mean(2), flat.std(2)
    out["unit_min"], out["unit_max"] = flat.min(2), flat.max(2)
    out["unit_density"] = (flat >= 2.0 ** -13).mean(2)

    # class means and concentration
    reduced = maps.mean(2)  # [n, blocks, neurons]
    mean = np.stack([reduced[truth == LABELS[c]].mean(0) for c in range(CLASSES)])
    out["class_mean"] = mean
    w = np.maximum(mean, 0)
    p = w / w.sum(2, keepdims=True)
    out["effective"] = np.exp(-np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(2))
    out["gini"] = np.abs(w[..., :, None] - w[..., None, :]).sum((2, 3)) / (2 * neurons * neurons * w.mean(2))
    out["top3_share"] = np.sort(p, axis=2)[:, :, -3:].sum(2)
    tops = [[set(stable_top(mean[c, b], 10)) for b in range(blocks)] for c in range(CLASSES)]
    out["jaccard01"] = np.array([len(tops[0][b] & tops[1][b]) / len(tops[0][b] | tops[1][b]) for b in range(blocks)])

    # exemplars
    peak = maps.max(2)
    ids = np.stack([[stable_top(peak[:, b, j], EXEMPLARS) for j in range(neurons)] for b in range(blocks)])
    out["exemplar_id"] = ids.astype(float)
    out["exemplar_value"] = np.stack([[peak[ids[b, j], b, j] for j in range(neurons)] for b in range(blocks)])
    out["exemplar_patch"] = np.stack([[maps[ids[b, j, 0], b, :, j].argmax() for j in range(neurons)]
                                      for b in range(blocks)]).astype(float)

    # channels of the second matrix
    through = np.stack([seen[f"fc2{b}"] for b in range(blocks)], 1)[:, :, 1:, :]  # [n, blocks, patches, dim]
    summit, dim = through.max(2), through.shape[3]
    leaders = np.stack([[stable_top(summit[:, b, d], EXEMPLARS) for d in range(dim)] for b in range(blocks)])
    out["channel_id"] = leaders.astype(float)
    out["channel_value"] = np.stack([[summit[leaders[b, d], b, d] for d in range(dim)] for b in range(blocks)])
    out["channel_patch"] = np.stack([[through[leaders[b, d, 0], b, :, d].argmax() for d in range(dim)]
                                     for b in range(blocks)]).astype(float)
    spread = through.transpose(1, 3, 0, 2).reshape(blocks, dim, -1)
    out["channel_mean"], out["channel_min"] = spread.mean(2), spread.min(2)
    out["channel_threshold"] = np.sort(spread, 2)[:, :, math.ceil(Q * spread.shape[2]) - 1]

    # alignment
    values = np.stack([state[f"blocks.{b}.mlp.fc2.weight"].T for b in range(blocks)])  # [blocks, neurons, dim]
    centred = values - values.mean(2, keepdims=True)
    fold = np.einsum("bjd,cd->bjc", centred * gamma, E)
    scale = np.sqrt(values.var(2) + eps)[..., None]
    ln = fold / scale + (E @ beta + bias)
    raw = np.einsum("bjd,cd->bjc", values, E)

    # reads and writes: class, hits, labelled, place, verdict. Six images of a class, eight exemplars: at
    # least half of the six strongest, and three
    verdicts = ("agree", "suppress", "other", "shared", "silent", "unknown")
    own_score = ln - ln.mean(1, keepdims=True)
    reads = np.zeros((blocks, neurons, 5))
    for b in range(blocks):
        for j in range(neurons):
            shown = truth[ids[b, j]]
            held = {c: (shown[:min(EXEMPLARS, (truth == c).sum())] == c) for c in dict.fromkeys(shown.tolist())}
            is_read = {c: bool(h.mean() >= 0.5 and (h.sum() >= 3 or (truth == c).sum() >= EXEMPLARS)) for c, h in held.items()}
            c = max(held, key=lambda c: (is_read[c], held[c].mean()))  # the first of equals
            before = (own_score[b, j] > own_score[b, j, c]).sum()
            verdict = ("shared" if not is_read[c] else "agree" if before < 5 else
                       "suppress" if before + 1 > (classes + 1) / 2 else "other")
            reads[b, j] = c, held[c].sum(), held[c].size, before, verdicts.index(verdict)
            if peak[ids[b, j, 0], b, j] < 2.0 ** -13:
                reads[b, j] = -1, 0, 0, -1, verdicts.index("silent")
    out["reads_writes"] = reads

    # selectivity towards the class a value vector promotes most; maxima counted in 16 bins an octave
    target = ln.argmax(2)
    auroc = np.full((blocks, neurons), np.nan)
    cohen, ratio = np.full_like(auroc, np.nan), np.full_like(auroc, np.nan)

    def bin_of(x):
        if x < 2.0 ** -13:
            return 0
        mantissa, exponent = math.frexp(x)  # x = mantissa * 2^exponent, mantissa in [0.5, 1)
        return 1 + (exponent + 12) * 16 + int((mantissa * 2 - 1) * 16)

    for b in range(blocks):
        for j in range(neurons):
            mine = truth == target[b, j]
            if not mine.any() or mine.all():
                continue
            a = [bin_of(x) for x in peak[mine, b, j]]
            o = [bin_of(x) for x in peak[~mine, b, j]]
            auroc[b, j] = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in o])
            x, y = reduced[mine, b, j], reduced[~mine, b, j]
            cohen[b, j] = (x.mean() - y.mean()) / math.sqrt(0.5 * (x.var() + y.var()))
            if y.mean() > 0 and x.mean() >= 0:
                ratio[b, j] = x.mean() / y.mean()
    out["auroc"], out["cohen"], out["ratio"] = auroc, cohen, ratio

    # distances between classes 0..3
    for k in (1, K):
        d1, d2, d3 = (np.zeros((blocks, CLASSES, CLASSES)) for _ in range(3))
        for b in range(blocks):
            first = [stable_top(ln[b, :, c], k) for c in range(classes)]
            own = [maps[truth == LABELS[c]][:, b][:, :, first[LABELS[c]]].mean(2) for c in range(CLASSES)]  # [images, patches]
            union = sorted(set(int(j) for c in range(classes) for j in first[c]))
            z = mean[:, b][:, union] / flat.std(2)[b, union]
            for c in range(CLASSES):
                for o in range(CLASSES):
                    d1[b, c, o] = np.linalg.norm(own[c].mean(0) - own[o].mean(0))
                    pairs = [np.sum((x - y) ** 2) for i, x in enumerate(own[c]) for m, y in enumerate(own[o])
                             if c != o or i != m]
                    d2[b, c, o] = math.sqrt(np.mean(pairs))
                    d3[b, c, o] = np.linalg.norm(z[c] - z[o])
        out[f"d1_k{k}"], out[f"d2_k{k}"], out[f"d3_k{k}"] = d1, d2, d3

    # direct logit attribution to the true class
    final = seen[f"resid{blocks - 1}"][:, 0]
    sigma = np.sqrt(final.var(1) + eps)

    def direct(x):  # [n, dim] -> logits of the true class
        return ((x - x.mean(1, keepdims=True)) * gamma * E[truth]).sum(1) / sigma

    parts = [direct(seen["embed"][:, 0])]
    for b in range(blocks):
        parts += [direct(seen[f"attn{b}"][:, 0]), direct(seen[f"mlp{b}"][:, 0])]
    whole = np.sum(parts, 0) + (E @ beta + bias)[truth]
    assert np.abs(whole - true_logit).max() < 1e-9
    by_class = lambda x: np.stack([x[truth == LABELS[c]].mean(0) for c in range(CLASSES)])
    out["direct"] = by_class(np.stack(parts, 1))
    heads = model.blocks[0].attn.num_heads
    of_head = np.zeros((n, blocks, heads))
    for b in range(blocks):
        z, width = seen[f"z{b}"][:, 0], E.shape[1] // heads
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            of_head[:, b, h] = direct(z[:, part] @ state[f"blocks.{b}.attn.proj.weight"][:, part].T)
        left = parts[1 + 2 * b] - of_head[:, b].sum(1)  # the bias
        assert np.abs(left - direct(np.tile(state[f"blocks.{b}.attn.proj.bias"], (n, 1)))).max() < 1e-9
    out["heads"] = by_class(of_head)
    given = post[:, :, 0, :] / sigma[:, None, None] * fold[:, :, truth].transpose(2, 0, 1)
    contribution = by_class(given)
    out["contribution"] = contribution
    size = np.sort(np.abs(contribution), axis=2)[:, :, ::-1]
    share = np.cumsum(size, 2) / size.sum(2, keepdims=True)
    out["k50"], out["k90"] = ((share < q).sum(2) + 1.0 for q in (0.5, 0.9))
    out["cancel"] = size.sum(2) / np.abs(contribution.sum(2))
    rank = lambda x: np.argsort(np.argsort(x)).astype(float)
    out["spearman"] = np.array([[np.corrcoef(rank(contribution[c, b]), rank(ln[b, :, LABELS[c]]))[0, 1]
                                 for b in range(blocks)] for c in range(CLASSES)])

    # reading tokens early
    def lens(x):
        mu, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return ((x - mu) / np.sqrt(var + eps) * gamma + beta) @ E.T + bias

    read = {s: [lens(seen[f"{s}{b}"]) for b in range(blocks)] for s in ("resid", "attn", "mlp")}
    place_of = lambda z: np.array([[(z[i, t] > z[i, t, truth[i]]).sum() + (z[i, t, :truth[i]] == z[i, t, truth[i]]).sum()
                                    for t in range(z.shape[1])] for i in range(n)])
    ident = np.zeros((blocks, 3, 2, 2))  # mean, rate by class token and patches
    with_one = np.zeros((blocks, 3))
    for b in range(blocks):
        for s, name in enumerate(("resid", "attn", "mlp")):
            r = place_of(read[name][b])
            for g, tokens in enumerate((r[:, :1], r[:, 1:])):
                ident[b, s, g] = (1 - tokens / classes).mean(), (tokens == 0).mean()
            with_one[b, s] = (r[:, 1:] == 0).any(1).mean()
    out["ident"], out["ident_images"] = ident, with_one
    # class-labelled patches (the first pixel decides) against the others; label maps are drawn by truth_maps
    place_all = {name: [place_of(read[name][b])[:, 1:] for b in range(blocks)] for name in ("resid", "attn", "mlp")}
    at_truth = lambda z: z[np.arange(n)[:, None], np.arange(z.shape[1]), truth[:, None]]
    change = np.zeros((blocks, 2, 2))
    eight = np.zeros((blocks, 8))
    for b in range(1, blocks):
        before = at_truth(read["resid"][b - 1])
        for s, name in enumerate(("attn", "mlp")):
            up = at_truth(read[name][b]) > before
            change[b, s] = up[:, :1].mean(), up[:, 1:].mean()
        best = [z.argmax(2) for z in (read["resid"][b - 1], read["attn"][b], read["mlp"][b])]
        now = read["resid"][b].argmax(2)
        cell = sum((x == now).astype(int) << i for i, x in enumerate(best))
        eight[b] = np.bincount(cell.ravel(), minlength=8)
    out["change"], out["composition"] = change, eight
    change_input = np.zeros((blocks, 2))
    for b in range(1, blocks):
        up = at_truth(read["mlp"][b]) > at_truth(lens(seen[f"resid{b}"] - seen[f"mlp{b}"]))
        change_input[b] = up[:, :1].mean(), up[:, 1:].mean()
    out["change_input"] = change_input
    own = [[set(stable_top(raw[b, j], 5)) for j in range(neurons)] for b in range(blocks)]
    tops_of = [[[stable_top(post[i, b, t], 5) for t in range(patches + 1)] for i in range(n)] for b in range(blocks)]
    out["agreement_neuron"] = np.array([np.mean([[any(truth[i] in own[b][j] for j in tops_of[b][i][t]) for t in range(patches + 1)]
                                                 for i in range(n)]) for b in range(blocks)])
    votes = [[[set(raw[b, tops_of[b][i][t]].argmax(1)) for t in range(patches + 1)] for i in range(n)] for b in range(blocks)]
    share = np.array([[np.mean([[c in votes[b][i][t] for t in range(patches + 1)] for i in range(n)]) for c in range(classes)]
                      for b in range(blocks)])
    out["vote_match"] = np.array([[np.mean([[bool(votes[b][i][t] & votes[o][i][t]) for t in range(patches + 1)] for i in range(n)]),
                                   1 - np.prod(1 - share[b] * share[o])] for b in range(blocks) for o in range(b, blocks)])
    agree = np.zeros((blocks, 2))
    for b in range(blocks):
        key_sets = [set(stable_top(raw[b, :, c], 5)) for c in range(classes)]
        hits = matches = 0
        for i in range(n):
            for t in range(patches + 1):
                top = stable_top(post[i, b, t], 5)
                hits += bool(key_sets[truth[i]] & set(top))
                matches += read["mlp"][b][i, t].argmax() in set(raw[b, top].argmax(1))
        agree[b] = np.array([hits, matches]) / (n * (patches + 1))
    out["agreement"] = agree

    key_values(LABELS, tops_of, raw, truth, place == 0, out)
    pooled("gap_medium", paths, truth, out)
    pooled("vit_base_mae_ft", paths, truth, out)
    pooled("rpn_base", paths, truth, out)

    # stray tokens
    norms = np.stack([np.linalg.norm(seen[f"mid{b}"], axis=2) for b in range(blocks)], 1)  # [n, blocks, tokens]
    patch_norms = norms[:, :, 1:]
    median = np.sort(patch_norms, 2)[:, :, (patches - 1) // 2]
    stray = patch_norms > 2.5 * median[..., None]
    out["outliers"] = stray.sum((0, 2)).astype(float)
    out["norm_median"] = np.sort(patch_norms.transpose(1, 0, 2).reshape(blocks, -1), 1)[:, math.ceil(n * patches / 2) - 1]
    out["norm_class_token"] = norms[:, :, 0].mean(0)
    shares = np.zeros((n, blocks))
    for i in range(n):
        for b in range(blocks):
            firing = peak[i, b] > 0
            votes = np.bincount(maps[i, b].argmax(0)[firing], minlength=patches)
            shares[i, b] = votes.max() / firing.sum()
    out["top_share"] = shares.mean(0)

    # what MILAN's programs would be given: maps brought to the input with either edge, and the pictures
    maps_of = {"neuron": (maps, ids), "channel": (through, leaders)}
    axis = (torch.arange(32, dtype=torch.float64) + 0.5) / 16 - 1
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1)[None]
    for name, (kind, b, j) in {"a": ("neuron", 0, 5), "b": ("neuron", 1, 17), "c": ("channel", 1, 2)}.items():
        values, chosen = maps_of[kind][0][:, b, :, j], maps_of[kind][1][b, j][:2]
        m = torch.from_numpy(np.ascontiguousarray(values[chosen])).reshape(2, 1, 4, 4)
        for pad, mode in (("edge", "border"), ("zeros", "zeros")):
            out[f"export_{pad}_{name}"] = torch.nn.functional.grid_sample(
                m, grid.expand(2, -1, -1, -1), mode="bilinear", padding_mode=mode, align_corners=False).numpy()
        scale, shift = (torch.as_tensor(v, dtype=torch.float64).reshape(3, 1, 1)
                        for v in (transform.transforms[-1].std, transform.transforms[-1].mean))
        out[f"export_picture_{name}"] = torch.round((images[chosen].double() * scale + shift) * 255).numpy()

    truth_maps(folder, paths, truth, maps, ordered, ln, out)
    take = np.floor((np.arange(32) + 2 + 0.5) * 40 / 35).astype(int)
    subject = np.stack([np.asarray(Image.open(folder / f"truth/images/object/{p.parent.name}/{p.stem}.png"))[:, :, 0][np.ix_(take, take)]
                        == LABELS.index(t) + 1 for p, t in zip(paths, truth)])[:, ::8, ::8].reshape(n, -1)
    assert subject.any(1).all()
    context = np.zeros((blocks, 3, 4))  # mean and rate on the subject, then around it
    for b in range(blocks):
        for s, name in enumerate(("resid", "attn", "mlp")):
            for g, chosen in enumerate((subject, ~subject)):
                r = place_all[name][b][chosen]
                context[b, s, g], context[b, s, 2 + g] = (1 - r / classes).mean(), (r == 0).mean()
    out["context"], out["context_tokens"] = context, np.array([subject.sum(), (~subject).sum()], float)
    tensors = {k: torch.from_numpy(np.ascontiguousarray(np.asarray(v, dtype=np.float64))) for k, v in out.items()}
    tensors = {k: torch.nan_to_num(v, nan=-999.0) for k, v in tensors.items()}
    for k in tensors:  # pixels: whole numbers up to 255, and maps that are compared at 2e-5
        if k.startswith("export_"):
            tensors[k] = tensors[k].to(torch.float16 if "picture" in k else torch.float32)
    save_file(tensors, folder / "golden.safetensors",
              metadata={"recorded_with": f"numpy {np.__version__}, torch {torch.__version__}, timm {timm.__version__}"})
    print(f"{n} images, accuracy {out['accuracy']}, {sum(v.numel() for v in tensors.values())} numbers")


if __name__ == "__main__":
    main()
