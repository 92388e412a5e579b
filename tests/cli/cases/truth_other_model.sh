keyhole truth random:test_vit
echo $?
. "$KH_CASES/truth_model.inc"
sed -i 's/d00000013/n00000013/' model/config.json
keyhole truth random:model
echo $?
[ -e keyhole-truth ] && echo "a folder is left"
keyhole truth random:model --scenes 0
