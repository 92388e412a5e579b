# Says which tag of an HTML page does not close where it should; nothing for a page that is well formed. Void
# elements must end in "/>". Comments and <!doctype> are skipped, and so are texts.
BEGIN { RS = "<" }
NR == 1 { next }
{
    end = index($0, ">")
    if (!end) { print "no > behind <" substr($0, 1, 40); bad = 1; next }
    tag = substr($0, 1, end - 1)
    if (tag ~ /^!/) next
    quotes = gsub(/"/, "\"", tag)
    if (quotes % 2) { print "odd quotes: <" substr(tag, 1, 60); bad = 1 }
    if (tag ~ /\/$/) next
    split(tag, word, /[ \n]/)
    if (word[1] ~ /^\//) {
        if (depth == 0 || open[depth] != substr(word[1], 2)) { print "<" word[1] "> closes <" open[depth] ">"; bad = 1 }
        depth--
    } else
        open[++depth] = word[1]
}
END {
    if (depth) print "still open: " open[depth]
    exit bad || depth
}
