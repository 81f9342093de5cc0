// Package adopt migrates clusters, on masters that boot systemd, from the real
// keepalived and from a program that holds the address as kube-vip does in ARP
// mode, and measures what clients notice of each step.
package adopt
