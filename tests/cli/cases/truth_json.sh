command -v python3 >/dev/null || { echo "no python3 to read JSON with" >&2; exit 77; }
. "$KH_CASES/truth_model.inc"
keyhole truth random:model --scenes 1 --draws 3 --no-shortcuts --json >answer
python3 - <<END
import csv, json, os
answer = json.load(open("answer"))
rows = list(csv.DictReader(open("keyhole-truth/truth_classes.csv")))
means = {r["quantity"]: float(r["mean"]) for r in csv.DictReader(open("keyhole-truth/summary.csv"))}
print(len(answer["classes"]), sum(answer["top1_blocks"]), sum(answer["best_iou_rank"]))
for key, band in answer["means"].items():
    of_classes = [c[key] for c in answer["classes"]]
    assert abs(band["mean"] - sum(of_classes) / 25) < 1e-8 and band["lo"] <= band["mean"] <= band["hi"], key
    assert abs(means[key] - band["mean"]) < 1e-8, key
assert all(abs(float(r["iou"]) - c["iou_top1"]) < 1e-8 for r, c in zip(rows, answer["classes"]))
manifest = json.load(open("keyhole-truth/manifest.json"))
assert manifest["truth"]["shortcuts"] is False
assert sorted([f["name"] for f in manifest["files"]] + ["manifest.json"]) == sorted(os.listdir("keyhole-truth"))
END
