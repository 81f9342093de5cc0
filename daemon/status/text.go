package status

// Clean makes text from elsewhere safe for a terminal: no control character, and
// so no escape sequence, gets through.
func Clean(text string) string { return clean(text) }

// Wrap breaks text at spaces into lines of at most width runes; a longer word
// stays whole.
func Wrap(text string, width int) []string { return wrap(text, width) }
