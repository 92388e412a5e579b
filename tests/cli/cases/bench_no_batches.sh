keyhole bench random:test_vit --batches "" --json
