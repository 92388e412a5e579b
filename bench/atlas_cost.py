#!/usr/bin/env python3
"""What an atlas costs beside the plain forward pass: milliseconds an image, and ratios.

    make build && python3 bench/atlas_cost.py build/release/keyhole PHOTOS [--model NAME]

PHOTOS is a folder, or a file that lists photos, at least --more of them. Let the first --few show every
class: a class's first photo costs more. Atlases over the first --few and the first --more take turns with
forward passes timed by `keyhole bench`; the difference between the two sizes, divided by the difference in
photos, is what an image costs: setting up, the first touch of memory and writing tables cancel out.
Medians of the rounds.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def forward_ms(keyhole, model, batch, extra):
    """Milliseconds an image of forward passes alone."""
    command = [keyhole, "bench", model, "-b", str(batch), "--rounds", "3", "--seconds", "2", "--json"]
    done = subprocess.run(command + extra, check=True, capture_output=True, text=True)
    return 1000.0 / json.loads(done.stdout)["cases"][0]["images_per_s"]


def atlas_seconds(keyhole, model, photos, batch, folder):
    """(seconds of forward passes, seconds of lenses) of an atlas, from its manifest."""
    listed = pathlib.Path(folder) / "list.txt"
    listed.write_text("".join(f"{photo}\n" for photo in photos))
    out = pathlib.Path(folder) / "run"
    command = [keyhole, "atlas", model, f"@{listed}", "--out", str(out), "--batch", str(batch)]
    command += ["--no-figures", "--overwrite", "--quiet"]
    subprocess.run(command, check=True, capture_output=True)
    run = json.loads((out / "manifest.json").read_text())
    return timing(run, "pass_seconds"), timing(run, "lens_seconds")


def find(where):
    if where.is_dir():
        return sorted(p for p in where.rglob("*") if p.suffix.lower() in ENDINGS)
    return [pathlib.Path(line) for line in where.read_text().splitlines() if line]


def timing(node, key):
    if isinstance(node, dict):
        if key in node:
            return node[key]
        for value in node.values():
            found = timing(value, key)
            if found is not None:
                return found
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keyhole")
    parser.add_argument("photos")
    parser.add_argument("--model", default="random:vit_base_patch16_224")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--few", type=int, default=40)
    parser.add_argument("--more", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    photos = find(pathlib.Path(given.photos))
    if len(photos) < given.more:
        parser.error(f"{given.photos} has {len(photos)} photos, --more is {given.more}")
    rows = {"logits only": [], "every row": [], "atlas, its pass": [], "atlas, its lenses": []}
    span = (given.more - given.few) / 1000.0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            rows["logits only"].append(forward_ms(given.keyhole, given.model, given.batch, []))
            rows["every row"].append(
                forward_ms(given.keyhole, given.model, given.batch, ["--every-row"])
            )
            few, more = (
                atlas_seconds(given.keyhole, given.model, photos[:n], given.batch, folder)
                for n in (given.few, given.more)
            )
            rows["atlas, its pass"].append((more[0] - few[0]) / span)
            rows["atlas, its lenses"].append((more[1] - few[1]) / span)
    for name, values in rows.items():
        each = " ".join(f"{value:.1f}" for value in values)
        print(f"{name:18} {statistics.median(values):7.1f} ms an image   (rounds {each})")
    whole = [p + l for p, l in zip(rows["atlas, its pass"], rows["atlas, its lenses"])]
    for name in ("every row", "logits only"):
        ratios = [atlas / plain for atlas, plain in zip(whole, rows[name])]
        print(f"atlas over {name:12} {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
