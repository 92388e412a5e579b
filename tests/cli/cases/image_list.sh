cp "$DATA/golden/images/rgb_444.jpg" a.jpg && cp "$DATA/golden/images/rgb8.png" c.png
printf "a.jpg\r\nc.png\n" | keyhole classify random:test_vit - -k 1 >from_stdin
printf "a.jpg\n\nc.png" >list && keyhole classify random:test_vit @list -k 1 >from_list
keyhole classify random:test_vit a.jpg c.png -k 1 >from_names
cmp from_stdin from_names && cmp from_list from_names && wc -l <from_names
