keyhole help sing
