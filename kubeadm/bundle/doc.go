// Package bundle collects what a bug report needs into one archive, and keeps
// secrets out of it.
//
// Secrets are kept out three times. Files that hold them (keys, kubeconfigs,
// tickets, the unattended secret, encryption configurations) are never on the
// list of what is collected; of manifests only the structure is kept, without the
// values of variables; and everything, whatever it is, goes through a redactor
// that takes out what has the form of a secret and what is known to be one.
//
// It decides what to read and starts nothing itself: programs are run by whom it
// is given, and a program that is missing or hangs is a note, not a failure.
package bundle
