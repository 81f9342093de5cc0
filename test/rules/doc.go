// Package rules says who may import whom, each rule with its reason, as a test.
package rules
