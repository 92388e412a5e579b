keyhole selftest
