#!/usr/bin/env python3
"""Record the reference numbers of keyhole's tests with PyTorch, timm, transformers and Pillow.

    python3 -m venv ../golden-venv && ../golden-venv/bin/pip install -r tools/requirements.txt
    ../golden-venv/bin/python tools/record_golden.py all --photos FOLDER

Subcommands: timm, variants, hf, images, full, registry, readme, all. Everything lands in tests/data/golden."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))


STEPS = ("timm", "variants", "hf", "images", "full", "registry", "readme")


def library_versions():
    import PIL
    import safetensors
    import timm
    import torch
    import transformers

    return {"recorded_with": f"torch {torch.__version__}, timm {timm.__version__}, transformers "
                             f"{transformers.__version__}, pillow {PIL.__version__}, "
                             f"safetensors {safetensors.__version__}"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*STEPS, "all"])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "tests/data/golden")
    parser.add_argument("--photos", type=Path, help="folder of photographs for preprocess.json (images)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    versions = library_versions()
    print(versions["recorded_with"])
    wanted = STEPS if args.what == "all" else (args.what,)
    for what in wanted:
        print(what)
        if what == "timm":
            import golden_timm

            golden_timm.record(args.out, versions)
        elif what == "variants":
            import golden_timm

            golden_timm.record_variants(args.out, versions)
        elif what == "full":
            import golden_timm

            golden_timm.record_full(args.out, versions)
        elif what == "hf":
            import golden_hf

            golden_hf.record(args.out, versions)
        elif what == "images":
            import golden_images

            golden_images.record(args.out, versions, args.photos)
        elif what == "registry":
            import golden_registry

            golden_registry.record(args.out, versions)
        elif what == "readme":
            import golden_readme

            golden_readme.record(args.out, versions)


if __name__ == "__main__":
    main()
