package page_test

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"

	"wzrdcheckout/internal/page"
)

// modules draws a QR picture: true is black. The white edge is checked and left out.
func modules(t *testing.T, svg []byte) [][]bool {
	t.Helper()
	var doc struct {
		ViewBox string `xml:"viewBox,attr"`
		Paths   []struct {
			D    string `xml:"d,attr"`
			Fill string `xml:"fill,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal(svg, &doc); err != nil {
		t.Fatal(err)
	}
	var side, tall int
	if _, err := fmt.Sscanf(doc.ViewBox, "0 0 %d %d", &side, &tall); err != nil || side != tall || len(doc.Paths) != 2 || doc.Paths[0].Fill != "#fff" {
		t.Fatalf("picture = %+v, want a white and a black path in a square", doc)
	}
	grid := make([][]bool, side)
	for y := range grid {
		grid[y] = make([]bool, side)
	}
	for _, run := range strings.Split(strings.TrimSuffix(doc.Paths[1].D, "z"), "z") {
		var x, y, n, back int
		if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-%d", &x, &y, &n, &back); err != nil || n != back {
			t.Fatalf("run %q: %v", run, err)
		}
		for i := range n {
			grid[y][x+i] = true
		}
	}
	inner := make([][]bool, side-8)
	for y, line := range grid {
		for x, black := range line {
			if black && (x < 4 || y < 4 || x >= side-4 || y >= side-4) {
				t.Fatalf("module %d,%d is black in the white edge", x, y)
			}
		}
		if y >= 4 && y < side-4 {
			inner[y-4] = line[4 : side-4]
		}
	}
	return inner
}

// decode reads a QR code of versions 2 to 5 at level L, byte mode (ISO/IEC 18004): those
// have one block and one alignment pattern.
func decode(t *testing.T, grid [][]bool) string {
	t.Helper()
	side := len(grid)
	version := (side - 17) / 4
	if version < 2 || version > 5 {
		t.Fatalf("version %d, this reader knows 2 to 5", version)
	}
	bit := func(x, y int) int {
		if grid[y][x] {
			return 1
		}
		return 0
	}
	format := 0
	for _, x := range []int{0, 1, 2, 3, 4} { // the five data bits of the format, left of the upper finder's foot
		format = format<<1 | bit(x, 8)
	}
	format ^= 0b10101
	if format>>3 != 1 {
		t.Fatalf("level %02b, want 01 (L)", format>>3)
	}
	mask := []func(x, y int) bool{
		func(x, y int) bool { return (x+y)%2 == 0 }, func(_, y int) bool { return y%2 == 0 }, func(x, _ int) bool { return x%3 == 0 },
		func(x, y int) bool { return (x+y)%3 == 0 }, func(x, y int) bool { return (y/2+x/3)%2 == 0 }, func(x, y int) bool { return x*y%2+x*y%3 == 0 },
		func(x, y int) bool { return (x*y%2+x*y%3)%2 == 0 }, func(x, y int) bool { return ((x+y)%2+x*y%3)%2 == 0 },
	}[format&7]
	data := func(x, y int) bool {
		finder := x < 9 && y < 9 || x >= side-8 && y < 9 || x < 9 && y >= side-8
		align := x >= side-9 && x <= side-5 && y >= side-9 && y <= side-5
		return !finder && !align && x != 6 && y != 6
	}
	var bits []int
	up := true
	for right := side - 1; right > 0; right -= 2 {
		if right == 6 {
			right--
		}
		for i := range side {
			y := i
			if up {
				y = side - 1 - i
			}
			for _, x := range []int{right, right - 1} {
				if data(x, y) {
					v := bit(x, y)
					if mask(x, y) {
						v ^= 1
					}
					bits = append(bits, v)
				}
			}
		}
		up = !up
	}
	take := func(n int) (v int) {
		for _, b := range bits[:n] {
			v = v<<1 | b
		}
		bits = bits[n:]
		return v
	}
	if mode := take(4); mode != 4 {
		t.Fatalf("mode %04b, want bytes", mode)
	}
	text := make([]byte, take(8))
	for i := range text {
		text[i] = byte(take(8))
	}
	return string(text)
}

func TestQR(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"http://localhost:8080/checkout/cs_4fQxT0aBcDeFgHiJkLmNoP",
		"https://pay.shop.example/checkout/cs_4fQxT0aBcDeFgHiJkLmNoP",
		"https://payments.a-long-name.example.com/behind/checkout/cs_4fQxT0aBcDeFgHiJkLmNoP",
	} {
		svg, err := page.QR(address)
		if err != nil {
			t.Fatalf("QR(%q): %v", address, err)
		}
		grid := modules(t, svg)
		for _, corner := range [][2]int{{0, 0}, {len(grid) - 7, 0}, {0, len(grid) - 7}} {
			for y := range 7 {
				for x := range 7 {
					want := slices.Contains([]int{0, 6}, x) || slices.Contains([]int{0, 6}, y) || x > 1 && x < 5 && y > 1 && y < 5
					if grid[corner[1]+y][corner[0]+x] != want {
						t.Fatalf("finder at %v is wrong at %d,%d", corner, x, y)
					}
				}
			}
		}
		if got := decode(t, grid); got != address {
			t.Errorf("QR(%q) says %q", address, got)
		}
		again, err := page.QR(address)
		if err != nil || string(again) != string(svg) {
			t.Errorf("QR(%q) is another picture the second time", address)
		}
	}
	if _, err := page.QR(strings.Repeat("x", 3000)); err == nil {
		t.Error("QR(3,000 bytes) = nil error, want one")
	}
}

func TestHosted_Order(t *testing.T) {
	t.Parallel()
	v := view("open")
	v.Session.Description = "Lamp \u202e & <b>shade</b>"
	v.Account.Name = "Kobza \u2067<Lamps>"
	text := string(site.Hosted(v, "token", "en", "", nil))
	sound(t, text)
	for _, want := range []string{`<h1 dir="auto">Kobza &lt;Lamps&gt;</h1>`, `<p class="total">€10.00`, `>Lamp  &amp; &lt;b&gt;shade&lt;/b&gt;</p>`, `<title>Kobza &lt;Lamps&gt; – Checkout</title>`} {
		if !strings.Contains(text, want) {
			t.Errorf("Hosted() has no %s: %s", want, text)
		}
	}
	paid := view("paid")
	if text := string(site.Hosted(paid, "token", "en", "", nil)); strings.Contains(text, `class="total"`) || !strings.Contains(text, "<h1 dir=\"auto\">Checkout</h1>") {
		t.Errorf("Hosted(paid) = %s, want the name of the page and no amount above the facts", text)
	}
}
