# Does the second file read as the first one expects? See run_case.sh for "~ REGEX" and "...".
# Usage: awk -f match.awk EXPECTED GOT; exit 0 when it does.
NR == FNR && FILENAME == ARGV[1] { want[++wants] = $0; next }
{ got[++gots] = $0 }

function fits(expected, line) {
    if (substr(expected, 1, 2) == "~ ") return line ~ ("^(" substr(expected, 3) ")$")
    return expected == line
}

function match_from(w, g) {
    while (w <= wants) {
        if (want[w] == "...") {
            if (w == wants) return 1
            for (; g <= gots + 1; g++)
                if (match_from(w + 1, g)) return 1
            return 0
        }
        if (g > gots || !fits(want[w], got[g])) return 0
        w++
        g++
    }
    return g == gots + 1
}

END { exit !match_from(1, 1) }
