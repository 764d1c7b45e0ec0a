package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// verdict is what became of a goal.
type verdict string

const (
	holds      verdict = "holds"
	fallsShort verdict = "falls short"
	told       verdict = "–" // no goal: a number to know
	notRun     verdict = "not run"
)

// row is one line of the table, every cell as it is printed.
type row struct {
	section, what, goal, ours, peer, ratio string
	verdict                                verdict
	spread                                 string
}

type table struct{ rows []row }

var head = [...]string{"what", "goal", "ours", "peer or limit in the same run", "ratio", "", "spread"}

func (r row) cells() [len(head)]string {
	return [...]string{r.what, r.goal, r.ours, r.peer, r.ratio, string(r.verdict), r.spread}
}

func (t *table) add(r row) { t.rows = append(t.rows, r) }

func (t *table) count(v verdict) int {
	n := 0
	for _, r := range t.rows {
		if r.verdict == v {
			n++
		}
	}
	return n
}

// text is the table for a terminal, in columns.
func (t *table) text() string {
	var width [len(head)]int
	lines := [][len(head)]string{head}
	for _, r := range t.rows {
		lines = append(lines, r.cells())
	}
	for _, cells := range lines {
		for i, c := range cells {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var out strings.Builder
	for n, cells := range lines {
		line := ""
		for i, c := range cells {
			line += c + strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2)
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
		if n == 0 {
			total := 0
			for _, w := range width {
				total += w + 2
			}
			out.WriteString(strings.Repeat("-", total-2) + "\n")
		}
	}
	return out.String()
}

// markdown is docs/benchmarks.md.
func (t *table) markdown(host machine, short bool, chosen []string) string {
	var out strings.Builder
	out.WriteString("# Benchmarks\n\nEvery number was measured in one run on one machine, each goal as a ratio to the peer or the limit beside it, ")
	out.WriteString("which took turns with ours. Medians; the spread is from the lowest to the highest turn. ")
	out.WriteString("What could not run is said.\n\n")
	how := "./build.sh bench -write"
	if short {
		how += " -short"
	}
	if len(chosen) > 0 {
		how += " " + strings.Join(chosen, " ")
	}
	fmt.Fprintf(&out, "Written by `%s`, which repeats it; `-short` takes two minutes, names of sections choose among them.\n\n", how)
	for _, line := range host.lines() {
		out.WriteString("- " + line + "\n")
	}
	section := ""
	for _, r := range t.rows {
		if r.section != section {
			section = r.section
			fmt.Fprintf(&out, "\n## %s\n\n|", section)
			for _, h := range head {
				out.WriteString(" " + h + " |")
			}
			out.WriteString("\n|" + strings.Repeat("---|", len(head)) + "\n")
		}
		out.WriteString("|")
		for _, c := range r.cells() {
			out.WriteString(" " + strings.ReplaceAll(c, "|", "\\|") + " |")
		}
		out.WriteString("\n")
	}
	return out.String()
}

// versus adds a row for a rate: the ratio is ours/peer of each round, at least goal. A
// goal of 0 makes it a number to know.
func (b *bench) versus(what string, goal float64, ours, peer, ratios []float64, peerIs string) {
	const unit = "/s"
	r := row{section: b.sect, what: what, ours: number(median(ours)) + unit, peer: number(median(peer)) + unit + " (" + peerIs + ")"}
	r.ratio, r.spread, r.verdict = fmt.Sprintf("%.2f", median(ratios)), spread(ratios), told
	if goal > 0 {
		r.goal, r.verdict = fmt.Sprintf("≥ %.4g x", goal), judge(median(ratios) >= goal)
	}
	b.table.add(r)
}

// below adds a row for a cost: the ratio is ours/peer of each round, at most goal.
func (b *bench) below(what string, goal float64, ours, peer, ratios []float64, unit, peerIs string) {
	r := row{section: b.sect, what: what, ours: number(median(ours)) + unit, peer: number(median(peer)) + unit + " (" + peerIs + ")"}
	r.ratio, r.spread, r.verdict = fmt.Sprintf("%.2f", median(ratios)), spread(ratios), told
	if goal > 0 {
		r.goal, r.verdict = fmt.Sprintf("≤ %.4g x", goal), judge(median(ratios) <= goal)
	}
	b.table.add(r)
}

// atMost adds a row for a number that has a limit of its own; peer is what stands beside it.
func (b *bench) atMost(what string, limit float64, ours []float64, unit, peer string) {
	r := row{section: b.sect, what: what, ours: number(median(ours)) + unit, peer: peer, verdict: told}
	if len(ours) > 1 {
		r.spread = number(least(ours)) + "–" + number(most(ours))
	}
	if limit > 0 {
		r.goal, r.ratio = "≤ "+number(limit)+unit, fmt.Sprintf("%.2f", median(ours)/limit)
		r.verdict = judge(median(ours) <= limit)
	}
	b.table.add(r)
}

// fact adds a number to know.
func (b *bench) fact(what, ours, peer string) {
	b.table.add(row{section: b.sect, what: what, ours: ours, peer: peer, verdict: told})
}

// must adds a row that is right or wrong.
func (b *bench) must(what, goal, ours, peer string, ok bool) {
	b.table.add(row{section: b.sect, what: what, goal: goal, ours: ours, peer: peer, verdict: judge(ok)})
}

// missing adds a row that could not be measured.
func (b *bench) missing(what, goal string, why error) {
	b.say("%s: %v", what, why)
	b.table.add(row{section: b.sect, what: what, goal: goal, peer: strings.Join(strings.Fields(why.Error()), " "), verdict: notRun})
}

func judge(ok bool) verdict {
	if ok {
		return holds
	}
	return fallsShort
}

// number prints three digits that mean something.
func number(v float64) string {
	switch {
	case v >= 10_000_000:
		return fmt.Sprintf("%.1fM", v/1e6)
	case v >= 10_000:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
