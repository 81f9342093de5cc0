package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"havip/test/measure"
)

// cell is what the trials of one contender with one fault say.
type cell struct {
	trials []Trial
}

func (c cell) each(of func(Trial) float64) (all []float64) {
	for _, t := range c.trials {
		all = append(all, of(t))
	}
	return all
}

func (c cell) worst(of func(Trial) float64) float64 { return slices.Max(c.each(of)) }

// open counts the trials in which no answer came before the fault was healed.
func (c cell) open() (n int) {
	for _, t := range c.trials {
		if t.Open {
			n++
		}
	}
	return n
}

func outage(t Trial) float64    { return t.Outage }
func healing(t Trial) float64   { return t.Heal }
func nobodyHad(t Trial) float64 { return t.Nobody }
func double(t Trial) float64    { return t.Double }
func wire(t Trial) float64      { return t.Wire }
func noise(t Trial) float64     { return t.Noise }
func late(t Trial) float64      { return t.Late }

// pick returns the trials of a contender with a fault.
func pick(all []Trial, masters int, contender, fault string) cell {
	var c cell
	for _, t := range all {
		if t.Masters == masters && t.Contender == contender && t.Fault == fault {
			c.trials = append(c.trials, t)
		}
	}
	return c
}

// quantile is the smallest value that the given part of all does not exceed.
func quantile(values []float64, part float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(part*float64(len(sorted))))-1)]
}

// Report is what was measured, as markdown.
func Report(d Data) string {
	var b strings.Builder
	b.WriteString(reportHead)
	facts(&b, d)
	b.WriteString(reportFaults)
	for _, f := range faults {
		rows(&b, d.Trials, f)
	}
	scaleTables(&b, d)
	foot(&b)
	return b.String()
}

func foot(b *strings.Builder) {
	var broken, who []string
	for _, f := range faults {
		broken = append(broken, "`"+f.name+"`")
	}
	for _, c := range contenders {
		who = append(who, "`"+c.name+"`")
	}
	fmt.Fprintf(b, reportFoot, strings.Join(broken, ", "), strings.Join(who, ", "))
}

const reportFoot = `
## Again, elsewhere

` + "`sudo make bench REPEAT=20`" + ` takes hours: a round of all faults is two to three minutes for each contender, more where one
notices a dead API server late or never. ` + "`FAULTS='^crash' CONTENDERS='fast|tuned' SCALE=`" + ` plays only what matches, and keeps
what was measured of the rest; ` + "`REPEAT=0`" + ` draws the page anew. ` + "`SCALE=3,5,7`" + ` are the numbers of masters that idle, and a
crash, are measured with. It needs root, installs Debian's keepalived and curl if they are missing, says so and ends if it
cannot, and touches no network but its own namespaces. A trial that went wrong, and one in which two nodes answered for
havip's address, are told at the end and make it fail. The machine should have nothing else to do: the noise and the load
say whether it had.

Faults: ` + "%s" + `. Contenders: ` + "%s" + `.
`

const reportHead = `# Beside keepalived and a plain election

Written by ` + "`sudo make bench`" + `, from every trial in [benchmark.jsonl](benchmark.jsonl). The same faults in clusters that are
alike but for who keeps the address: three masters as network namespaces on a bridge, each with a real etcd member at its
default timers (data in memory) and a stand-in API server. Within a run contenders take turns, a round of all
its faults each. The trials can be of several runs: the file has the load and the noise of each.

`

const reportFaults = `
## What each fault costs

![what clients noticed of each fault](benchmark.png)

Milliseconds.

- "clients": the longest span in which a client that connects through the address every 5 ms got no answer while the fault
  lasted: median / 90 of 100 / longest. A ` + "`>`" + ` says that in some trials no answer came before the fault was healed: they say
  how long it was left broken.
- "ratio": the median over that of keepalived tuned, unless that one is no more than noise.
- "nobody": the longest span while the fault lasted in which no node had the address, by the kernels' own notifications:
  median / longest. A node that is cut off still has it.
- "healed": the longest span without an answer after the fault was healed, until all was calm: median / longest.
- "two": the longest of all trials that more than one node had the address at once, healing included; "kernel" by the
  kernels' notifications, "wire" by answers to the same question, an ARP request to all every 5 ms. An address that a
  kernel keeps quiet about, or that is behind a cut, counts for the first and not for the second; only the second can
  mislead a client.
- "noise": the median of the longest spans without an answer in the quiet second before each fault.
- "API server dead": havip waits for three failed checks (` + "`[health] fall`" + `), the first when the connection breaks, then one a
  second: 2000 of the milliseconds that it shows.

| fault | contender | trials | clients | ratio | nobody | healed | two, kernel | two, wire | moves | noise |
|---|---|---|---|---|---|---|---|---|---|---|
`

func facts(b *strings.Builder, d Data) {
	var systems []string
	var loads []float64
	all := cell{d.Trials}
	for _, t := range d.Trials {
		systems = append(systems, t.System)
		loads = append(loads, minuteLoad(t.Load))
	}
	for _, i := range d.Idles {
		systems = append(systems, i.System)
	}
	for _, s := range slices.Compact(slices.Sorted(slices.Values(systems))) {
		fmt.Fprintf(b, "- measured on: %s\n", s)
	}
	if len(d.Trials) == 0 {
		return
	}
	fmt.Fprintf(b, "- processes that ran or wanted to (1 minute): %.2f / %.2f / %.2f (lowest / median / highest)\n",
		slices.Min(loads), measure.Median(loads), slices.Max(loads))
	fmt.Fprintf(b, "- a write to etcd by itself took %s ms (median of the trials)\n", ms(measure.Median(all.each(func(t Trial) float64 { return t.Commit }))))
	fmt.Fprintf(b, "- observers were late by at most %s ms (median of the trials), %s ms (the worst): two holders for less could have gone unseen\n",
		ms(measure.Median(all.each(late))), ms(all.worst(late)))
	for _, who := range contenders {
		if back, beyond := etcdBack(d.Trials, who.name); len(back) > 0 && who.etcd {
			fmt.Fprintf(b, "- %s, node crash with the etcd leader: etcd confirmed a write again after %s / %s ms, clients had an answer %s / %s ms later (median / longest)\n",
				who.title, ms(measure.Median(back)), ms(slices.Max(back)), ms(measure.Median(beyond)), ms(slices.Max(beyond)))
		}
	}
	fmt.Fprintf(b, "- a daemon that ends by itself is restarted as its unit says: havip after %d ms (the plain election likewise), keepalived of Debian 12 not at all\n", havipRestart.Milliseconds())
}

func minuteLoad(text string) (load float64) {
	_, _ = fmt.Sscanf(text, "%f,", &load) // 0 for what is no load
	return load
}

// etcdBack is how long etcd was without a leader, and how much longer clients
// were without an answer.
func etcdBack(all []Trial, contender string) (took, beyond []float64) {
	for _, t := range all {
		if t.Etcd > 0 && t.Contender == contender {
			took, beyond = append(took, t.Etcd), append(beyond, t.Outage-t.Etcd)
		}
	}
	return took, beyond
}

func rows(b *strings.Builder, all []Trial, f fault) {
	base := pick(all, usual, tuned, f.name)
	for _, who := range contenders {
		c := pick(all, usual, who.name, f.name)
		if len(c.trials) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %d | %s | %s | %s / %s | %s / %s | %s | %s | %s | %s |\n", f.title, who.title, len(c.trials), c.clients(), c.ratio(base),
			ms(measure.Median(c.each(nobodyHad))), ms(c.worst(nobodyHad)),
			ms(measure.Median(c.each(healing))), ms(c.worst(healing)), ms(c.worst(double)), ms(c.worst(wire)), c.moves(), ms(measure.Median(c.each(noise))))
	}
}

func (c cell) clients() string {
	of := c.each(outage)
	text := fmt.Sprintf("%s / %s / %s", ms(measure.Median(of)), ms(quantile(of, 0.9)), ms(slices.Max(of)))
	if n := c.open(); n > 0 {
		text = fmt.Sprintf("> %s (%d never)", text, n)
	}
	return text
}

// ratio is "-" where clients of base notice no more than noise.
func (c cell) ratio(base cell) string {
	if len(base.trials) == 0 || measure.Median(base.each(outage)) < 2*measure.Median(base.each(noise)) {
		return "-"
	}
	return fmt.Sprintf("%.2f", measure.Median(c.each(outage))/measure.Median(base.each(outage)))
}

func (c cell) moves() string {
	var all []int
	for _, t := range c.trials {
		all = append(all, t.Moves)
	}
	return measure.Numbers(all)
}

func ms(v float64) string { return measure.Millis(time.Duration(v * float64(time.Millisecond))) }

// scaleTables are about other numbers of masters.
func scaleTables(b *strings.Builder, d Data) {
	if len(d.Idles) == 0 {
		return
	}
	b.WriteString(`
## What it costs, and with more masters

Idle, with nobody looking: percent of a core on the holder's node and on the busiest other; the largest resident memory
(of keepalived both processes); packets a second on a node's link, etcd's own among them; what etcd's members are asked
and write, in all. The line "etcd alone" is what the cluster does by itself. "Crash" is how long clients got no answer when
the holder's node crashed: median / longest, in milliseconds.

| masters | contender | holder, % | other, % | MiB | packets/s | requests/s | writes/s | crash |
|---|---|---|---|---|---|---|---|---|
`)
	var masters []int
	for _, i := range d.Idles {
		masters = append(masters, i.Masters)
	}
	for _, m := range slices.Compact(slices.Sorted(slices.Values(masters))) {
		for _, who := range append([]contender{nobody}, contenders...) {
			n := slices.IndexFunc(d.Idles, func(i Idle) bool { return i.Masters == m && i.Contender == who.name })
			if n < 0 {
				continue
			}
			i := d.Idles[n]
			crash := "-"
			if c := pick(d.Trials, m, who.name, scaled); len(c.trials) > 0 {
				crash = fmt.Sprintf("%s / %s", ms(measure.Median(c.each(outage))), ms(c.worst(outage)))
			}
			fmt.Fprintf(b, "| %d | %s | %.2f | %.2f | %.1f | %.1f | %.1f | %.2f | %s |\n", m, who.title, i.Holder, i.Standby, i.Memory, i.Packets, i.Requests, i.Writes, crash)
		}
	}
}
