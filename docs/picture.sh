#!/bin/sh
# Types the lines of its standard input in a shell and prints what a terminal would show as an SVG.
#   printf '%s\n' 'lab up' 'lab status' | docs/picture.sh > docs/lab-up.svg
set -eu
export COLUMNS=96 NO_COLOR=1
while IFS= read -r line; do
    printf '\001$ %s\n' "$line"
    sh -c "$line" </dev/null 2>&1 || :
done | awk '
    function escape(text) { gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text); return text }
    { line[NR] = $0; if (length($0) > width) width = length($0) }
    END {
        w = width * 7.9 + 40; h = NR * 18 + 56
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"ui-monospace,Menlo,monospace\" font-size=\"13\">\n", w, h
        printf "<rect width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#15181c\"/>\n", w, h
        for (i = 0; i < 3; i++) printf "<circle cx=\"%d\" cy=\"18\" r=\"5\" fill=\"#3a414a\"/>\n", 20 + i * 16
        for (n = 1; n <= NR; n++) {
            colour = "#c8ccd2"
            if (sub(/^\001/, "", line[n])) colour = "#8fd18f"
            printf "<text x=\"20\" y=\"%d\" fill=\"%s\" xml:space=\"preserve\">%s</text>\n", 48 + (n - 1) * 18, colour, escape(line[n])
        }
        print "</svg>"
    }'
