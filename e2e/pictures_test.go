package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

const pictureDir = "testdata/pictures"

// sameText has a browser draw text alike on screens of every kind.
func sameText(s *browserSettings) {
	s.flags = append(s.flags, chromedp.Flag("disable-lcd-text", true), chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("font-render-hinting", "none"))
}

// hand is how this browser draws text: its version, and what some words in the widget's
// fonts come out as, to the pixel. Only with the same hand are pictures the same.
func (b *tab) hand() string {
	b.t.Helper()
	drawn := evaluate[string](b, `(() => {
		const c = document.createElement("canvas"), g = c.getContext("2d");
		c.width = 900, c.height = 260;
		const family = getComputedStyle(deep(".wz")).fontFamily;
		["400", "500", "600"].forEach((weight, i) => {
			g.font = weight + " 17px " + family;
			["Choose how to pay €123.45 äöüß", "Оберіть спосіб оплати їєґ №", "اختر طريقة الدفع"].forEach((text, j) => g.fillText(text, 10 + i * 300, 30 + j * 80));
		});
		return navigator.userAgent.match(/Chrome\/(\d+)/)[1] + " " + c.toDataURL();
	})()`)
	version, picture, _ := strings.Cut(drawn, " ")
	sum := sha256.Sum256([]byte(picture))
	return "Chromium " + version + ", text " + hex.EncodeToString(sum[:8])
}

// album is the pictures of one run through the gallery, a sheet for each theme, each
// state in a cell of its own.
type album struct {
	b      *tab
	name   string
	same   bool // drawn by the hand of the goldens
	sheets map[string]*sheet
}

type sheet struct {
	want    image.Image // nil while the goldens are written
	cells   []*image.RGBA
	names   []string
	problem []string
}

const (
	across   = 6   // cells in a row of a sheet
	tallest  = 720 // what is seen of a state
	gap      = 8   // between cells
	distinct = 72  // by how much a colour's channel has to be another
)

func newAlbum(b *tab, name string) *album {
	b.t.Helper()
	a := &album{b: b, name: name, sheets: map[string]*sheet{}}
	hand := b.hand()
	path := filepath.Join(pictureDir, "hand.txt")
	if *update {
		if err := errors.Join(os.MkdirAll(pictureDir, 0o755), os.WriteFile(path, []byte(hand+"\n"), 0o644)); err != nil {
			b.t.Fatal(err)
		}
		a.same = true
		return a
	}
	of, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	if a.same = strings.TrimSpace(string(of)) == hand; !a.same {
		b.t.Logf("pictures are not compared, boxes are: this browser is %s, the pictures are of %q", hand, strings.TrimSpace(string(of)))
	}
	return a
}

func (a *album) path(theme string) string {
	return filepath.Join(pictureDir, a.name+"-"+theme+".png")
}

// page takes the picture of a state and compares it with its cell; one that is another
// may only not be painted yet, so it is taken again before that is said.
func (a *album) page(theme, name string) {
	if !a.same {
		return
	}
	t := a.b.t
	t.Helper()
	s := a.sheets[theme]
	if s == nil {
		s = &sheet{}
		a.sheets[theme] = s
		if !*update {
			text, err := os.ReadFile(a.path(theme))
			if err != nil {
				t.Fatalf("%v (write it with -update)", err)
			}
			if s.want, err = png.Decode(bytes.NewReader(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for try := 0; ; try++ {
		got := a.b.shot()
		differ := 0
		if s.want != nil {
			differ = differing(s.want, cell(len(s.cells), got.Rect.Dx()), got)
		}
		// A letter more or less is within the tolerance, a word or a moved edge is not.
		if most := max(60, got.Rect.Dx()*got.Rect.Dy()/700); differ > most && try < 5 {
			time.Sleep(100 * time.Millisecond << try)
			continue
		} else if differ > most {
			t.Errorf("%s %s, %s: %d pixels are others than in %s (want at most %d)", a.name, name, theme, differ, a.path(theme), most)
		}
		s.cells, s.names = append(s.cells, got), append(s.names, name)
		return
	}
}

// shot is what is seen of the widget.
func (b *tab) shot() *image.RGBA {
	b.t.Helper()
	r := evaluate[struct{ X, Y, W, H float64 }](b, `(() => { const r = deep(".wz").getBoundingClientRect(); return { X: Math.floor(r.x), Y: Math.floor(r.y), W: Math.ceil(r.width), H: Math.ceil(r.height) } })()`)
	var shot []byte
	b.do("take picture", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		result, err := cdp.Call(ctx, t, page.CaptureScreenshot, page.CaptureScreenshotParams{
			Format: page.CaptureScreenshotFormatPng,
			Clip:   &page.Viewport{X: r.X, Y: r.Y, Width: r.W, Height: min(r.H, tallest), Scale: 1},
		})
		shot = result.Data
		return err
	}))
	got, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		b.t.Fatal(err)
	}
	out := image.NewRGBA(image.Rect(0, 0, got.Bounds().Dx(), got.Bounds().Dy()))
	draw.Draw(out, out.Rect, got, got.Bounds().Min, draw.Src)
	return out
}

// cell is where the i-th state stands on a sheet of states of that width.
func cell(i, width int) image.Rectangle {
	at := image.Pt(i%across*(width+gap), i/across*(tallest+gap))
	return image.Rectangle{at, at.Add(image.Pt(width, tallest))}
}

// differing counts the pixels of a cell that are others than the picture's; beyond the
// picture the cell has to be empty.
func differing(want image.Image, at image.Rectangle, got *image.RGBA) int {
	n := 0
	for y := range at.Dy() {
		for x := range at.Dx() {
			w, g := rgba(want.At(at.Min.X+x, at.Min.Y+y)), got.RGBAAt(x, y)
			if far(w.R, g.R) || far(w.G, g.G) || far(w.B, g.B) || far(w.A, g.A) {
				n++
			}
		}
	}
	return n
}

func rgba(c color.Color) color.RGBA { return color.RGBAModel.Convert(c).(color.RGBA) }

func far(a, b uint8) bool { return int(a)-int(b) > distinct || int(b)-int(a) > distinct }

// compare writes the sheets down with -update; else it says if the goldens show more
// states than there are.
func (a *album) compare() {
	t := a.b.t
	t.Helper()
	for theme, s := range a.sheets {
		rows := (len(s.cells) + across - 1) / across
		size := image.Pt(across*(s.cells[0].Rect.Dx()+gap), rows*(tallest+gap))
		if s.want != nil {
			if got := s.want.Bounds().Size(); got != size {
				t.Errorf("%s is %v, want %v: it shows other states (write it with -update)", a.path(theme), got, size)
			}
			continue
		}
		out := image.NewPaletted(image.Rectangle{Max: size}, palette(s.cells))
		for i, c := range s.cells {
			at := cell(i, c.Rect.Dx()).Min
			draw.Draw(out, c.Rect.Add(at), c, image.Point{}, draw.Src)
		}
		var text bytes.Buffer
		if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&text, out); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(a.path(theme), text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// palette is nothing, and the 15 colours that most pixels have and that are not close to
// each other: the picture is small, and every colour is near enough to itself.
func palette(cells []*image.RGBA) color.Palette {
	count := map[color.RGBA]int{}
	for _, c := range cells {
		for y := range c.Rect.Dy() {
			for x := range c.Rect.Dx() {
				count[c.RGBAAt(x, y)]++
			}
		}
	}
	colours := make([]color.RGBA, 0, len(count))
	for c := range count {
		colours = append(colours, c)
	}
	// What is coloured covers little and says much.
	for c := range count {
		if max(abs(c.R, c.G), abs(c.G, c.B), abs(c.R, c.B)) > 70 {
			count[c] *= 12
		}
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int {
		if d := count[b] - count[a]; d != 0 {
			return d
		}
		return bytes.Compare([]byte{a.R, a.G, a.B}, []byte{b.R, b.G, b.B})
	})
	out := color.Palette{color.RGBA{}}
	for _, near := range []int{6, 28, 44} { // the surfaces first, then what is well apart from them
		limit := map[int]int{6: 6, 28: 12, 44: 16}[near]
		for _, c := range colours {
			apart := len(out) < limit
			for _, o := range out[1:] {
				p := rgba(o)
				d := max(abs(p.R, c.R), abs(p.G, c.G), abs(p.B, c.B))
				apart = apart && d > near
			}
			if apart {
				out = append(out, c)
			}
		}
	}
	return out
}

func abs(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }

// A picture that is another is told: the goldens can fail.
func TestGallery_PicturesDiffer(t *testing.T) {
	t.Parallel()
	cellOf := image.NewRGBA(image.Rect(0, 0, 360, 400))
	draw.Draw(cellOf, cellOf.Rect, image.NewUniform(color.RGBA{255, 255, 255, 255}), image.Point{}, draw.Src)
	want := image.NewRGBA(image.Rect(0, 0, 360+gap, tallest))
	draw.Draw(want, cellOf.Rect, cellOf, image.Point{}, draw.Src)
	at := cell(0, 360)
	if n := differing(want, at, cellOf); n != 0 {
		t.Errorf("the same picture differs in %d pixels, want 0", n)
	}
	word := image.Rect(20, 20, 60, 32)
	draw.Draw(cellOf, word, image.NewUniform(color.RGBA{20, 20, 30, 255}), image.Point{}, draw.Src)
	if n := differing(want, at, cellOf); n != word.Dx()*word.Dy() {
		t.Errorf("a word more differs in %d pixels, want %d", n, word.Dx()*word.Dy())
	}
	taller := image.NewRGBA(image.Rect(0, 0, 360, 410))
	draw.Draw(taller, taller.Rect, image.NewUniform(color.RGBA{255, 255, 255, 255}), image.Point{}, draw.Src)
	if n := differing(want, at, taller); n != 3600 {
		t.Errorf("10 lines more differ in %d pixels, want 3600", n)
	}
}
