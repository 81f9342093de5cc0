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
package sim
