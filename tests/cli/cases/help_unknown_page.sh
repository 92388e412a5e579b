keyhole help --man sing
