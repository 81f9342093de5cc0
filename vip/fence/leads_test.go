package fence

import "testing"

// TestLeads: the fence of each address is to be before what is another's.
func TestLeads(t *testing.T) {
	f := &Fence{posts: []*post{
		{in: program{id: 1}, former: []former{{program: program{id: 3}}}},
		{in: program{id: 2}},
	}}
	for name, c := range map[string]struct {
		ids  []uint32
		lead bool
	}{
		"alone":                            {[]uint32{1, 2}, true},
		"in another order, before another": {[]uint32{2, 1, 9}, true},
		"behind what is to go":             {[]uint32{3, 2, 1}, true},
		"none":                             {nil, false},
		"one":                              {[]uint32{1}, false},
		"behind another":                   {[]uint32{9, 1, 2}, false},
		"one behind another":               {[]uint32{1, 9, 2}, false},
		"one twice, one behind another":    {[]uint32{1, 1, 9, 2}, false},
		"one twice, one not at all":        {[]uint32{1, 1}, false},
		"one behind what is no program":    {[]uint32{1, 0, 2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var there []hooked
			for _, id := range c.ids {
				there = append(there, hooked{id: id, what: "it"})
			}
			if err := f.leads(there, inward); (err == nil) != c.lead {
				t.Errorf("%v, want it to lead: %v", err, c.lead)
			}
		})
	}
}
