# Scenes of chosen classes keep their places in the world; labels.txt names all classes for --labels.
keyhole diorama --class fish,24,d00000001 --start 1 --count 4 --size 32 --out some
cut -d, -f1-4 some/scenes.csv
head -n 3 some/labels.txt && wc -l <some/labels.txt
keyhole diorama --class fish,unicorn --out none
echo status $? && ls
