MODEL=$DATA/golden/vit_base
mkdir set && cp -r $DATA/atlas/pictures/class_[16] set && echo torn >set/class_6/torn.png
keyhole ablate $MODEL set --block 0 --resamples 20 --sets 2 --k 1,3,10 --keys 2 --random-keys 2 --out out |
    sed -n '1,2p; /^tables/p'
ls out
for table in ablate curves swap steering causal correlation shared classes summary; do
    echo $table $(tail -n +2 out/$table.csv | wc -l): $(head -n 1 out/$table.csv)
    # every row as wide as its header
    awk -F, 'NR == 1 { width = NF } NF != width { print FILENAME ": row " NR; exit }' out/$table.csv
done
# as many rows in the database
if command -v python3 >/dev/null; then
    python3 - <<END
import csv, json, os, re, sqlite3
db = sqlite3.connect("out/run.sqlite")
for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
    rows = list(csv.DictReader(open(f"out/{name}.csv")))
    cursor = db.execute(f"SELECT * FROM {name}")
    assert [d[0] for d in cursor.description] == (list(rows[0]) if rows else [d[0] for d in cursor.description]), name
    assert len(cursor.fetchall()) == len(rows), name
manifest = json.load(open("out/manifest.json"))
assert sorted([f["name"] for f in manifest["files"]] + ["manifest.json"]) == sorted(os.listdir("out"))
# this page draws margins, with their intervals: a line for each class, the largest loss first, as long as the interval
wide = [float(r["hi"]) - float(r["lo"]) for r in sorted(csv.DictReader(open("out/ablate.csv")), key=lambda r: float(r["mean"]))
        if (r["design"], r["set"], r["op"], r["k"], r["subset"], r["metric"]) == ("own", "ranked", "mean", "1", "all", "d_margin") and r["class"] != "-1"]
drawn = [float(a) - float(b) for a, b in re.findall(r'stroke-width:1\.2;[^>]* d="M \S+ (\S+) L \S+ (\S+) ', open("out/ablate_classes.svg").read())]
assert len(drawn) == len(wide) == 2 and all(abs(d - drawn[0] / wide[0] * w) < 0.05 for d, w in zip(drawn, wide)), (drawn, wide)
assert manifest["settings"]["block"] == 0 and manifest["images"]["broken"] == 1 and len(manifest["failed"]) == 1
END
fi
# again: not over the old results, and then over them
keyhole ablate $MODEL set --out out
echo status $?
rm set/class_6/torn.png
keyhole ablate $MODEL set --out out --overwrite --designs causal --per-class 1 --keys 1 --resamples 5 >/dev/null
echo status $?
ls out
