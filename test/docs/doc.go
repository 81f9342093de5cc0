// Package docs reads the documentation as an operator does who copies from it:
// it finds the commands in README.md and docs/, for the tests that parse or run
// them.
package docs
