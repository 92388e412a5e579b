keyhole diorama --estimate --count 1000
keyhole diorama --sheet sheet.svg --sheet-scenes 1 --size 32
keyhole diorama --sheet two.png --class fish,house --size 32 && ls
