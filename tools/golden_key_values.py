"""Key-value agreement by class in plain numpy, for golden_atlas.py."""

import itertools

import numpy as np


def stable_top(values, k):
    return np.argsort(-values, kind="stable")[:k]


def key_values(labels, tops_of, raw, truth, correct, out):
    """Tokens one of whose five most active neurons speaks for a class, by who holds whom; the class token alone, too."""
    blocks, neurons, classes = raw.shape
    n, tokens = len(truth), len(tops_of[0][0])
    rng = np.random.default_rng(7)
    has = np.zeros((blocks, 2, n, tokens, classes), bool)
    for b in range(blocks):
        key_sets = [set(stable_top(raw[b, :, c], 5)) for c in range(classes)]
        own = [set(stable_top(raw[b, j], 5)) for j in range(neurons)]
        for i in range(n):
            for t in range(tokens):
                top = tops_of[b][i][t]
                has[b, 0, i, t] = [bool(key_sets[c] & set(top)) for c in range(classes)]
                has[b, 1, i, t] = [any(c in own[j] for j in top) for c in range(classes)]
    image = np.stack([has.mean(3)[:, 0], has.mean(3)[:, 1], has[:, 0, :, 0], has[:, 1, :, 0]], 1).astype(float)  # [blocks, 4, n, classes]
    of_truth = image[:, :, np.arange(n), truth]  # [blocks, 4, n]
    groups = [np.flatnonzero(truth == c) for c in labels]
    out["kv_rate"] = np.stack([image[:, :, g].mean(2) for g in groups])  # [labels, blocks, 4, classes]
    split = np.full((len(labels) + 1, blocks, 4, 2), np.nan)
    p = np.full((len(labels) + 1, blocks, 4), np.nan)
    for k, g in enumerate(groups + [np.arange(n)]):
        for side, chosen in enumerate((correct[g], ~correct[g])):
            if chosen.any():
                split[k, :, :, side] = of_truth[:, :, g[chosen]].mean(2)
        m = correct[g].sum()
        if k == len(labels) or m in (0, len(g)):
            continue
        ways = list(itertools.combinations(g, m))  # every way to call as many correct
        sums = np.stack([of_truth[:, :, list(w)].sum(2) for w in ways])
        p[k] = (sums > of_truth[:, :, g[correct[g]]].sum(2) - 1e-9).mean(0)
    draws = np.stack([rng.permutation(correct) for _ in range(20000)]).astype(float)
    observed = of_truth[:, :, correct].sum(2) - 1e-9
    p[-1] = (np.einsum("ki,bvi->kbv", draws, of_truth) > observed).mean(0)
    for g in groups:
        draws[:, g] = np.stack([rng.permutation(correct[g]) for _ in range(len(draws))])
    out["kv_within"] = (np.einsum("ki,bvi->kbv", draws, of_truth) > observed).mean(0)
    out["kv_split"], out["kv_p"] = split, p
    out["kv_correct"] = np.array([correct[g].sum() for g in groups], float)
