for options in "" "--out x --size 31" "--out x --count 0" "--out x --sheet-scenes 9"; do
    keyhole diorama $options
    echo status $?
done
touch file
keyhole diorama --count 1 --out file/scenes
echo status $?
keyhole diorama --count 1 --size 32 --sheet picture.gif
echo status $?
keyhole diorama --sheet file
echo status $?
keyhole diorama scenes
echo status $?
ls
