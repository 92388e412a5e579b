mkdir empty && keyhole info empty
