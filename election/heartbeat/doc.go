// Package heartbeat carries what the masters' daemons say to each other within
// fractions of a second: small authenticated datagrams over UDP.
//
// It decides nothing. A datagram that comes through here was made by somebody
// with the key and is newer than the last of its kind from that sender; what it
// means is the election's business, which stays safe whatever is lost, late,
// doubled, reordered or replayed. What this package keeps from the election costs
// speed, never safety.
//
// # The datagram
//
// Version 1 has [Size] bytes, numbers in network byte order:
//
//	offset size
//	     0    3  "hvb"
//	     3    1  version, 1
//	     4    1  kind: 1 beat, 2 acknowledgement, 3 challenge, 4 abandoned
//	     5    1  verdict of an acknowledgement: 1 promised, 2 denied, 3 leaving; else 0
//	     6    1  length of the life, 1 to 32
//	     7    1  length of the epoch, 0 to 48
//	     8    4  ID of the key
//	    12    4  0
//	    16    8  sender: its etcd member ID
//	    24    8  receiver: its etcd member ID
//	    32    8  sequence number, the election's
//	    40    8  sent: the sender's CLOCK_BOOTTIME in ns, made to rise with each datagram
//	    48    8  echo: in an acknowledgement, sent of the newest beat from the receiver; else 0
//	    56   32  life: random for each start of the sender, padded with zeros
//	    88   48  epoch, padded with zeros
//	   136   32  HMAC-SHA256 of all that is before it
//
// Everything that is not so is dropped and counted by its [Reason].
//
// # Whose it is
//
// The key authenticates a datagram, its source address does not: there is no NAT
// between masters, but a node may have many addresses, and a list of those that
// may speak would add a way to be deaf and none to be safer. Nothing is ever sent
// to where a datagram came from: only to the address that etcd's member list has
// for the peer, so that nobody can make a master answer somebody else.
//
// # Replays
//
// Of each kind only what was sent later than the newest from the same life of the
// sender is taken, and the last [livesKept] lives of each sender are remembered: who
// recorded the beats of a holder cannot play them after its death to those who
// heard it. To a receiver that has just started everything is new. So a replay can
// make a node that restarted believe for as long as it goes on that the epoch of a
// dead holder lives, and not abandon it. The address then moves after the
// record's own takeover time, which no datagram changes, and a rotation of the key
// makes what was recorded before the last one worthless. Who can put frames on
// the masters' network can do as much harm by ARP.
package heartbeat
