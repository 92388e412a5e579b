# a folder's name is a class only as a whole: label, synonym or wnid
printf 'tench, Tinca tinca\nvalley, vale\nn01443537 goldfish\nship\nbird\n' >labels
mkdir model && echo '{"architecture": "test_vit", "num_classes": 5}' >model/config.json
for name in val Tinca_tinca n01443537 SHIP shipping 3; do
    mkdir $name && cp "$DATA/golden/images/rgb_444.jpg" $name/x.jpg || exit 1
    printf '%s: ' $name
    keyhole classify random:model --labels labels --truth -k 1 $name -q --json |
        awk '/"truth"/ { print $2; seen = 1 } END { if (!seen) print "none" }'
done
