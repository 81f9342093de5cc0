package etcd
import ("testing";"fmt";"strings";"sync";"errors";"context";"time";"havip/test/etcdtest")
func TestZZ(t *testing.T) {
	c := etcdtest.StartWith(t, 1, etcdtest.Options{Args: []string{"--quota-backend-bytes=" + fmt.Sprint(24<<20)}})
	var wg sync.WaitGroup
	var mu sync.Mutex
	applied, not := 0, 0
	for w := range 40 {
		wg.Go(func() {
			cfg := configFor(c, c.Members[0]); cfg.Prefix = fmt.Sprintf("/p%d/", w); cfg.Log=nil
			s := open(t, cfg)
			cur := ""
			for i := range 200 {
				next := fmt.Sprint(i, strings.Repeat("x", 1000<<10))
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				r := s.Write(ctx, cur, next, false)
				cancel()
				if r.Outcome == Committed { cur = next; continue }
				if errors.Is(r.Err, ErrNoSpace) {
					got, err := s.Read(context.Background())
					mu.Lock()
					if err == nil && got == next { applied++ } else { not++ }
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("NOSPACE answers: applied %d, not applied %d", applied, not)
}
