"""Goldens of tiny timm models: one folder per case with the checkpoint as timm saves it and every site."""

import os

os.environ.setdefault("TIMM_FUSED_ATTN", "0")

import json
import shutil
import tempfile
from pathlib import Path

import timm
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

import golden_formula as formula
from golden_trace import Layer, Parts, close, float64, trace

BASE = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=10)

# logits 0..3, |logits|, gradient of logit 3 at [1][10][20], its norm, parameters: spec/models.md 8.2
TABLE = {
    "plain": (-0.813476204, 0.295591078, -0.859266534, -1.383790391, 2.764987493, -7.002907938e-3, 1.619246854, 19810),
    "distilled": (-0.854954238, 0.017774677, -0.936671058, -0.040498397, 1.697830204, -6.766246716e-3, 0.9645737416,
                  20108),
    "deit3": (-2.218248128, -0.402785782, 0.163229193, -0.614906440, 3.358144832, -1.643650407e-3, 1.258111422, 19882),
    "mae_ft": (-0.659265616, 0.019646278, -0.621762495, -0.975575976, 2.376742694, -1.659836091e-3, 1.901356606,
               19810),
    "dinov2": (-1.704701613, -0.901559560, 0.077861090, 0.206556275, 2.836124214, 7.164513521e-3, 0.6243333721, 19906),
    "dinov2_reg_swiglu": (-0.006380848, -0.208197589, -0.386394856, -0.028816566, 1.624108714, -1.425132289e-2,
                          0.4730062962, 20042),
    "clip_quick": (-1.986574349, -0.663554912, -0.702033815, -1.025394093, 3.531873517, -6.539428077e-3, 0.9100449189,
                   19834),
    "siglip_map": (-0.366928060, -1.309976288, 0.303909597, -0.112003812, 2.384029034, 1.383303403e-3, 0.7949059446,
                   26962),
    "siglip_gap": (-0.572050723, 0.064240832, -0.042231125, -0.531163265, 1.349518833, -2.300512098e-3, 1.332699366,
                   19762),
    "rpn": (-0.393778141, 0.230909920, -0.193387617, -1.613550660, 2.050000607, -2.232333963e-3, 2.072163188, 19618),
}


def case(folder, name, what, batch=1, size=(32, 32), row=None, run_size=None, result=False, config=None, few=False,
         **args):
    return dict(folder=folder, name=name, what=what, batch=batch, size=size, row=row, run_size=run_size,
                result=result, config=config, few=few or bool(run_size), args={**BASE, **args})


CASES = [
    case("vit_base", "vit_base_patch16_224", "plain, two images, attn.hook_result", batch=2, row="plain", result=True),
    case("vit_base_dino", "vit_base_patch16_224.dino", "no classes (DINO; MAE alike)", num_classes=0, few=True),
    case("vit_base_mae_ft", "vit_base_patch16_224.mae", "fine-tuned MAE: avg then fc_norm", row="mae_ft",
         global_pool="avg"),
    case("vit_base_4heads", "vit_base_patch16_224", "4 heads of width 6", num_heads=4),
    case("vit_base_qk_norm", "vit_base_patch16_224", "qk_norm; hook_q and hook_k are after the norm", qk_norm=True),
    case("vit_base_nonsquare", "vit_base_patch16_224", "32 high, 48 wide", size=(32, 48), img_size=[32, 48], few=True),
    case("vit_base_miil", "vit_base_patch16_224_miil", "no qkv bias"),
    case("eva_large", "eva_large_patch14_196", "avg then fc_norm", batch=2, few=True),
    case("deit_base", "deit_base_patch16_224", "DeiT, label_names in config.json", few=True,
         config=dict(label_names=[f"n{k:08d}" for k in range(1440764, 1440774)],
                     label_descriptions={f"n{k:08d}": f"thing {k - 1440764}, other name" for k in
                                         range(1440764, 1440774)})),
    case("deit_base_distilled", "deit_base_distilled_patch16_224", "two heads", row="distilled"),
    case("deit3_base", "deit3_base_patch16_224", "LayerScale, no position for the class token", row="deit3"),
    case("dinov2_base", "vit_base_patch14_dinov2", "LayerScale", row="dinov2"),
    case("dinov2_giant", "vit_giant_patch14_dinov2", "SwiGLU, no classes", num_classes=0, few=True),
    case("dinov2_reg4_base", "vit_base_patch14_reg4_dinov2", "4 registers, no classes", num_classes=0),
    case("dinov2_reg4_giant", "vit_giant_patch14_reg4_dinov2", "4 registers, SwiGLU", row="dinov2_reg_swiglu"),
    case("clip_base", "vit_base_patch16_clip_224", "norm_pre, eps 1e-5, erf GELU", few=True),
    case("clip_base_quickgelu", "vit_base_patch16_clip_quickgelu_224", "norm_pre, QuickGELU", row="clip_quick"),
    case("siglip_base", "vit_base_patch16_siglip_224", "map pool, erf GELU, no classes", num_classes=0, few=True),
    case("siglip_base32", "vit_base_patch32_siglip_256", "map pool, tanh GELU", row="siglip_map"),
    case("siglip_so400m_14", "vit_so400m_patch14_siglip_224", "map pool, 89 neurons (mlp_ratio 3.7362), 4 heads",
         num_heads=4),
    case("siglip_so400m_16", "vit_so400m_patch16_siglip_256", "map pool, tanh GELU, 89 neurons, no classes",
         num_classes=0, few=True),
    case("siglip_gap_base", "vit_base_patch16_siglip_gap_224", "norm then avg", row="siglip_gap"),
    case("gap_medium", "vit_medium_patch16_gap_240", "norm then avg, LayerScale, no qkv bias"),
    case("reg1_gap_medium", "vit_medium_patch16_reg1_gap_256", "1 register, avg then fc_norm, LayerScale"),
    case("reg4_gap_base", "vit_base_patch16_reg4_gap_256", "4 registers, avg then fc_norm"),
    case("rpn_base", "vit_base_patch16_rpn_224", "residual post-norm", row="rpn"),
    case("flexivit_base", "flexivit_base", "no position for the class token", few=True),
    case("test_vit", "test_vit", "mlp_ratio 3, dynamic image size"),
    case("test_vit2", "test_vit2", "1 register with position, no class token, avg then fc_norm"),
    case("resample_48", "vit_base_patch16_224", "32 px checkpoint run at 48 px", run_size=(48, 48)),
    case("resample_32x64", "vit_base_patch16_224", "32 px checkpoint run at 32x64", run_size=(32, 64)),
    case("resample_24", "vit_base_patch16_224", "32 px checkpoint run at 24 px: shrinking", run_size=(24, 24)),
    case("resample_reg4_48", "vit_base_patch14_reg4_dinov2", "32 px checkpoint run at 48 px, no prefix positions",
         run_size=(48, 48)),
    case("resample_nonsquare", "vit_base_patch16_224", "32x48 checkpoint run at 48x32: as many tokens, another grid",
         size=(32, 48), img_size=[32, 48], run_size=(48, 32)),
]
# Resampling at load goes through another path of timm; FlexiViT is bilinear without antialias there.
LOAD_CASES = [
    case("resample_load_flexivit_48", "flexivit_base", "32 px checkpoint loaded into a 48 px model: bilinear",
         run_size=(48, 48)),
]
# Cases that differ from another one only in the input size or the tag keep few sites.
FEW = ("hook_embed", "hook_full_embed", "blocks.0.attn.hook_pattern", "blocks.1.mlp.hook_pre",
       "blocks.1.mlp.hook_pre_linear", "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post",
       "ln_final.hook_normalized", "hook_pre_head", "logits")
# Block 1 keeps every site, block 0 (whose errors block 1 would show) leaves these out, to keep the files small.
ONLY_BLOCK_1 = tuple("blocks.0." + s for s in (
    "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_attn_scores", "attn.hook_z", "ln1.hook_normalized",
    "ln2.hook_normalized", "hook_resid_mid"))


def parts(model):
    """The roles of a timm VisionTransformer."""
    layers = []
    for b in model.blocks:
        a = b.attn
        post = type(b).__name__ == "ResPostBlock"
        norm = None if isinstance(a.q_norm, torch.nn.Identity) else (a.q_norm, a.k_norm)
        layers.append(Layer(block=b, norm1=b.norm1, norm2=b.norm2, q=[a.qkv], proj=a.proj,
                            attn_add=b.norm1 if post else b.ls1, fc1=[b.mlp.fc1], fc2=b.mlp.fc2,
                            mlp_add=b.norm2 if post else b.ls2, heads=a.num_heads,
                            q_norm=norm and norm[0], k_norm=norm and norm[1]))
    heads = [model.head] + ([model.head_dist] if hasattr(model, "head_dist") else [])
    has_classes = model.num_classes > 0
    return Parts(patch=model.patch_embed, layers=layers, run=lambda m, x: m(x), pre_head=heads if has_classes else [],
                 norm_pre=None if isinstance(model.norm_pre, torch.nn.Identity) else model.norm_pre,
                 final=model.fc_norm if isinstance(model.norm, torch.nn.Identity) else model.norm,
                 has_logits=has_classes)


def metadata(c, versions, architecture, **more):
    return {"case": c["folder"], "what": c["what"], "architecture": architecture, "formula": formula.FORMULA,
            **versions, **{k: str(v) for k, v in more.items()}}


def save_sorted(tensors, path, meta):
    """A safetensors file whose header is in a fixed order, so that recording again gives the same bytes."""
    header, data, at = {"__metadata__": dict(sorted(meta.items()))}, [], 0
    kinds = {torch.float64: "F64", torch.float32: "F32"}
    for name in sorted(tensors, key=lambda k: (-tensors[k].element_size(), k)):
        raw = tensors[name].contiguous().numpy().tobytes()
        header[name] = {"dtype": kinds[tensors[name].dtype], "shape": list(tensors[name].shape),
                        "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))


def write_golden(folder, tensors, meta):
    folder.mkdir(parents=True, exist_ok=True)
    save_sorted(tensors, folder / "golden.safetensors", meta)
    for file in folder.iterdir():
        file.chmod(0o644)


def check_row(row, logits, grad, count):
    """The model against its line of the table; the numbers there have nine digits."""
    *first, norm, pixel, grad_norm, parameters = TABLE[row]
    got = [*logits[0, :4].tolist(), logits[0].norm().item(), grad[0, 1, 10, 20].item(), grad[0].norm().item()]
    want = [*first, norm, pixel, grad_norm]
    worst = max(abs(a - b) for a, b in zip(got, want))
    print(f"    table row {row}: largest difference {worst:.2e}, parameters {count} (table {parameters})")
    assert worst <= 1.2e-9 and count == parameters, (row, got, want)


def record_sites(model, parts_of, c, x, few=False):
    """All tensors of a golden: sites in fp32, logits and input gradient from float64."""
    p = parts_of(model)
    sites = trace(model, p, x, result=c.get("result", False))
    if few:
        sites = {k: v for k, v in sites.items() if k in FEW}
    if not c.get("result", False):
        sites = {k: v for k, v in sites.items() if k not in ONLY_BLOCK_1}
    exact, grad = float64(model, parts_of, x)
    name = "logits" if p.has_logits else "hook_pre_head"
    close(sites[name].double(), exact, name + " fp32 against float64")
    return {"input": x, **sites, name + "_f64": exact, "grad": grad.float()}, exact, grad


def record_case(out, c, versions):
    model = formula.fill(timm.create_model(c["name"], **c["args"])).eval()
    folder = out / c["folder"]
    shutil.rmtree(folder, ignore_errors=True)
    save_for_hf(model, folder, model_config=c["config"], safe_serialization=True)
    count = sum(p.numel() for p in model.parameters())
    size = c["run_size"] or c["size"]
    extra = {}
    if c in LOAD_CASES:
        args = {**c["args"], "img_size": c["run_size"]}
        model = timm.create_model(c["name"], pretrained=True, pretrained_cfg_overlay=dict(
            file=str(folder / "model.safetensors"), hf_hub_id=None, custom_load=False, num_classes=10), **args).eval()
    elif c["run_size"]:
        model.set_input_size(img_size=c["run_size"])
    if c["run_size"]:
        extra["pos_embed_resampled"] = model.pos_embed.detach()
    x = formula.image(c["batch"], *size)
    tensors, exact, grad = record_sites(model, parts, c, x, few=c["few"])
    print(f"  {c['folder']}: {c['what']}")
    if c["row"]:
        check_row(c["row"], exact, grad, count)
    objective = "logit:3" if model.num_classes else "feature:3"
    act = model.blocks[0].mlp.act
    write_golden(folder, {**tensors, **extra}, metadata(
        c, versions, c["name"], objective=objective, parameters=count, eps=model.blocks[0].norm1.eps,
        activation=type(act).__name__ + (f" {act.approximate}" if hasattr(act, "approximate") else ""),
        run_size=f"{size[0]}x{size[1]}"))
    if not c["run_size"]:
        check_folder(folder, x, tensors["logits" if model.num_classes else "hook_pre_head"])


@torch.no_grad()
def check_folder(folder, x, want):
    """timm itself, given nothing but the folder, computes the same."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    close(model(x), want, f"{folder.name} loaded by timm")


def extra_checks():
    """The other golden numbers of the table's section."""
    c = CASES[0]
    model = formula.fill(timm.create_model(c["name"], **c["args"])).eval().double()
    seen = {}
    model.blocks[1].mlp.fc1.register_forward_hook(lambda m, a, o: seen.update(u=o))
    with torch.no_grad():
        model(formula.image(1, 32, 32).double())
        align = model.head.weight @ model.blocks[1].mlp.fc2.weight
    got = [seen["u"][0, 5, 7].item(), align[3, 7].item(), align[3].max().item()]
    want = [-0.8011557020, 0.2333737914, 0.2788006754]
    print("    plain, U, alignment, maximum:", [f"{a - b:.1e}" for a, b in zip(got, want)])
    assert all(abs(a - b) < 2e-10 for a, b in zip(got, want)) and align[3].argmax() == 70
    pos = formula.tensor("pos", (1, 1, 4, 4))
    for antialias, size, want in [
        (True, (6, 6), (0.2573513, 0.2314515, -0.4378019, 1.1451804, 0.1158424)),
        (True, (3, 3), (-0.0937171, 0.0218960, -0.2915118, 0.3399468, -0.1850368)),
        (True, (2, 8), (-0.4070827, -0.3585409, -0.1555911, 0.1167731, -1.0605758)),
        (False, (6, 6), (0.2829756, 0.2541237, -0.4743164, 1.2041137, -0.2964236)),
        (False, (3, 3), (0.0207315, 0.0077599, -0.3095806, 0.6000518, 0.0282518)),
        (False, (2, 8), (-0.4601756, -0.3658294, 0.0227065, 0.1507646, -0.0584860)),
    ]:
        r = torch.nn.functional.interpolate(pos, size=size, mode="bicubic", align_corners=False, antialias=antialias)
        r = r.flatten()
        got = [r[0], r[1], r[r.numel() // 2], r[-1], r.sum()]
        worst = max(abs(float(a) - b) for a, b in zip(got, want))
        print(f"    position resampling {size} antialias {antialias}: {worst:.1e}")
        assert worst <= 2e-6


def logits_only(out, folder, what, model, versions, architecture, size=(32, 32), keep_input=True):
    x = formula.image(1, *size)
    with torch.no_grad():
        logits = model(x)
    exact, _ = float64(model, parts, x)
    close(logits.double(), exact, folder)
    tensors = {"logits": logits, "logits_f64": exact, **({"input": x} if keep_input else {})}
    write_golden(out / folder, tensors,
                 metadata(dict(folder=folder, what=what), versions, architecture, objective="none",
                          run_size=f"{size[0]}x{size[1]}"))
    if (out / folder / "model.safetensors").exists():  # timm does not read sharded folders
        check_folder(out / folder, x, logits)
    print(f"  {folder}: {what}")


def fresh(out, folder, model):
    shutil.rmtree(out / folder, ignore_errors=True)
    save_for_hf(model, out / folder, safe_serialization=True)
    return load_file(out / folder / "model.safetensors")


VARIANTS = [
    ("variant_sharded", "vit_base in two shards with an index"),
    ("variant_fp16", "vit_base, weights rounded to fp16"),
    ("variant_bf16", "vit_base, weights rounded to bf16"),
    ("variant_module_prefix", "vit_base, every name behind `module.`"),
    ("variant_flat_config",
     "test_vit at its own size, config.json without pretrained_cfg and model_args, fp16, input by formula"),
    ("variant_facebook_dinov2", "DINOv2 giant with registers under Facebook's names"),
    ("variant_openai_clip", "OpenAI CLIP names (`visual.`), text tensors beside them"),
]


def record_variants(out, versions):
    what = dict(VARIANTS)
    name = "vit_base_patch16_224"
    make = lambda: formula.fill(timm.create_model(name, **BASE)).eval()
    meta = {"format": "pt"}

    model, f = make(), "variant_sharded"
    state = fresh(out, f, model)
    (out / f / "model.safetensors").unlink()
    save_torch_state_dict(state, out / f, max_shard_size=60000)
    assert (out / f / "model.safetensors.index.json").exists()
    assert len(list((out / f).glob("model-*.safetensors"))) == 2
    logits_only(out, f, what[f], model, versions, name)

    for f, dtype in (("variant_fp16", torch.float16), ("variant_bf16", torch.bfloat16)):
        model = make()
        state = fresh(out, f, model)
        save_file({k: v.to(dtype) for k, v in state.items()}, out / f / "model.safetensors", metadata=meta)
        model.load_state_dict({k: v.to(dtype).float() for k, v in state.items()})
        logits_only(out, f, what[f], model, versions, name)

    model, f = make(), "variant_module_prefix"
    state = fresh(out, f, model)
    save_file({"module." + k: v for k, v in state.items()}, out / f / "model.safetensors", metadata=meta)
    logits_only(out, f, what[f], model, versions, name)

    f = "variant_flat_config"
    model = formula.fill(timm.create_model("test_vit", num_classes=10)).eval()
    state = fresh(out, f, model)
    save_file({k: v.half() for k, v in state.items()}, out / f / "model.safetensors", metadata=meta)
    model.load_state_dict({k: v.half().float() for k, v in state.items()})
    config = json.loads((out / f / "config.json").read_text())
    flat = {"architecture": config["architecture"], "num_features": config["num_features"],
            **{k: v for k, v in config["pretrained_cfg"].items() if k not in ("tag", "license")},
            "fixed_input_size": True, "labels": [f"class {k}" for k in range(config["num_classes"])]}
    (out / f / "config.json").write_text(json.dumps(flat, indent=1) + "\n")
    logits_only(out, f, what[f], model, versions, "test_vit", size=(160, 160), keep_input=False)

    f, name = "variant_facebook_dinov2", "vit_giant_patch14_reg4_dinov2"
    model = formula.fill(timm.create_model(name, **{**BASE, "num_classes": 0})).eval()
    state = fresh(out, f, model)
    facebook = {"mask_token": formula.weight("mask_token", (1, 24)),
                "register_tokens": formula.weight("register_tokens", (1, 4, 24)),
                "pos_embed": formula.weight("pos_embed", (1, 17, 24))}
    for k, v in state.items():
        if k not in ("reg_token", "pos_embed"):
            facebook[k.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")] = v
    save_file(facebook, out / f / "model.safetensors", metadata=meta)
    from timm.models.vision_transformer import checkpoint_filter_fn
    model.load_state_dict(checkpoint_filter_fn(dict(facebook), model))
    c = dict(folder=f, what=what[f])
    tensors, _, _ = record_sites(model, parts, c, formula.image(1, 32, 32), few=True)
    write_golden(out / f, tensors, metadata(c, versions, name, objective="feature:3", run_size="32x32"))
    print(f"  {f}: {what[f]}")

    f, name = "variant_openai_clip", "vit_base_patch16_clip_quickgelu_224"
    model = formula.fill(timm.create_model(name, **BASE)).eval()
    state = fresh(out, f, model)
    clip = openai_names(state)
    for k, shape in {"positional_embedding": (8, 16), "text_projection": (16, 10), "token_embedding.weight": (20, 16),
                     "ln_final.weight": (16,), "ln_final.bias": (16,), "logit_scale": (),
                     "transformer.resblocks.0.ln_1.weight": (16,), "transformer.resblocks.0.ln_1.bias": (16,)}.items():
        clip[k] = formula.tensor(k, shape or (1,)).reshape(shape)
    save_file(clip, out / f / "model.safetensors", metadata=meta)
    model.load_state_dict(checkpoint_filter_fn(dict(clip), model))
    logits_only(out, f, what[f], model, versions, name)


def openai_names(state):
    """timm's CLIP names back to OpenAI's; the projection is stored (in, out) and has no bias."""
    clip = {}
    swaps = [("patch_embed.proj", "conv1"), ("pos_embed", "positional_embedding"), ("cls_token", "class_embedding"),
             ("blocks.", "transformer.resblocks."), ("norm_pre", "ln_pre"), ("norm1", "ln_1"), ("norm2", "ln_2"),
             ("attn.qkv.", "attn.in_proj_"), ("attn.proj", "attn.out_proj"), ("mlp.fc1", "mlp.c_fc"),
             ("mlp.fc2", "mlp.c_proj")]
    for k, v in state.items():
        if k == "head.bias":
            continue
        if k == "head.weight":
            clip["visual.proj"] = v.t().contiguous()
            continue
        name = "ln_post." + k[5:] if k.startswith("norm.") else k
        for old, new in swaps:
            name = name.replace(old, new)
        clip["visual." + name] = v.reshape(-1) if k == "cls_token" else v[0].clone() if k == "pos_embed" else v
    return clip


# Full size: weights by the formula, never stored.
FULL = [
    ("full_vit_base_patch16_224", "vit_base_patch16_224", {}),
    ("full_vit_base_patch14_reg4_dinov2", "vit_base_patch14_reg4_dinov2", dict(img_size=224, num_classes=1000)),
]
FULL_BLOCKS, FULL_TOKENS, FULL_ROWS = (0, 5, 11), [0, 1, 100], (100, 104)


def record_full(out, versions):
    for folder, name, args in FULL:
        model = formula.fill(timm.create_model(name, **args)).eval()
        target = out / folder
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            save_for_hf(model, scratch, safe_serialization=True)
            target.mkdir(parents=True)
            shutil.copy(Path(scratch) / "config.json", target / "config.json")
        x = formula.image(1, 224, 224)
        sites = trace(model, parts(model), x)
        tensors = {k: sites[k] for k in ("logits", "hook_pre_head")}
        for b in FULL_BLOCKS:
            for site in ("hook_resid_post", "mlp.hook_pre", "mlp.hook_post"):
                tensors[f"blocks.{b}.{site}"] = sites[f"blocks.{b}.{site}"][:, FULL_TOKENS]
        del sites
        count = sum(p.numel() for p in model.parameters())
        exact, grad = float64(model, parts, x)
        worst = (tensors["logits"].double() - exact).abs().max().item()
        print(f"  {folder}: fp32 logits differ from float64 by {worst:.2e}, rms {exact.pow(2).mean().sqrt():.3f}")
        tensors["logits_f64"] = exact
        tensors["grad_rows"] = grad[0, :, FULL_ROWS[0]:FULL_ROWS[1]].float()
        write_golden(target, tensors, metadata(
            dict(folder=folder, what="full size; weights and input by the formula, not stored"), versions, name,
            objective="logit:3", parameters=count, run_size="224x224", tokens=",".join(map(str, FULL_TOKENS)),
            grad_rows="100..103", grad_norm=f"{grad.norm().item():.12g}"))
        del model


def record(out, versions):
    extra_checks()
    for c in CASES + LOAD_CASES:
        record_case(out, c, versions)
