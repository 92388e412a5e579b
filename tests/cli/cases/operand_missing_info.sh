keyhole info
