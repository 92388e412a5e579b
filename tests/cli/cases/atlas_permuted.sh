# labels that follow another numbering are said to look permuted, with an example; right ones are not
model=$DATA/../../demo/model
[ -e "$model/model.safetensors" ] || { echo "no demo model here" >&2; exit 77; }
keyhole diorama -n 75 --seed 2 --out world --no-labels -q >/dev/null
mkdir flat && cp world/images/scenes/*/*.png flat
for file in flat/*.png; do
    scene=$(basename "$file" .png | sed 's/^0*//')
    echo "$(basename "$file"),$(((${scene:-0} + 7) % 25))"
done > wrong.csv
keyhole atlas "$model" flat --label-file wrong.csv --lenses accuracy --no-figures --out wrong 2>&1 |
    sed -n 's/.*warning: \(labels look permuted: for 25 of 25 labels\).*/\1/p'
keyhole atlas "$model" world/images/scenes --lenses accuracy --no-figures --out right 2>&1 | grep -c permuted || :
