// Package status is the document a havip daemon serves about itself: its types,
// what follows from its facts, how it reads as text, and the client that fetches it.
//
// The daemon fills in facts. [Judge] alone decides what they mean (held, degraded,
// nobody; who is next; what one more failure costs; what to do), so that every
// sentence an operator reads at three in the morning is covered by a table.
package status
