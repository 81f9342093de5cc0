package status

import (
	"strings"
	"unicode/utf8"
)

// cell is a text and how it is coloured.
type cell struct{ text, colour string }

// table renders rows in columns two spaces apart. Where that is wider than
// width, the first column is cut in its middle: both ends of a long host name
// tell more than its beginning.
func table(rows [][]cell, width int, paint func(colour, text string) string) []string {
	widths := columnWidths(rows)
	if over := total(widths) - width; over > 0 {
		widths[0] = max(widths[0]-over, 8)
	}
	var lines []string
	for _, row := range rows {
		var b strings.Builder
		for i, c := range row {
			text := c.text
			if i == 0 {
				text = cutMiddle(text, widths[0])
			}
			b.WriteString(paint(c.colour, text))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+2))
			}
		}
		lines = append(lines, b.String())
	}
	return lines
}

func columnWidths(rows [][]cell) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	return widths
}

func total(widths []int) int {
	sum := -2
	for _, w := range widths {
		sum += w + 2
	}
	return sum
}

func cutMiddle(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	head := (width - 1) / 2
	return string(r[:head]) + "…" + string(r[len(r)-(width-1-head):])
}
