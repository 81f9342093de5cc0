// Package configs reads havip's TOML file.
//
// A file is decoded strictly: an unknown key, a wrong type and a value out of
// bounds are problems, and so is a set of values that cannot work together. All
// problems of a file are reported at once as [Problems], each with its place,
// the key, what is wrong and what to write instead.
//
// One table, in schema.go, names every key. The decoder, the reference file, the
// written-out configuration and docs/config.md all come from it, so that none of
// them can say something else than the others.
//
// # When a file counts as configured
//
// A file without vip.address is valid and not configured: the packaged file is
// one, and other sections may be rolled out before the address is known. Only
// when [masters] or vip.interface is there, so that somebody plainly meant to
// name an address, is its absence a problem.
package configs
