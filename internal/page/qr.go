package page

import (
	"strconv"

	"rsc.io/qr"
)

// quiet is the width of the white edge that a camera needs, in modules (ISO/IEC 18004).
const quiet = 4

// QR draws an address as a QR code: an SVG of one path, black on white, whose units are
// the code's modules. It returns an error for an address of more than 2,900 bytes.
func QR(address string) ([]byte, error) {
	code, err := qr.Encode(address, qr.L) // on a screen nothing is torn or dirty: the largest modules win
	if err != nil {
		return nil, err
	}
	side := strconv.Itoa(code.Size + 2*quiet)
	out := []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ` + side + " " + side + `" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h` + side + "v" + side + `H0z"/><path d="`)
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			from := x
			for x < code.Size && code.Black(x, y) {
				x++
			}
			if n := x - from; n > 0 {
				out = append(out, "M"+strconv.Itoa(from+quiet)+" "+strconv.Itoa(y+quiet)+"h"+strconv.Itoa(n)+"v1h-"+strconv.Itoa(n)+"z"...)
			}
		}
	}
	return append(out, `"/></svg>`...), nil
}
