# Two weights of the patch embedding near the largest float: bright images overflow, a grey one does not. The
# message names the file, whichever place it has in its batch.
cp -r "$DATA/golden/test_vit" m && cp "$DATA/golden/images/one_420.jpg" grey.jpg &&
    cp "$DATA/golden/images/rgb_444.jpg" "$(printf 'bright\033.jpg')" || exit 1
size=$(wc -c <m/model.safetensors)
printf "\231\166\026\177\231\166\026\177" |
    dd of=m/model.safetensors bs=1 seek=$((size - 20064)) conv=notrunc 2>/dev/null
keyhole classify m grey.jpg -k 1 >/dev/null || exit 1
for batch in 1 8; do
    keyhole classify m grey.jpg grey.jpg bright*.jpg grey.jpg -q -b $batch >/dev/null && echo passed
    keyhole look m grey.jpg grey.jpg bright*.jpg grey.jpg -q -b $batch --no-blocks >/dev/null && echo passed
done
exit 0
