# figures: a page for every analysis that ran, the same bytes each time, listed with captions; no run, no figures
command -v python3 >/dev/null || { echo "no python3 to read JSON with" >&2; exit 77; }
keyhole diorama --out world -n 5 --size 32 -q >/dev/null 2>&1 || exit 1
model=$DATA/../../demo/model
[ -e "$model/model.safetensors" ] || { echo "no demo model here" >&2; exit 77; }
lenses=accuracy,units,class_mean,exemplars,selectivity,audit,key_value
keyhole atlas "$model" world/images/scenes --truth world --lenses $lenses --out run -q --dry-run --json >estimate || exit 1
keyhole atlas "$model" world/images/scenes --truth world --lenses $lenses --out run -q --no-figures >/dev/null 2>&1 || exit 1
ls run | grep figures
keyhole status run --digest >before
keyhole figures run -q
keyhole status run --digest | cmp - before && echo "no part of the digest"
keyhole figures run -q --out again >/dev/null && diff -r run/figures again && echo "the same bytes"
python3 -c 'import json, os
pages = json.load(open("again/figures.json"))["figures"]
print(*[p["name"] for p in pages])
print(all(p["title"] and p["caption"] and p["limits"] for p in pages))
print(sorted(p["name"] + e for p in pages for e in (".png", ".svg")) + ["figures.json"] == sorted(os.listdir("again"), key=lambda n: (n == "figures.json", n)))'
# --dry-run has said how much that would be: tables, arrays, the dissection and figures
python3 -c 'import json, os
said = json.load(open("estimate"))
size = lambda top: sum(os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(top) for f in files)
for key, top in ("disk_bytes", "run"), ("figure_bytes", "run/figures"):
    print(key, abs(said[key] / size(top) - 1) <= 0.2 or (said[key], size(top)))
print(said["figures"])'
# pages that the run behind them does not have go, and no other file
keyhole figures run -q --out again --classes 3 >/dev/null; touch again/mine.png again/fig4_7.png; ls again/fig4_*.svg
keyhole atlas "$model" world/images/scenes --lenses accuracy,units --out two -q >/dev/null 2>&1; ls two/figures | grep -c png
keyhole figures two -q --out again; ls again
mkdir empty; keyhole figures empty; echo $?
keyhole figures run -q --classes fish,0 --out some >/dev/null; ls some | grep fig4_; keyhole figures run -q --classes unicorn --out none; echo $?
# exemplars: a page for each neuron, of the images of the run alone
keyhole exemplars run "$model" world/images/scenes --neurons b11n3,b0n5 -q --out sheets
ls sheets
keyhole exemplars run "$model" demo:images/fish --neurons b11n3 -q --out other; echo $?
keyhole exemplars run "$model" world/images/scenes --neurons b12n3 -q --out other; echo $?
