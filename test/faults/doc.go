// Package faults puts one fault after another into a cluster of real parts and
// checks what havip promises of each.
//
// The tests need root. With -repeat N each fault is put in N times, and with
// -report FILE what was measured is written there as a markdown table.
package faults
