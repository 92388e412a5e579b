"""Writes src/io/imagenet_names.c: the 1000 ImageNet-1k classes in index order, from the data timm carries.

The wnids are timm's imagenet_synsets.txt, the names the WordNet lemmas of its imagenet_synset_to_lemma.txt.
Usage: make_imagenet_names.py [OUTPUT], with timm installed."""

import hashlib
import importlib.resources
import pathlib
import sys

SYNSETS_SHA256 = "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"


def main():
    info = importlib.resources.files("timm.data") / "_info"
    synsets = (info / "imagenet_synsets.txt").read_bytes()
    assert hashlib.sha256(synsets).hexdigest() == SYNSETS_SHA256, "another list of synsets"
    wnids = synsets.decode().split()
    assert len(wnids) == 1000 and wnids == sorted(wnids)
    lines = (info / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    lemmas = dict(line.split("\t", 1) for line in lines)
    out = ["/* Made by tools/make_imagenet_names.py; wnids and names from Princeton WordNet 3.0. */",
           '#include "io/classes.h"', "", "const kh_class kh_imagenet_names[1000] = {"]
    for wnid in wnids:
        name = lemmas[wnid]
        assert name.isascii() and name.isprintable() and '"' not in name and "\\" not in name
        out.append(f'    {{"{wnid}", "{name}"}},')
    out.append("};")
    here = pathlib.Path(__file__).resolve().parent.parent
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "src/io/imagenet_names.c"
    path.write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
