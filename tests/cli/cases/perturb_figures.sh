# the figures of perturb exist, are listed in the manifest, and show the numbers of the tables
set="$DATA/atlas/pictures"
keyhole perturb "$DATA/golden/vit_base" "$set/class_1" "$set/class_6" --truth "$DATA/atlas/truth" --out x --steps 8 --random 3 --pictures 2 -q >said
ls x x/pictures
for figure in perturb_removal perturb_rates perturb_maps; do
    for kind in png svg; do
        grep -q "\"$figure.$kind\"" x/manifest.json || echo "$figure.$kind is not listed"
        [ -s x/$figure.$kind ] || echo "$figure.$kind is empty"
    done
done
# value and place, in the order of drawing; places are as good as shares when one scale takes all of one chart to them
scale='{ value[NR] = $2; y[NR] = $3; chart[NR] = $1
    if (!($1 in low) || $2 < value[low[$1]]) low[$1] = NR
    if (!($1 in high) || $2 > value[high[$1]]) high[$1] = NR }
END { for (i = 1; i <= NR; i++) {
        a = low[chart[i]]; b = high[chart[i]]
        want = y[a] + (value[i] - value[a]) * (y[b] - y[a]) / (value[b] - value[a])
        if (!(y[i] - want < 0.01 && want - y[i] < 0.01) || y[b] >= y[a]) { print "value " i " is drawn wrong"; exit }
    }
    print NR " values of " length(low) " charts" }'
# curves are the only lines with round joins; the dashed one is the accuracy with nothing taken away. Corners on a straight
# line are not written, so places are read off between the ends, where x runs from nothing to everything
for sign in positive negative; do
    awk -F, -v sign=$sign '$2 == sign || $2 == "none" { print sign, $6 }' x/removal.csv
done >values
grep 'stroke-linejoin:round' x/perturb_removal.svg | grep -v dasharray | sed 's/.* d="M //; s/ "\/>//; s/ L / /g' |
    awk '{ for (k = 0; k <= 8; k++) {
        x = $1 + k / 8 * ($(NF - 1) - $1)
        for (i = 3; $i < x - 1e-4; i += 2);
        print $(i - 1) + (x - $(i - 2)) / ($i - $(i - 2)) * ($(i + 1) - $(i - 1)) } }' >places
paste -d' ' values places | awk "$scale"
grep 'stroke-linejoin:round' x/perturb_removal.svg | grep -c dasharray
# bars (the squares of legends are 10 high), then whiskers
awk -F, 'NR > 1 { print "accuracy", $4; print "accuracy", $3 }' x/perturb.csv >values
awk -F, 'NR > 1 { print "patches", $6; print "patches", $5 }' x/perturb.csv >>values
awk -F, 'NR > 1 { print "accuracy", $11; print "accuracy", $12; print "accuracy", $9; print "accuracy", $10 }' x/perturb.csv >>values
awk -F, 'NR > 1 { print "patches", $15; print "patches", $16; print "patches", $13; print "patches", $14 }' x/perturb.csv >>values
blue='fill:rgb(0%,44.705882%,69.803922%)' orange='fill:rgb(83.529412%,36.862745%,0%)'
grep -e "$blue" -e "$orange" x/perturb_rates.svg | sed 's/.* d="M //' | awk '$11 - $2 != 10 { print $2 }' >places
grep 'stroke-width:1.2;' x/perturb_rates.svg | sed 's/.* d="M //' | awk '{ print $2; print $5 }' >>places
paste -d' ' values places | awk "$scale"
# without relevance: neither its curves nor its array
keyhole perturb "$DATA/golden/vit_base" "$set/class_1" --no-relevance --out y --steps 2 --random 0 -q >said
cut -d, -f 1,2 y/auc.csv; ls y
