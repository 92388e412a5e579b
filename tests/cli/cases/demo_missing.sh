# The demo's checkpoint is found where $KEYHOLE_DEMO says, a folder called demo does not hide it.
mkdir demo
KEYHOLE_DEMO=$WORK/demo keyhole info demo
echo status $?
mkdir demo/model && cp "$DATA"/golden/vit_base/config.json "$DATA"/golden/vit_base/model.safetensors demo/model
for folder in demo demo/model; do
    KEYHOLE_DEMO=$WORK/$folder keyhole info demo | grep '^source'
done
KEYHOLE_DEMO=$WORK/demo keyhole info random:demo@7 | grep '^architecture'
KEYHOLE_DEMO=$WORK/demo keyhole info demo:early
KEYHOLE_DEMO=$WORK/demo keyhole info demo:images
KEYHOLE_DEMO=$WORK/demo keyhole info demo:../model
echo status $?
