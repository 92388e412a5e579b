"""Reference for base classes and pairs, from numpy and scipy: python tools/golden_bases.py > tests/lens/golden_bases.h"""

import itertools

import numpy
import scipy
from scipy.cluster.hierarchy import average, fcluster
from scipy.spatial.distance import squareform

UNITS, DIM, CLASSES, LEAVES, ITEMS, EPS = 24, 8, 5, 12, 30, 1e-6


def emit(name, values, kind="float"):
    flat = numpy.asarray(values).ravel()
    form = "{:d}" if kind == "size_t" else "{:.9g}f" if kind == "float" else "{:.17g}"
    body = ", ".join(form.format(v) for v in flat.tolist())
    if kind == "float":
        body = ", ".join(t if "." in t or "e" in t else t.replace("f", ".0f") for t in body.split(", "))
    print(f"static const {kind} golden_{name}[] = {{{body}}};")


def head(vectors, embeddings, gain, constant):
    """ln scores [..., classes] of vectors [..., dim]."""
    centred = vectors - vectors.mean(-1, keepdims=True)
    spread = numpy.sqrt(vectors.var(-1, keepdims=True) + EPS)
    return centred / spread * gain @ embeddings.T + constant


def best_pairs(values, weights, embeddings, gain, constant):
    rows = []
    for c in range(CLASSES):
        weighted = values * weights[c][:, None]
        single = head(weighted, embeddings, gain, constant)[:, c]
        scores = {
            (i, j): head(weighted[i] + weighted[j], embeddings, gain, constant)[c]
            for i, j in itertools.combinations(range(UNITS), 2)
        }
        best = max(scores, key=scores.get)
        first, second = sorted(numpy.argsort(-single)[:2])
        rows.append([*best, scores[best], single.max(), scores[(first, second)]])
    return numpy.array(rows)


def match(a, b):
    n = len(a)
    table = numpy.array([[numpy.sum((a == x) & (b == y)) for y in numpy.unique(b)] for x in numpy.unique(a)])
    p = table / n
    pa, pb = p.sum(1), p.sum(0)
    full = p > 0
    information = (p[full] * numpy.log(p[full] / numpy.outer(pa, pb)[full])).sum()
    entropies = -(pa * numpy.log(pa)).sum(), -(pb * numpy.log(pb)).sum()
    same_a = numpy.equal.outer(a, a)[numpy.triu_indices(n, 1)]
    same_b = numpy.equal.outer(b, b)[numpy.triu_indices(n, 1)]
    both, pairs = (same_a & same_b).sum(), len(same_a)
    chance = same_a.sum() * same_b.sum() / pairs
    ari = (both - chance) / ((same_a.sum() + same_b.sum()) / 2 - chance)
    return information / numpy.mean(entropies), ari, table.max(1).sum() / n


def main():
    rng = numpy.random.default_rng(14)
    print("/* clang-format off */")
    print("/* Made by tools/golden_bases.py:")
    print(f" * numpy {numpy.__version__}, scipy {scipy.__version__}, seed 14. */")
    print("#include <stddef.h>")
    f32 = numpy.float32
    values = rng.normal(size=(UNITS, DIM)).astype(f32)
    embeddings = rng.normal(size=(CLASSES, DIM)).astype(f32)
    gain = rng.uniform(0.5, 1.5, size=DIM).astype(f32)
    constant = rng.normal(size=CLASSES)
    weights = rng.normal(0.3, 1, size=(CLASSES, UNITS)).astype(f32)
    emit("values", values)
    emit("embeddings", embeddings)
    emit("gain", gain)
    emit("constant", constant, "double")
    emit("weights", weights)
    as64 = [x.astype(numpy.float64) for x in (values, embeddings, gain, weights)]
    ones = numpy.ones_like(as64[3])
    print("/* i, j, score, best single, two best, for each class */")
    emit("pairs", best_pairs(as64[0], ones, as64[1], as64[2], constant), "double")
    emit("weighted_pairs", best_pairs(as64[0], as64[3], as64[1], as64[2], constant), "double")

    points = rng.normal(size=(LEAVES, 3))
    distance = numpy.linalg.norm(points[:, None] - points[None], axis=-1).astype(f32)
    emit("distance", distance)
    tree = average(squareform(distance.astype(numpy.float64), checks=False))
    emit("tree", tree, "double")
    labels = fcluster(tree, 4, "maxclust")
    order = {label: i for i, label in enumerate(dict.fromkeys(labels.tolist()))}
    emit("cut", [order[x] for x in labels.tolist()], "size_t")

    a, b = rng.integers(0, 4, ITEMS), rng.integers(0, 3, ITEMS)
    b[a == 2] = 1
    emit("a", a, "size_t")
    emit("b", b, "size_t")
    emit("match", match(a, b), "double")


main()
