// Command plot draws the plots of the benchmarks as SVG: it reads them from the standard
// input and writes their texts by name to the standard output, both JSON. It is a module
// of its own, so that what draws stays out of the program's go.mod.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/color"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

type picture struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Panels []panel `json:"panels"`
}

type panel struct {
	X    string  `json:"x"`
	Y    string  `json:"y"`
	LogY bool    `json:"log_y"`
	Rows []curve `json:"rows"`
}

type curve struct {
	Name   string       `json:"name"`
	Kind   string       `json:"kind"`
	Points [][2]float64 `json:"points"`
}

const (
	width  = 5.2 * vg.Inch // of a panel
	height = 3.4 * vg.Inch
)

// The page may be light or dark: the ground is transparent, and every colour has at least
// 3.5 : 1 to white and to black.
var (
	ink    = color.NRGBA{0x71, 0x7b, 0x87, 0xff}
	faint  = color.NRGBA{0x71, 0x7b, 0x87, 0x66}
	styles = map[string]struct {
		color.NRGBA
		dashes []vg.Length
		shape  draw.GlyphDrawer
	}{
		"ours":   {color.NRGBA{0x2f, 0x7d, 0xe1, 0xff}, nil, draw.CircleGlyph{}},
		"second": {color.NRGBA{0x2a, 0x93, 0x5b, 0xff}, nil, draw.PyramidGlyph{}},
		"peer":   {color.NRGBA{0xcf, 0x6a, 0x12, 0xff}, nil, draw.BoxGlyph{}},
		"limit":  {ink, []vg.Length{vg.Points(5), vg.Points(3)}, draw.CrossGlyph{}},
	}
)

// fonts is what a browser has; the library names the one it measures with.
var fonts = regexp.MustCompile(`font-family:[^;"]*;`)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run() error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	var list []picture
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return fmt.Errorf("read plots: %w", err)
	}
	out := map[string]string{}
	for _, p := range list {
		text, err := p.draw()
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		out[p.Name] = text
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func (p picture) draw() (string, error) {
	canvas := vgsvg.New(width*vg.Length(len(p.Panels)), height)
	all := draw.New(canvas)
	for i, one := range p.Panels {
		drawn, err := one.plot()
		if err != nil {
			return "", err
		}
		left := width * vg.Length(i)
		drawn.Draw(draw.Crop(all, left+8, left+width-all.Max.X-8, 6, -6))
	}
	var text bytes.Buffer
	if _, err := canvas.WriteTo(&text); err != nil {
		return "", fmt.Errorf("write: %w", err)
	}
	return fonts.ReplaceAllString(text.String(), "font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;"), nil
}

func (v panel) plot() (*plot.Plot, error) {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = v.X, v.Y
	var at []float64
	for _, row := range v.Rows {
		for _, point := range row.Points {
			at = append(at, point[0])
		}
	}
	slices.Sort(at)
	at = slices.Compact(at)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, marks(at)
	if v.LogY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, powers{}
	} else {
		p.Y.Min = 0
		p.Y.Tick.Marker = linear{}
	}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color, axis.Tick.Color, axis.Label.TextStyle.Color, axis.Tick.Label.Color = ink, ink, ink, ink
		axis.Label.TextStyle.Font.Size, axis.Tick.Label.Font.Size = vg.Points(11), vg.Points(10)
		axis.Label.Padding = vg.Points(4)
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = nil, faint
	p.Add(grid)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Color, p.Legend.TextStyle.Font.Size = ink, vg.Points(10.5)
	p.Legend.XOffs, p.Legend.YOffs, p.Legend.Padding = vg.Points(8), vg.Points(-2), vg.Points(2)
	for _, row := range v.Rows {
		points := make(plotter.XYs, len(row.Points))
		for i, point := range row.Points {
			points[i].X, points[i].Y = point[0], point[1]
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", row.Name, err)
		}
		style, ok := styles[row.Kind]
		if !ok {
			return nil, fmt.Errorf("%s: no kind %q", row.Name, row.Kind)
		}
		line.Color, line.Width, line.Dashes = style.NRGBA, vg.Points(2), style.dashes
		dots.Color, dots.Radius, dots.Shape = style.NRGBA, vg.Points(3.2), style.shape
		p.Add(line)
		if row.Kind == "limit" {
			p.Legend.Add(row.Name, line)
			continue
		}
		p.Add(dots)
		p.Legend.Add(row.Name, line, dots)
	}
	// From a power to a power, so that every curve lies between two marks.
	if v.LogY {
		p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(p.Y.Min))), math.Pow(10, math.Ceil(math.Log10(p.Y.Max*3)))
	} else {
		p.Y.Max *= 1.05 + 0.1*float64(len(v.Rows)) // room for the legend
	}
	return p, nil
}

// marks are ticks where there are points.
type marks []float64

func (m marks) Ticks(_, _ float64) []plot.Tick {
	var list []plot.Tick
	for _, v := range m {
		list = append(list, plot.Tick{Value: v, Label: short(v)})
	}
	return list
}

// powers are ticks at 1, 10, 100 and so on.
type powers struct{}

func (powers) Ticks(low, high float64) []plot.Tick {
	var list []plot.Tick
	for v := 1e-3; v <= high*1.0001; v *= 10 {
		if v >= low*0.9999 {
			list = append(list, plot.Tick{Value: v, Label: short(v)})
		}
	}
	return list
}

// linear are the library's ticks, with short numbers.
type linear struct{}

func (linear) Ticks(low, high float64) []plot.Tick {
	list := plot.DefaultTicks{}.Ticks(low, high)
	for i, t := range list {
		if t.Label != "" {
			list[i].Label = short(t.Value)
		}
	}
	return list
}

func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
