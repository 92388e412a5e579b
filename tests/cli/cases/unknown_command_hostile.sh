# what a stranger typed reaches the terminal escaped
keyhole "$(printf "a\033[2Jb")"
