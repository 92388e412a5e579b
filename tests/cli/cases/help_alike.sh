# three ways to ask for the same text
keyhole --help >long && keyhole -h >short && keyhole help >word && cmp long short && cmp long word
