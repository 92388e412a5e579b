# tables and arrays that are no longer what the run wrote: the digest says which, and nothing uses them
command -v python3 >/dev/null || { echo "no python3 to damage files with" >&2; exit 77; }
printf '%s\n' "$DATA/golden/images"/rgb_4*.jpg > list
atlas() { keyhole atlas random:test_vit @list --out run -q --no-figures --lenses accuracy,units,class_mean,exemplars "$@"; }
atlas | sed -n 's/.*digest //p' >said
keyhole status run --digest | cmp - said && echo "as the atlas said"
atlas --json | grep -c "$(cat said)"
cp -r run whole
python3 - <<'END'
import sqlite3
array = open("run/arrays/class_mean.npy", "r+b")
array.seek(-3, 2)
byte = array.read(1)
array.seek(-3, 2)
array.write(bytes([byte[0] ^ 1]))
tables = sqlite3.connect("run/run.sqlite")
tables.execute("UPDATE neurons SET mean = mean + 1e-9 WHERE block = 3 AND neuron = 5")
tables.execute("DROP TABLE accuracy")
tables.commit()
END
cp run/arrays/class_mean.npy run/arrays/rotated_thresholds.npy
keyhole status run; echo "status $?"
keyhole status run --json | grep damaged
keyhole status run --digest; echo "status $?"
atlas; echo "status $?"
keyhole export run random:test_vit @list --blocks 1 --units 0:2 --out x -q; echo "status $?"
keyhole figures run -q; echo "status $?"
keyhole exemplars run random:test_vit @list --neurons b1n1 --out x -q; echo "status $?"
keyhole pairs random:test_vit --weights run --blocks 0 -q; echo "status $?"
keyhole reproduce random:test_vit @list --atlas run --draws 2 --out x -q; echo "status $?"
ls run/figures x 2>/dev/null
# other pages of the file, the same tables
python3 -c 'import sqlite3; sqlite3.connect("whole/run.sqlite").execute("VACUUM")'
keyhole status whole --digest | cmp - said && echo "still the same"
# what the manifest says of the images and the checkpoint is what the tables say
sed 's/"broken": 0/"broken": 7/' whole/manifest.json >said && mv said whole/manifest.json
keyhole status whole; echo "status $?"
