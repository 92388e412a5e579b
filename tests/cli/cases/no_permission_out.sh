mkdir locked && chmod 555 locked && . "$KH_CASES/../as_nobody.inc"
as_nobody keyhole align random:test_vit --draws 0 --out locked/results
