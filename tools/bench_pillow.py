"""Decode + resize + crop, keyhole against Pillow: the same photographs, one thread each, taking turns.

Usage: bench_pillow.py BENCH_IMAGE FOLDER [--rounds N] [--size WxH]

Every round lets bench_image and Pillow go once over all photographs; medians and their ratio are printed. Both start
from the file's bytes in memory and end at the cropped 224x224 RGB bytes of timm's eval transform (bicubic, crop_pct
0.9, centre), which must be the same bytes. --size keeps only photographs of that size."""

import argparse
import io
import pathlib
import statistics
import subprocess
import tempfile
import time

import PIL
from PIL import Image


def prepare(data):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    short, long = min(width, height), max(width, height)
    scaled = int(248 * long / short)
    size = (248, scaled) if width <= height else (scaled, 248)
    image = image.resize(size, Image.BICUBIC)
    top, left = round((size[1] - 224) / 2), round((size[0] - 224) / 2)
    image = image.crop((left, top, left + 224, top + 224))
    image.load()
    return image


def fnv(h, data):
    for byte in data:
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench_image")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--size")
    args = parser.parse_args()
    files = sorted(p for p in args.folder.iterdir() if p.is_file())
    if args.size:
        wanted = tuple(int(v) for v in args.size.split("x"))
        files = [p for p in files if Image.open(p).size == wanted]
    datas = [p.read_bytes() for p in files]
    with tempfile.TemporaryDirectory() as folder:
        for k, data in enumerate(datas):
            (pathlib.Path(folder) / f"{k:06d}").write_bytes(data)
        ours = subprocess.Popen([args.bench_image, "--wait", "--rounds", str(args.rounds), folder], text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        first = ours.stdout.readline().strip()
        h = 0x811C9DC5
        for data in datas:
            h = fnv(h, prepare(data).tobytes())
        assert first.endswith(f"{h:08x}"), (first, f"{h:08x}")
        keyhole, pillow, parts = [], [], []
        for _ in range(args.rounds):
            ours.stdin.write("\n")
            ours.stdin.flush()
            decode, resize, floats = map(float, ours.stdout.readline().split())
            parts.append((decode, resize, floats))
            keyhole.append(decode + resize)
            start = time.perf_counter()
            for data in datas:
                prepare(data)
            pillow.append(time.perf_counter() - start)
        ours.stdin.close()
        ours.wait()
    n = len(datas)
    a, b = statistics.median(keyhole), statistics.median(pillow)
    print(f"{n} photographs, {args.rounds} rounds, same bytes ({h:08x})")
    print(f"keyhole          {n / a:7.1f} images/s  {1e3 * a / n:.3f} ms per image (median)")
    print(f"Pillow {PIL.__version__:9} {n / b:7.1f} images/s  {1e3 * b / n:.3f} ms per image (median)")
    print(f"ratio of medians {b / a:.3f}; fastest rounds {min(pillow) / min(keyhole):.3f}")
    best = min(parts, key=lambda p: p[0] + p[1])
    print("keyhole's fastest round: decode {:.3f}, resize + crop {:.3f}, floats {:.3f} ms per image".format(
        *(1e3 * v / n for v in best)))


if __name__ == "__main__":
    main()
