// Package etcd keeps the election's record, and what the candidates tell each
// other, in the local etcd member.
//
// It decides nothing. A [Store] delivers what it sees as events and carries out
// single calls; values are opaque strings. What it is careful about is what a
// caller may conclude:
//
//  1. A write is one transaction that compares the record's whole former value,
//     never its revision: a restored snapshot repeats revisions. It is sent at
//     most once; nothing below retries it.
//  2. [Committed] and [Refused] are facts with a quorum behind them. [NotSent]
//     and [Failed] are proofs that the write was not applied and never will be.
//     Everything else is [Unknown], also a NOSPACE error: etcd answers so too
//     when it has applied the write that crosses the quota.
//  3. A [Record] is live only if the change was seen to happen on a watch that
//     was not interrupted since the record was read, on the same connection to
//     the same member process. Everything else was found, not seen.
//  4. A watch never reports that its connection died, so a quiet one is asked
//     for a sign of life; without one it is lost, which is an event.
//  5. Only the local member is used, except by calls that say so: they are for
//     giving away, and for a node that has no member yet ([Store.Roll],
//     [Store.Presence], [Store.RemoveMember]). While the local member does not answer, the keys are
//     followed through another one.
//
// The keys below Config.Prefix: "record" is the record, "call" a request to the
// holder, "nodes/NAME" each candidate's presence, "key" the secret that the daemons'
// own messages are signed with. Presence and call hang on a lease; nothing that
// safety rests on does. The history is below a prefix of its
// own, Config.History, and is not followed: it is read when somebody asks.
//
// The etcd client library dials. The calls are made on its generated stubs: its
// wrappers wait for a connection, retry, resume a broken watch unseen and dial
// anew for each status call, which is what must not happen here.
package etcd
