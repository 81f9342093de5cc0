package status

// HoldsHere reports whether the node that reports had the right to serve the VIP
// when the document was judged.
func (d *Document) HoldsHere() bool {
	h := d.Holder
	return h != nil && h.Node == d.Node && h.RightLeftMS != nil && !h.LastKnown && d.held()
}

// EtcdAnswers reports whether what the document says of the record and of other
// masters is of its own moment.
func (d *Document) EtcdAnswers() bool { return d.etcdAnswers() }
