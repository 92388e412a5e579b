"""tests/data/golden/README.md and cases.json, written from what the golden files say about themselves."""

import json

INTRO = """# Goldens

Reference numbers recorded with PyTorch, timm, transformers and Pillow (versions in every file). Weights and inputs come
from a formula (below), so nothing here was trained and everything can be recorded again, byte for byte:

    python3 -m venv ../golden-venv && ../golden-venv/bin/pip install -r tools/requirements.txt
    ../golden-venv/bin/python tools/record_golden.py all --photos FOLDER    # or one step of it: timm hf images ...

The recorder refuses to write when a recomputed piece does not reproduce the model's own output, or when a model misses
the golden numbers that were derived independently from the equations (`TABLE` in `tools/golden_timm.py`).

## A case

`config.json` and `model.safetensors` are what timm's `save_for_hf` or transformers' `save_pretrained` write.
`golden.safetensors` holds, with a leading batch axis and in float32 unless said otherwise:

| Tensor | Meaning |
|---|---|
| `input` | normalised image [B,3,H,W]: the formula's tensor `image` of that shape (image 0 is the same for B = 1 and 2) |
| `logits`, `logits_f64` | [B,C] in fp32, and in float64 (F64) from the same fp32 weights; a CLIP projection counts as logits |
| `hook_pre_head`, `hook_pre_head_f64` | what the head multiplies [B,D]; two heads [B,2,D]; DINOv2 of transformers [B,2D]. The F64 one only where there are no logits |
| `grad` | d objective / d input [B,3,H,W], computed in float64 and rounded; the objective is component 3 of image 0's logits (`logit:3`) or of its `hook_pre_head` (`feature:3`), so other images have 0 |
| `hook_embed`, `hook_full_embed` | patch embedding with bias [B,N,D]; with prefix tokens and positions, before `norm_pre` [B,n,D] |
| `blocks.i.hook_resid_pre`, `_mid`, `_post` | the stream [B,n,D]; block 0's `pre` is after `norm_pre` |
| `blocks.i.hook_attn_out`, `hook_mlp_out` | exactly what is added to the stream: after bias, LayerScale or post-norm |
| `blocks.i.ln1.hook_scale`, `ln2`, `ln_final` | sqrt(variance + eps) [B,n,1] |
| `blocks.i.ln1.hook_normalized`, `ln2`, `ln_final` | the norm's output with weight and bias [B,n,D]; of `fc_norm` [B,1,D]. In post-norm blocks the norms sit on the attention and MLP outputs |
| `blocks.i.attn.hook_q`, `_k`, `_v`, `_z` | [B,n,heads,head_dim]; q is not scaled; with qk_norm, q and k are after the norm |
| `blocks.i.attn.hook_attn_scores`, `hook_pattern` | [B,heads,n,n]; scores are scaled |
| `blocks.i.attn.hook_result` | per head, before bias and LayerScale [B,n,heads,D] (one case) |
| `blocks.i.mlp.hook_pre`, `hook_pre_linear`, `hook_post` | fc1's output; SwiGLU: gate half, value half; what fc2 multiplies [B,n,M] |
| `pos_embed_resampled` | position embedding of a run at another size [1,rows,D] |

`__metadata__`: `case, what, architecture, formula, recorded_with, objective, parameters, run_size` (height x width of the
input; where it differs from the checkpoint's size, positions are resampled). Block 1 has every site; block 0 leaves some
out, and cases that differ from another only in size, tag or layout keep a few, so that all of it stays small.
transformers' CLIP norms only the class token; `ln_final` is recorded on all tokens as in timm. Its image classifier does
not use the final norm, so the site is missing there.

The two `full_*` folders have no weights: fill the architecture by the formula (86.6 M parameters, a second or two). They
keep tokens `tokens` of three blocks, and rows 100..103 of the gradient (`grad_rows` [3,4,224]) with its norm in
`grad_norm`.

## The formula

FORMULA

Names are timm's. For transformers cases q, k, v (and gate, up) are the slices of timm's packed tensor.

## By scripts of their own

| File | Script |
|---|---|
| `demo.safetensors` | `tools/golden_demo.py`: the trained demo model on one of its scenes, float64, a few sites and the gradient of logit 6 |
| `dream/` | `tools/record_dream_golden.py`: steps of dreams |

## Images

| File | What |
|---|---|
| `preprocess.json` | SHA-256 per photograph: file, decoded RGB, and the 224x224x3 bytes of timm's eval transform per setting; every 40th also the float32 CHW tensor for three mean/std pairs |
| `images/`, `images.json` | small JPEG, PNG and WebP files of every kind with the sum of Pillow's `convert("RGB")` |
| `resize.json` | Pillow's resize of formula images, five filters |
| `geometry.json` | timm's eval transform and transformers' Pillow processors on formula images; `center_crops` are torchvision's |

`registry.json` is what timm's registry says about every plain Vision Transformer by name (sizes, heads, eps, activation,
pooling, tokens, preprocessing and how tags differ in it), and why the other names are not plain.

Formula images: `photo(name, width, height)` is the top 8 bits of the mixer's values, as [height, width, 3].

## Cases

"""


def metadata(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    return header.pop("__metadata__"), header


def record(out, versions):
    import golden_formula

    text = INTRO.replace("FORMULA", golden_formula.FORMULA)
    text += "| Folder | Architecture | Run at | Objective | What |\n|---|---|---|---|---|\n"
    listed = []
    for path in sorted(out.glob("*/golden.safetensors")):
        meta, header = metadata(path)
        name = path.parent.name
        text += f"| `{name}` | {meta['architecture']} | {meta['run_size']} | {meta['objective']} | {meta['what']} |\n"
        shape = header["input"]["shape"] if "input" in header else None
        listed.append({"folder": name, "architecture": meta["architecture"], "objective": meta["objective"],
                       "run_size": [int(v) for v in meta["run_size"].split("x")], "input": shape,
                       "weights": any(path.parent.glob("model*.safetensors"))})
    text += f"\nRecorded with {versions['recorded_with']}.\n"
    (out / "README.md").write_text(text)
    (out / "cases.json").write_text("[\n" + ",\n".join(" " + json.dumps(c) for c in listed) + "\n]\n")
    print(f"  README.md, cases.json: {len(listed)} cases")
