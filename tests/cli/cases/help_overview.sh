keyhole --help
