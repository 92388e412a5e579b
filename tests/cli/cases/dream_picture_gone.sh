# pictures that were removed are painted again by the same command, with the same bytes
dream() { keyhole dream random:test_vit --model-size 32 -q "$@" || exit 1; }
plain="--neuron b3n7,b1n2 --steps 6 --snapshots 2,4 --images 2"
dream $plain --out plain && cp -r plain plain.before
rm plain/images/b3n7_i1_s0004.png
dream $plain --out plain && diff -r plain plain.before && echo "again, as it was"
rm -r plain/images plain/strips plain/sheet_s0006_01.png
dream $plain --out plain && diff -r plain plain.before && echo "all of them"
dream --preset maco --size 16 --neuron b3n7 --steps 2 --out maco && cp -r maco maco.before
rm maco/images/b3n7_i0_alpha.png
dream --preset maco --size 16 --neuron b3n7 --steps 2 --out maco && diff -r maco maco.before && echo "with its alpha"
# nothing is painted where nothing is missing
touch -d 2001-01-01 plain/images/*.png
dream $plain --out plain && find plain/images -name '*.png' -newermt 2002-01-01
