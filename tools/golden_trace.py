"""Run a real model once with forward hooks and name what was seen after the sites of keyhole (TransformerLens style).

A `Parts` object says which module of a model plays which role; the trace itself is the same for timm and transformers.
Only attention scores and patterns are recomputed, and `trace` checks that they and the sums reproduce the model."""

import copy
from dataclasses import dataclass, field

import torch

TOLERANCE = 2e-5  # fp32, recomputed pieces against the model's own


@dataclass
class Layer:
    block: torch.nn.Module
    norm1: torch.nn.Module
    norm2: torch.nn.Module
    q: list  # modules whose outputs, concatenated, are q | k | v
    proj: torch.nn.Module
    attn_add: torch.nn.Module  # its output is added to the residual
    fc1: list  # one module, or [gate, value]
    fc2: torch.nn.Module
    mlp_add: torch.nn.Module
    heads: int
    q_norm: torch.nn.Module = None
    k_norm: torch.nn.Module = None


@dataclass
class Parts:
    patch: torch.nn.Module
    layers: list
    run: object  # run(model, image) -> logits, or the pooled feature without a head
    pre_head: list  # modules whose inputs the head multiplies; [] when `run` gives the feature itself
    norm_pre: torch.nn.Module = None
    final: torch.nn.Module = None
    final_on_all: bool = False  # apply `final` to all tokens here (the model only norms the class token)
    has_logits: bool = True
    extra: dict = field(default_factory=dict)


def norm_scale(module, x):
    return (x.var(dim=-1, unbiased=False, keepdim=True) + module.eps).sqrt()


def close(a, b, what):
    worst = (a - b).abs().max().item()
    limit = TOLERANCE * max(1.0, b.abs().max().item())
    if not worst <= limit:
        raise AssertionError(f"{what}: {worst:g} apart, at most {limit:g} allowed")


@torch.no_grad()
def trace(model, parts, x, result=False):
    seen, handles = {}, []

    def watch(module):
        def keep(m, args, kwargs, out):
            first = args[0] if args else kwargs.get("hidden_states")
            seen[id(m)] = (first, out[0] if isinstance(out, tuple) else out)

        if module is not None:
            handles.append(module.register_forward_hook(keep, with_kwargs=True))

    modules = [parts.patch, parts.norm_pre, parts.final, *parts.pre_head]
    for l in parts.layers:
        modules += [l.block, l.norm1, l.norm2, *l.q, l.proj, l.attn_add, *l.fc1, l.fc2, l.mlp_add, l.q_norm, l.k_norm]
    for module in {id(m): m for m in modules if m is not None}.values():
        watch(module)
    out = parts.run(model, x)
    for handle in handles:
        handle.remove()
    given = lambda m: seen[id(m)][0]
    made = lambda m: seen[id(m)][1]

    sites = {}
    embed = made(parts.patch)
    if embed.dim() == 4:  # a bare convolution gives NCHW, timm's dynamic patch embedding NHWC
        nchw = isinstance(parts.patch, torch.nn.Conv2d)
        embed = embed.flatten(2).transpose(1, 2) if nchw else embed.flatten(1, 2)
    sites["hook_embed"] = embed
    first = given(parts.layers[0].block)
    sites["hook_full_embed"] = first if parts.norm_pre is None else given(parts.norm_pre)
    if parts.norm_pre is not None:
        close(made(parts.norm_pre), first, "norm_pre")
    for i, l in enumerate(parts.layers):
        b = f"blocks.{i}."
        pre = given(l.block)
        batch, n, dim = pre.shape
        qkv = torch.cat([made(m) for m in l.q], dim=-1)
        q, k, v = qkv.reshape(batch, n, 3, l.heads, -1).unbind(2)
        if l.q_norm is not None:
            q, k = made(l.q_norm).transpose(1, 2), made(l.k_norm).transpose(1, 2)
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
        pattern = scores.softmax(dim=-1)
        z = given(l.proj).reshape(q.shape)
        close(torch.einsum("bhqk,bkhd->bqhd", pattern, v), z, b + "z")
        attn_out, mlp_out = made(l.attn_add), made(l.mlp_add)
        mid = pre + attn_out
        close(mid + mlp_out, made(l.block), b + "resid_post")
        sites[b + "hook_resid_pre"] = pre
        sites[b + "ln1.hook_scale"] = norm_scale(l.norm1, given(l.norm1))
        sites[b + "ln1.hook_normalized"] = made(l.norm1)
        sites[b + "attn.hook_q"], sites[b + "attn.hook_k"], sites[b + "attn.hook_v"] = q, k, v
        sites[b + "attn.hook_attn_scores"] = scores
        sites[b + "attn.hook_pattern"] = pattern
        sites[b + "attn.hook_z"] = z
        if result:
            w = l.proj.weight.reshape(dim, l.heads, -1)
            sites[b + "attn.hook_result"] = torch.einsum("bnhd,ohd->bnho", z, w)
            close(sites[b + "attn.hook_result"].sum(2) + l.proj.bias, made(l.proj), b + "attn.hook_result")
        sites[b + "hook_attn_out"] = attn_out
        sites[b + "hook_resid_mid"] = mid
        sites[b + "ln2.hook_scale"] = norm_scale(l.norm2, given(l.norm2))
        sites[b + "ln2.hook_normalized"] = made(l.norm2)
        post, up = given(l.fc2), torch.cat([made(m) for m in l.fc1], dim=-1)
        m = post.shape[-1]
        sites[b + "mlp.hook_pre"] = up[..., :m]
        if up.shape[-1] == 2 * m:
            sites[b + "mlp.hook_pre_linear"] = up[..., m:]
            close(torch.nn.functional.silu(up[..., :m]) * up[..., m:], post, b + "swiglu")
        sites[b + "mlp.hook_post"] = post
        sites[b + "hook_mlp_out"] = mlp_out
        sites[b + "hook_resid_post"] = made(l.block)
    if parts.final is not None:
        x_in, x_out = given(parts.final), made(parts.final)
        if parts.final_on_all:
            x_in = made(parts.layers[-1].block)
            close(parts.final(x_in)[:, 0], x_out, "final norm")
            x_out = parts.final(x_in)
        if x_out.dim() == 2:
            x_in, x_out = x_in[:, None], x_out[:, None]
        sites["ln_final.hook_scale"] = norm_scale(parts.final, x_in)
        sites["ln_final.hook_normalized"] = x_out
    heads = [given(m) for m in parts.pre_head]
    sites["hook_pre_head"] = out if not heads else heads[0] if len(heads) == 1 else torch.stack(heads, dim=1)
    if parts.has_logits:
        logits = [m(given(m)) for m in parts.pre_head]
        close(sum(logits) / len(logits), out, "logits")
        sites["logits"] = out
    return {name: value.detach().contiguous().clone() for name, value in sites.items()}


def float64(model, parts_of, x):
    """Logits (or feature) in float64, and the gradient of component 3 of image 0 with respect to the input."""
    model = copy.deepcopy(model).double().eval()
    x = x.double().requires_grad_(True)
    out = parts_of(model).run(model, x)
    out[0, 3].backward()
    return out.detach(), x.grad.detach()
