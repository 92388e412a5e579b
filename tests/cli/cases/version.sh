keyhole --version && keyhole -V
