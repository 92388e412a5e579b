keyhole sing
