package main

import (
	"fmt"
	"strings"
	"time"
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

var head = [...]string{"what", "goal", "ours", "ratio", "spread", "", "peer or limit in the same run"}

func (r row) cells() [len(head)]string {
	return [...]string{r.what, r.goal, r.ours, r.ratio, r.spread, string(r.verdict), r.peer}
}

func (t *table) add(r row) { t.rows = append(t.rows, r) }

// columns prints lines for a terminal; the last column is as wide as it is.
func columns(lines [][]string) string {
	var width []int
	for _, cells := range lines {
		width = append(width, make([]int, max(len(cells)-len(width), 0))...)
		for i, c := range cells {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var out strings.Builder
	for n, cells := range lines {
		text := ""
		for i, c := range cells {
			text += c + strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2)
		}
		text = strings.TrimRight(text, " ")
		out.WriteString(text + "\n")
		if n == 0 {
			out.WriteString(strings.Repeat("-", utf8.RuneCountInString(text)) + "\n")
		}
	}
	return out.String()
}

// text is the table for a terminal.
func (t *table) text() string {
	lines := [][]string{head[:]}
	for _, r := range t.rows {
		cells := r.cells()
		lines = append(lines, cells[:])
	}
	return columns(lines)
}

var goalsHead = [...]string{"", "goal", "", "ours", "ratio", "peer or limit in the same run"}

// goalCells leaves the long stories to the table.
func goalCells(r row) []string {
	const enough = 120 // letters
	peer := []rune(r.peer)
	if len(peer) > enough {
		peer = append(peer[:enough-1], '…')
	}
	return []string{string(r.verdict), r.what, r.goal, r.ours, r.ratio, string(peer)}
}

// goalsText is the summary for a terminal.
func goalsText(summary []row) string {
	lines := [][]string{goalsHead[:]}
	for _, r := range summary {
		lines = append(lines, goalCells(r))
	}
	return columns(lines)
}

// document is docs/benchmarks.md.
type document struct {
	host       machine
	table      table
	short      bool
	chosen     []string
	took       time.Duration
	pictures   []picture
	noPictures error
}

// picture is a plot that was drawn.
type picture struct{ file, title string }

func (d document) markdown() string {
	var out strings.Builder
	summary := d.table.summary()
	fmt.Fprintf(&out, "# Benchmarks\n\n**%s.**\n\n", tally(summary))
	markdownHead(&out, goalsHead[:])
	for _, r := range summary {
		cells := goalCells(r)
		if r.verdict != holds {
			cells[0] = "**" + cells[0] + "**"
		}
		markdownLine(&out, cells)
	}
	out.WriteString("\nEvery number was measured in one run on one machine, each goal as a ratio to the peer or the limit beside it, ")
	out.WriteString("which took turns with ours. Medians; the spread is from the lowest to the highest turn. ")
	out.WriteString("What could not run is said. How each is measured stands in the comments of `bench/`.\n\n")
	how := "./build.sh bench -write"
	if d.short {
		how += " -short"
	}
	if len(d.chosen) > 0 {
		how += " " + strings.Join(d.chosen, " ")
	}
	fmt.Fprintf(&out, "Written in %s by `%s`, which repeats it. Without `-short` it takes 12 minutes at most, with it about 2; names of sections choose among them.\n\n", d.took, how)
	for _, line := range d.host.lines() {
		out.WriteString("- " + line + "\n")
	}
	if d.noPictures != nil {
		fmt.Fprintf(&out, "\nNo plots: %s.\n", strings.Join(strings.Fields(d.noPictures.Error()), " "))
	}
	for _, p := range d.pictures {
		fmt.Fprintf(&out, "\n![%s](%s)\n", p.title, p.file)
	}
	section := ""
	for _, r := range d.table.rows {
		if r.section != section {
			section = r.section
			fmt.Fprintf(&out, "\n## %s\n\n", section)
			markdownHead(&out, head[:])
		}
		cells := r.cells()
		markdownLine(&out, cells[:])
	}
	return out.String()
}

func markdownHead(out *strings.Builder, cells []string) {
	markdownLine(out, cells)
	out.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
}

func markdownLine(out *strings.Builder, cells []string) {
	out.WriteString("|")
	for _, c := range cells {
		out.WriteString(" " + strings.ReplaceAll(c, "|", "\\|") + " |")
	}
	out.WriteString("\n")
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
