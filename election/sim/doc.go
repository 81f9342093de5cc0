// Package sim attacks the election with random schedules on a model of masters,
// kernels and etcd, and judges every instant of them.
//
// The model is made to be worse than the real thing, within the bounds that
// election promises to stand (see there): clocks that run at rates up to 1 %
// apart, requests and replies that are lost, late or applied twice, transactions
// that commit after their sender gave up, etcd without a leader or a quorum, a
// store restored from an older snapshot, watches that lag or die without a word,
// processes that freeze in the worst places or are killed and started again,
// kernels that remove an address up to 1.3 s late, and people who delete it.
//
// With heartbeats there is more of it: datagrams that are lost, doubled, late by
// seconds and in no order, also to the process after the one they were sent to;
// firewalls that etcd passes, one way or both; daemons that read what came while
// they were frozen, or die between two things that one step wanted; members that
// join, are removed and come back as others, which everybody learns in his own
// time; nodes without a fence, with other promises, or with none. Two nodes hold
// the address at once if both would answer for it: the address is on a link and
// no fence before it is closed.
package sim
