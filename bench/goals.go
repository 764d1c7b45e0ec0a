package main

import (
	"fmt"
	"slices"
	"strings"
)

// goal is a number that was promised. Its row is the one of the section that has a goal
// and whose text begins so; a goal without a row was not measured, which is said.
type goal struct{ section, begins, want string }

// goals are all of them, those that a shop feels first. The numbers are judged where they
// are measured; want is for a goal that was not.
var goals = []goal{
	{"size", "bytes to an interactive widget", "≤ 30.0k B"},
	{"paint", "first method seen", "≤ 1.05 x"},
	{"paint", "interactive", "≤ 0.75 x"},
	{"callbacks", "durable callbacks, 256 senders", "≥ 0.75 x"},
	{"push", "callback in → frame out", "≤ 1 x"},
	{"push", "memory per idle socket", "≤ 12 kB"},
	{"checkout", "GET /v1/checkout from memory", "≥ 0.7 x"},
	{"start", "start to /readyz, empty store", "≤ 100 ms"},
	{"start", "idle memory", "≤ 40 MiB"},
	{"start", "binary", "≤ 25 MiB"},
	{"loss", "answered callbacks lost: kill -9", "= 0"},
	{"loss", "answered callbacks lost: power cut", "= 0"},
	{"loss", "answered callbacks lost: cluster", "= 0"},
	{"loss", "invoices at WZRDPAY beyond one an attempt", "= 0"},
	{"callbacks", "durable callbacks, 64 senders", "≥ 0.75 x"},
	{"callbacks", "syncs for 200 callbacks", "≥ 200"},
	{"checkout", "1,000 first requests at once", "= 1"},
	{"many", "a method of 228 chosen", "≤ 50 ms"},
	{"many", "module's memory after", "flat: ≤ 1.05 x"},
}

func (g goal) of(r row) bool {
	return r.section == g.section && r.goal != "" && strings.HasPrefix(r.what, g.begins)
}

// summary is a row for each goal, in their order, and then those that no goal declares.
func (t *table) summary() []row {
	var list []row
	for _, g := range goals {
		before := len(list)
		why := "section " + g.section + " was not asked for"
		for _, r := range t.rows {
			if g.of(r) {
				list = append(list, r)
			}
			if r.section == g.section {
				why = "section " + g.section + " has no row for it"
			}
		}
		if before < len(list) {
			continue
		}
		for _, r := range t.rows {
			if r.section == g.section && r.what == "section "+g.section {
				why = r.peer
			}
		}
		list = append(list, row{section: g.section, what: g.begins, goal: g.want, peer: why, verdict: notRun})
	}
	for _, r := range t.rows {
		if r.goal != "" && !slices.ContainsFunc(goals, func(g goal) bool { return g.of(r) }) {
			list = append(list, r)
		}
	}
	return list
}

func count(rows []row, v verdict) int {
	n := 0
	for _, r := range rows {
		if r.verdict == v {
			n++
		}
	}
	return n
}

// tally is the summary in a line.
func tally(summary []row) string {
	return fmt.Sprintf("%d of %d goals hold, %d fall short, %d were not measured",
		count(summary, holds), len(summary), count(summary, fallsShort), count(summary, notRun))
}
