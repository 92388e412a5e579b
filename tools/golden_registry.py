"""What timm's registry says about every plain Vision Transformer, so that ours can be compared name by name."""

import json

import timm
import torch
from timm.models import get_pretrained_cfg, list_pretrained
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Attention, Block, ResPostBlock, VisionTransformer

PATTERNS = ("vit_*", "deit_*", "deit3_*", "flexivit_*", "eva_large_*", "test_vit*", "beit3_*", "aimv2_*")
PREPROCESSING = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "num_classes")


def activation(module):
    kind = type(module).__name__
    if kind == "GELU":
        return "gelu" if module.approximate == "none" else "gelu_tanh"
    return {"QuickGELU": "quick_gelu", "SiLU": "silu", "GELUTanh": "gelu_tanh", "QuickGELUAct": "quick_gelu"}.get(
        kind, kind)


def refusal(model):
    """Why a model is not a plain Vision Transformer, or None."""
    if type(model) not in (VisionTransformer, VisionTransformerDistilled):
        return "class " + type(model).__name__
    block = model.blocks[0]
    if type(block) not in (Block, ResPostBlock):
        return "block " + type(block).__name__
    if type(block.attn) is not Attention:
        return "attention " + type(block.attn).__name__
    if not isinstance(block.norm1, torch.nn.LayerNorm):
        return "norm " + type(block.norm1).__name__
    if not isinstance(block.attn.norm, torch.nn.Identity) or block.attn.gate is not None:
        return "scale norm or gate"
    if type(block.mlp).__name__ not in ("Mlp", "GluMlp"):
        return "mlp " + type(block.mlp).__name__
    if type(model.patch_embed).__name__ != "PatchEmbed" or not isinstance(model.patch_embed.proj, torch.nn.Conv2d):
        return "patch embedding"
    if model.global_pool not in ("token", "avg", "map"):
        return "pool " + (model.global_pool or "none")
    return None


def describe(name, model):
    block, pool = model.blocks[0], model.attn_pool
    cfg = model.pretrained_cfg
    here = lambda module: not isinstance(module, torch.nn.Identity)
    return {
        "dim": model.embed_dim, "depth": len(model.blocks), "heads": block.attn.num_heads,
        "neurons": block.mlp.fc2.in_features, "swiglu": block.mlp.fc1.out_features == 2 * block.mlp.fc2.in_features,
        "img_size": list(model.patch_embed.img_size), "patch": model.patch_embed.patch_size[0],
        "act": activation(block.mlp.act), "eps": block.norm1.eps, "qkv_bias": block.attn.qkv.bias is not None,
        "qk_norm": here(block.attn.q_norm), "layer_scale": here(getattr(block, "ls1", torch.nn.Identity())),
        "post_norm": type(block) is ResPostBlock, "cls": model.cls_token is not None,
        "dist": hasattr(model, "dist_token"), "reg": model.num_reg_tokens, "prefix_positions":
        model.pos_embed is not None and model.pos_embed.shape[1] > model.patch_embed.num_patches,
        "norm_pre": here(model.norm_pre), "patch_bias": model.patch_embed.proj.bias is not None,
        "final_norm": here(model.norm), "fc_norm": here(model.fc_norm), "pool": model.global_pool,
        "pool_include_prefix": bool(model.pool_include_prefix), "dynamic": bool(model.dynamic_img_size),
        "pool_neurons": pool.mlp.fc1.out_features if pool is not None else 0,
        "parameters": sum(p.numel() for p in model.parameters()), "tag": cfg.get("tag") or "",
        **{k: list(v) if isinstance(v, tuple) else v for k, v in cfg.items() if k in PREPROCESSING},
    }


def tags(name):
    """Preprocessing of every tag that differs from the default one."""
    base = get_pretrained_cfg(name)
    out = {}
    for full in list_pretrained(name + ".*"):
        cfg = get_pretrained_cfg(full)
        diff = {k: getattr(cfg, k) for k in PREPROCESSING if getattr(cfg, k) != getattr(base, k)}
        out[full.split(".", 1)[1]] = {k: list(v) if isinstance(v, tuple) else v for k, v in diff.items()}
    return out


def record(out, versions):
    plain, other = {}, {}
    names = sorted({n for p in PATTERNS for n in timm.list_models(p)})
    for name in names:
        with torch.device("meta"):
            try:
                model = timm.create_model(name)
            except Exception as problem:  # some models cannot be built without data
                other[name] = type(problem).__name__
                continue
        reason = refusal(model)
        if reason:
            other[name] = reason
        else:
            plain[name] = {**describe(name, model), "tags": tags(name)}
    lines = [f" {json.dumps(n)}: {json.dumps(v)}" for n, v in plain.items()]
    text = (f'{{"recorded_with": {json.dumps(versions["recorded_with"])},\n"plain": {{\n' + ",\n".join(lines)
            + f'\n}},\n"other": {json.dumps(other, indent=1)}\n}}\n')
    json.loads(text)
    (out / "registry.json").write_text(text)
    print(f"  registry.json: {len(plain)} plain, {len(other)} other")
