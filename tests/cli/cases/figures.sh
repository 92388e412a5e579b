# figures: a page for every analysis that ran, the same bytes each time, listed with captions that say what the run says; no run, no figures
command -v python3 >/dev/null || { echo "no python3 to read JSON with" >&2; exit 77; }
model=$DATA/golden/vit_base images=$DATA/atlas/pictures
lenses=accuracy,units,class_mean,exemplars,selectivity,audit,key_value,attribution
keyhole atlas "$model" "$images" --truth "$DATA/atlas/truth" --lenses $lenses --out run -q --dry-run --json >estimate || exit 1
keyhole atlas "$model" "$images" --truth "$DATA/atlas/truth" --lenses $lenses --out run -q --no-figures >/dev/null 2>&1 || exit 1
ls run | grep figures
keyhole status run --digest >before
keyhole figures run -q
keyhole status run --digest | cmp - before && echo "no part of the digest"
keyhole figures run -q --out again --classes class_9,class_0,6 >/dev/null
for file in run/figures/*.*g; do cmp $file again/${file##*/} || exit 1; done && echo "the same bytes"
python3 -c 'import json, os, re, sqlite3, statistics
pages = json.load(open("again/figures.json"))["figures"]
print(*[p["name"] for p in pages])
print(all(p["title"] and p["caption"] and p["limits"] for p in pages))
print(sorted(p["name"] + e for p in pages for e in (".png", ".svg")) + ["figures.json"] == sorted(os.listdir("again"), key=lambda n: (n == "figures.json", n)))
print(pages[:-2] == json.load(open("run/figures/figures.json"))["figures"])
# captions name what the run says: the alignment that contributions are compared with, the blocks of the least and the largest share
page = {p["name"]: p for p in pages}
db = sqlite3.connect("run/run.sqlite")
mode, = db.execute("SELECT alignment FROM attribution_check").fetchone()
print(mode, f"the larger alignment ({mode})?" in page["attribution"]["caption"])
shares = {}
for block, share in db.execute("SELECT block, top10_share FROM concentration WHERE n > 0"): shares.setdefault(block, []).append(share)
median = {b: statistics.median(s) for b, s in shares.items()}
ends = [int(b) for b in re.findall(r"block (\d+)", page["concentration"]["title"])]
print(ends == [min(median, key=median.get), max(median, key=median.get)])'
# --dry-run has said how much that would be: tables, arrays, the dissection and figures
python3 -c 'import json, os
said = json.load(open("estimate"))
size = lambda top: sum(os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(top) for f in files)
for key, top in ("disk_bytes", "run"), ("figure_bytes", "run/figures"):
    print(key, abs(said[key] / size(top) - 1) <= 0.2 or (said[key], size(top)))
print(said["figures"])'
# pages that the run behind them does not have go, and no other file
touch again/mine.png again/fig4_7.png; ls again/fig4_*.svg
# of one class alone, which nothing can be told from: no reads_writes, no selectivity
keyhole atlas "$model" "$images/class_1" --lenses accuracy,units,exemplars,selectivity --out two -q >/dev/null 2>&1; ls two/figures | grep -c png
keyhole figures two -q --out again; ls again
mkdir empty; keyhole figures empty; echo $?
keyhole figures run -q --classes unicorn --out none; echo $?
# of classes with six, four and two pictures, fewer than exemplars: read is what has half of the strongest that it could have, and three
for c in 1 6 8; do mkdir -p few/class_$c; done
cp "$images"/class_1/* few/class_1; cp $(ls "$images"/class_6/* | head -4) few/class_6; cp $(ls "$images"/class_8/* | head -2) few/class_8
keyhole atlas "$model" few --lenses accuracy,exemplars --out some -q >/dev/null 2>&1
python3 -c 'import sqlite3
db = sqlite3.connect("some/run.sqlite")
n, shown, wrong, names = {1: 6, 6: 4, 8: 2}, {}, 0, set()
for b, j, c in db.execute("SELECT block, neuron, truth FROM exemplars WHERE level = \"top\" ORDER BY block, neuron, rank"): shown.setdefault((b, j), []).append(c)
for b, j, verdict, c, hits, labelled in db.execute("SELECT block, neuron, verdict, class, hits, labelled FROM reads_writes WHERE verdict != \"silent\""):
    of = {k: shown[b, j][:n[k]].count(k) for k in shown[b, j] if n[k] >= 3}
    reads = [k for k in of if 2 * of[k] >= n[k] and of[k] >= 3]
    best = max(reads or of, key=lambda k: of[k] / n[k])
    names.add(verdict)
    wrong += (c, hits, labelled, verdict == "shared") != (best, of[best], n[best], not reads)
print(wrong, sorted(names), len(shown))
# and the page says what a random order of these twelve would give
import json, math
chance = sum(math.comb(k, h) * math.comb(12 - k, k - h) / math.comb(12, k) for k in (6, 4) for h in range(3, k + 1))
print([f"random order at most {100 * chance:.1f} %" in p["caption"] for p in json.load(open("some/figures/figures.json"))["figures"] if p["name"] == "reads_writes"])'
# exemplars: a page for each neuron, of the images of the run alone
keyhole exemplars run "$model" "$images" --neurons b1n3,b0n5 -q --out sheets
ls sheets
# each picture once, whatever rows it belongs to, and the three marks
for sheet in b0n5 b1n3; do
    python3 -c 'import sqlite3, sys
b, n = sys.argv[1][1:].split("n")
of, = sqlite3.connect("run/run.sqlite").execute("SELECT count(DISTINCT image) FROM exemplars WHERE block = ? AND neuron = ?", (b, n)).fetchone()
print(open(f"sheets/{sys.argv[1]}.svg").read().count("<image") == of + 3)' $sheet
done
keyhole exemplars run "$model" "$images/class_1" --neurons b1n3 -q --out other; echo $?
keyhole exemplars run "$model" "$images" --neurons b2n3 -q --out other; echo $?
# figures 5 and 6 are of the classes that were chosen, and say so
keyhole atlas "$model" "$images" --lenses distance --compare class_9,6 --out chosen -q >/dev/null
grep -o "of 2 .*class_9\." chosen/figures/figures.json; grep -c "distances of 2 classes (chosen by --compare)" chosen/figures/figures.json
