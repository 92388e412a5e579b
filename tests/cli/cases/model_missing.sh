keyhole info no-such-folder
