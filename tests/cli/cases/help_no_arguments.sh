keyhole
