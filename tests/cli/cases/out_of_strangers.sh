# a folder with somebody's files is refused by every command that writes one, with --overwrite too, and what lies
# there stays as it was; so is one with results of another command, or with a manifest.json of another program
image=$DATA/golden/images/rgb_444.jpg
mkdir mine && for name in share.csv fig3.csv run.sqlite figures.json index.csv log.csv; do echo mine >mine/$name; done
keyhole align random:test_vit -q --draws 0 --out aligned >/dev/null 2>&1 || exit 1
mkdir strange && echo '{"name": "a web page"}' >strange/manifest.json
mkdir before && cp -r mine aligned strange before/
try() {
    out=$1 && shift
    keyhole "$@" --out $out
    [ $? = 1 ] || echo "$1 takes $out"
}
try mine share random:test_vit
try mine share random:test_vit --overwrite
try mine align random:test_vit --draws 0 --overwrite
try mine pairs random:test_vit --overwrite
try mine look random:test_vit "$image" --overwrite
try mine dream random:test_vit --neuron b1n1 --overwrite
try mine atlas random:test_vit "$image"
try mine atlas random:test_vit "$image" --overwrite
try mine merge random:test_vit "$image"
try mine ablate "$DATA/golden/vit_base" "$DATA/atlas/pictures/class_1" --overwrite
try mine perturb random:test_vit "$image" --overwrite
try mine truth random:test_vit --overwrite
try mine figures run
try mine exemplars run random:test_vit "$image" --overwrite
try mine export run random:test_vit "$image" --overwrite
try mine reproduce random:test_vit "$image" --overwrite
try mine diorama -n 1 --overwrite
try aligned share random:test_vit
try aligned share random:test_vit --overwrite
try aligned atlas random:test_vit "$image" --overwrite
try aligned dream random:test_vit --neuron b1n1 --overwrite
try aligned figures run
try strange share random:test_vit --overwrite
try strange atlas random:test_vit "$image" --overwrite
for out in mine aligned strange; do diff -r $out before/$out && echo "$out is as it was"; done
# what align left, align may replace; an empty folder is as good as none
keyhole align random:test_vit -q --draws 0 --out aligned --overwrite >/dev/null 2>&1 && echo "its own"
mkdir empty && keyhole align random:test_vit -q --draws 0 --out empty >/dev/null 2>&1 && ls empty | grep -c json
