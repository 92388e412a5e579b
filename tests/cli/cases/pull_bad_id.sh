keyhole pull ../../etc/passwd
