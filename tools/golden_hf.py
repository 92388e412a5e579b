"""Goldens of tiny transformers models, saved by `save_pretrained`, with the formula's weights under timm's names.

The same numbers therefore sit in a timm folder and in a transformers folder; where activation and pooling agree, so
must the logits, and the recorder checks that too."""

import json
import re
import shutil

import torch
import transformers as hf
from safetensors.torch import load_file, save_file

import golden_formula as formula
from golden_timm import TABLE, metadata, record_sites, write_golden
from golden_trace import Layer, Parts

hf.logging.set_verbosity_error()
hf.utils.logging.disable_progress_bar()

VIT = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=32,
           patch_size=8, num_labels=10)
DINO = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, mlp_ratio=4, image_size=32, patch_size=8,
            num_labels=10)
VISION = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=32,
              patch_size=8, projection_dim=10)
TEXT = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=20,
            max_position_embeddings=8, bos_token_id=0, eos_token_id=1, pad_token_id=2)
NAMES = {str(k): f"thing {k}, other name" for k in range(10)}
FEATURE = lambda o: o.pooler_output


def case(folder, kind, config, processor, what, **more):
    return {"folder": folder, "kind": kind, "config": config, "processor": processor, "what": what, "run_size": None,
            "near": None, "few": False, "get": lambda o: o.logits, **more}


def cases():
    vit = lambda **k: hf.ViTConfig(**{**VIT, **k})
    deit = lambda **k: hf.DeiTConfig(**{**VIT, **k})
    dino = lambda **k: hf.Dinov2Config(**{**DINO, **k})
    regs = lambda **k: hf.Dinov2WithRegistersConfig(**{**DINO, **k})
    clip = lambda: hf.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=10, num_labels=10)
    clip_vision = hf.CLIPVisionConfig(**VISION)
    siglip = lambda: hf.SiglipConfig(vision_config=VISION, text_config=TEXT, num_labels=10)
    named = dict(id2label=NAMES, label2id={v: int(k) for k, v in NAMES.items()})
    token = lambda o: o.last_hidden_state[:, 0]
    bit = ("BitImageProcessor", dict(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32},
                                     image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]))
    clipp = ("CLIPImageProcessor", dict(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}))
    vitp = ("ViTImageProcessor", dict(size={"height": 32, "width": 32}))
    deitp = ("DeiTImageProcessor", dict(size={"height": 36, "width": 36}, crop_size={"height": 32, "width": 32}))
    siglipp = ("SiglipImageProcessor", dict(size={"height": 32, "width": 32}))
    vision_siglip = hf.SiglipVisionConfig(**VISION)
    return [
        case("hf_vit", hf.ViTForImageClassification, vit(**named), vitp, "eps 1e-12, id2label", near=("plain", 1e-4)),
        case("hf_vit_eps6", hf.ViTForImageClassification, vit(layer_norm_eps=1e-6), vitp,
             "eps 1e-6 as timm: the same logits", near=("plain", 2e-9), few=True),
        case("hf_vit_model", hf.ViTModel, vit(), vitp, "no head; its pooler feeds nothing", get=token, few=True),
        case("hf_deit", hf.DeiTForImageClassification, deit(), deitp, "distillation token, class head only", few=True),
        case("hf_deit_teacher", hf.DeiTForImageClassificationWithTeacher, deit(), deitp, "mean of two heads",
             near=("distilled", 1e-4)),
        case("hf_dinov2", hf.Dinov2ForImageClassification, dino(), bit, "head on class token and patch mean"),
        case("hf_dinov2_swiglu", hf.Dinov2ForImageClassification, dino(use_swiglu_ffn=True), bit, "SwiGLU", few=True),
        case("hf_dinov2_48", hf.Dinov2ForImageClassification, dino(), bit,
             "32 px checkpoint run at 48 px: bicubic without antialias", run_size=(48, 48), few=True),
        case("hf_dinov2_model", hf.Dinov2Model, dino(), bit, "no head", get=token, few=True),
        case("hf_dinov2_reg", hf.Dinov2WithRegistersForImageClassification, regs(), bit, "4 registers"),
        case("hf_dinov2_reg_48", hf.Dinov2WithRegistersForImageClassification, regs(), bit,
             "32 px checkpoint run at 48 px: antialiased", run_size=(48, 48), few=True),
        case("hf_clip_projection", hf.CLIPVisionModelWithProjection, clip_vision, clipp, "projection, QuickGELU",
             get=lambda o: o.image_embeds),
        case("hf_clip_classes", hf.CLIPForImageClassification, clip(), clipp,
             "classifier on the patch mean without post_layernorm", few=True),
        case("hf_clip_full", hf.CLIPModel, clip(), clipp, "image side of a two-tower model", few=True, get=None),
        case("hf_siglip_vision", hf.SiglipVisionModel, vision_siglip, siglipp, "map pool, tanh GELU", get=FEATURE),
        case("hf_siglip_vision_4x", hf.SiglipVisionModel, vision_siglip, siglipp,
             "the same under transformers 4 names: everything behind `vision_model.`", get=FEATURE, few=True),
        case("hf_siglip_classes", hf.SiglipForImageClassification, siglip(), siglipp,
             "classifier on the mean of post_layernorm tokens; the map head is not used", few=True),
    ]


RENAME = [  # in-memory transformers name (regular expression) -> timm name
    (r"^(vit|deit|dinov2|dinov2_with_registers|vision_model)\.", ""),
    (r"^embeddings\.(cls_token|class_embedding)$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.(position_embeddings|position_embedding\.weight)$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^(layernorm|post_layernorm)\.", "norm."),
    (r"^(encoder\.layers?|layers)\.(\d+)\.", r"blocks.\2."),
    (r"\.(attention|self_attn)\.([qkv])_proj\.", r".attn.\2."),
    (r"\.(attention|self_attn)\.(o_proj|out_proj)\.", ".attn.proj."),
    (r"\.(layernorm_before|layer_norm1)\.", ".norm1."),
    (r"\.(layernorm_after|layer_norm2)\.", ".norm2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.gate_proj\.", ".mlp.gate."),
    (r"\.mlp\.up_proj\.", ".mlp.up."),
    (r"\.mlp\.down_proj\.", ".mlp.fc2."),
    (r"^(classifier|cls_classifier|visual_projection)\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
    (r"^head\.probe$", "attn_pool.latent"),
    (r"^head\.attention\.in_proj_", "attn_pool.in_proj."),
    (r"^head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"^head\.layernorm\.", "attn_pool.norm."),
    (r"^head\.mlp\.", "attn_pool.mlp."),
]


def timm_name(name):
    for pattern, new in RENAME:
        name = re.sub(pattern, new, name)
    return name


def value(name, shape):
    """The formula's tensor for an in-memory transformers name: a slice of timm's where timm packs several."""
    t = timm_name(name)
    part = re.search(r"\.attn\.([qkv])\.", t)
    if part:
        rows = shape[0]
        full = formula.weight(t.replace(f".{part[1]}.", ".qkv."), (3 * rows, *shape[1:]))
        return full["qkv".index(part[1]) * rows:][:rows]
    part = re.search(r"\.mlp\.(gate|up)\.", t)
    if part:
        full = formula.weight(t.replace(f".{part[1]}.", ".fc1."), (2 * shape[0], *shape[1:]))
        return full[: shape[0]] if part[1] == "gate" else full[shape[0]:]
    if ".in_proj." in t:
        d = shape[0] // 3
        return torch.cat([formula.weight(t.replace("in_proj", "q"), (d, *shape[1:])),
                          formula.weight(t.replace("in_proj", "kv"), (2 * d, *shape[1:]))])
    if t in ("cls_token", "pos_embed"):  # CLIP drops leading ones
        return formula.weight(t, (1,) * (3 - len(shape)) + tuple(shape)).reshape(shape)
    return formula.weight(t, tuple(shape))


@torch.no_grad()
def fill(model):
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() > 0:
            tensor.copy_(value(name, tuple(tensor.shape)))
    return model


def tower(model):
    for name in ("vit", "deit", "dinov2", "dinov2_with_registers", "vision_model"):
        if hasattr(model, name):
            return getattr(model, name)
    return model


def make_parts(c):
    def parts(model):
        t = tower(model)
        blocks = t.layers if hasattr(t, "layers") else getattr(t.encoder, "layers", None) or t.encoder.layer
        layers = []
        for b in blocks:
            a = b.attention if hasattr(b, "attention") else b.self_attn
            proj = a.o_proj if hasattr(a, "o_proj") else a.out_proj
            pick = lambda *names: next(getattr(b, n) for n in names if hasattr(b, n))
            fc1 = [b.mlp.fc1] if hasattr(b.mlp, "fc1") else [b.mlp.gate_proj, b.mlp.up_proj]
            fc2 = b.mlp.fc2 if hasattr(b.mlp, "fc2") else b.mlp.down_proj
            layers.append(Layer(
                block=b, norm1=pick("norm1", "layernorm_before", "layer_norm1"),
                norm2=pick("norm2", "layernorm_after", "layer_norm2"), q=[a.q_proj, a.k_proj, a.v_proj], proj=proj,
                attn_add=getattr(b, "layer_scale1", proj), fc1=fc1, fc2=fc2,
                mlp_add=getattr(b, "layer_scale2", fc2), heads=3))
        e = t.embeddings
        patch = e.patch_embeddings.projection if hasattr(e, "patch_embeddings") else e.patch_embedding
        heads = [getattr(model, n) for n in ("classifier", "cls_classifier", "distillation_classifier",
                                             "visual_projection") if hasattr(model, n)]
        is_clip = hasattr(t, "pre_layrnorm")
        if c["get"] is None:
            run = lambda m, x: m.get_image_features(pixel_values=x).pooler_output
        else:
            run = lambda m, x: c["get"](m(pixel_values=x))
        final = t.layernorm if hasattr(t, "layernorm") else t.post_layernorm
        return Parts(patch=patch, layers=layers, run=run, pre_head=heads, norm_pre=t.pre_layrnorm if is_clip else None,
                     final=None if c["kind"] is hf.CLIPForImageClassification else final, final_on_all=is_clip,
                     has_logits=bool(heads))

    return parts


def record(out, versions):
    for c in cases():
        folder = out / c["folder"]
        shutil.rmtree(folder, ignore_errors=True)
        c["config"]._attn_implementation = "sdpa"
        model = fill(c["kind"](c["config"]).eval())
        model.save_pretrained(folder)
        if c["folder"] == "hf_siglip_vision_4x":
            state = load_file(folder / "model.safetensors")
            save_file({"vision_model." + k: v for k, v in state.items()}, folder / "model.safetensors",
                      metadata={"format": "pt"})
        name, settings = c["processor"]
        getattr(hf, name)(**settings).save_pretrained(folder)
        # "eager" would take its softmax in float32 even in a float64 model
        again = c["kind"].from_pretrained(folder, attn_implementation="sdpa").eval()
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, again.state_dict()[key]), f"{c['folder']}: {key} did not survive the file"
        size = c["run_size"] or (32, 32)
        x = formula.image(1, *size)
        tensors, exact, grad = record_sites(again, make_parts(c), c, x, few=c["few"])
        print(f"  {c['folder']}: {c['what']}")
        if c["near"]:
            row, limit = c["near"]
            *first, norm, pixel, grad_norm, _ = TABLE[row]
            got = [*exact[0, :4].tolist(), exact[0].norm().item(), grad[0, 1, 10, 20].item(), grad.norm().item()]
            worst = max(abs(a - b) for a, b in zip(got, [*first, norm, pixel, grad_norm]))
            print(f"    against the timm table row {row}: {worst:.2e}")
            assert worst <= limit
        if c["run_size"]:
            e = tower(again).embeddings
            blank = torch.zeros(1, 1 + (size[0] // 8) * (size[1] // 8), 24)
            tensors["pos_embed_resampled"] = e.interpolate_pos_encoding(blank, *size).detach()
        write_golden(folder, tensors, metadata(
            c, versions, json.loads((folder / "config.json").read_text())["architectures"][0],
            objective="logit:3" if "logits" in tensors else "feature:3",
            parameters=sum(v.numel() for v in load_file(folder / "model.safetensors").values()),
            run_size=f"{size[0]}x{size[1]}"))
