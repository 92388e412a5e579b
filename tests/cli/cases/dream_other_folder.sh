dream() { keyhole dream random:test_vit --model-size 32 --steps 2 -q --out here "$@"; }
dream --neuron b3n7,b1n2 --images 2 --snapshots 1 && dream --neuron b3n7,b1n2 --images 2 --snapshots 1
# nothing of the first goal stays, somebody's files do
touch here/mine.png here/sheet_mine.png here/images/b3n7.png here/strips/notes.txt
dream --neuron 4:1 --overwrite && ls -R here
# one that was killed before its manifest leaves a dream.txt as well
rm here/manifest.json here/images/b3n7.png && echo >here/unfinished && echo old >here/natural.csv
dream --neuron b3n7 --overwrite && ls here here/images
dream --neuron b2n7
