// Havipctl is what an operator types: it asks the havip daemon of this node
// over its socket, and writes and checks the config file.
//
// Data goes to stdout; "error:" and "hint:" lines go to stderr. The exit codes
// are listed in errors.go and in docs/socket.md.
package main
