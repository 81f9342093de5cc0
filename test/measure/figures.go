package measure

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Spread is min / median / max in milliseconds.
func Spread(values []time.Duration) string {
	if len(values) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s / %s / %s", Millis(slices.Min(values)), Millis(Median(values)), Millis(slices.Max(values)))
}

// Number is what a median can be taken of.
type Number interface{ ~int64 | ~float64 }

// Median of at least one value; of an even number the mean of the middle two.
func Median[T Number](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Millis shows tenths only where they matter.
func Millis(d time.Duration) string {
	if d > 0 && d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%d", d.Round(time.Millisecond)/time.Millisecond)
}

// Counts is min / median / max of numbers.
func Counts(values []int) string {
	if len(values) == 0 {
		return "-"
	}
	all := slices.Sorted(slices.Values(values))
	return fmt.Sprintf("%d / %d / %d", all[0], all[len(all)/2], all[len(all)-1])
}

// Numbers lists the different values, in order.
func Numbers(values []int) string {
	all := slices.Compact(slices.Sorted(slices.Values(values)))
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(all), " ", ", "), "[]")
}

// Load is how busy the machine is: processes that run or want to, on average
// over 1, 5 and 15 minutes (proc_loadavg(5)).
func Load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err.Error()
	}
	fields := strings.Fields(string(data))
	return strings.Join(fields[:min(3, len(fields))], ", ")
}

// System says what was measured on.
func System() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("Linux %s, %d processors, built with %s",
		unix.ByteSliceToString(u.Release[:]), runtime.NumCPU(), runtime.Version())
}

// LastLines are the last n lines of a text.
func LastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
