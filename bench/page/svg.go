package page

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A drawing is this large, in units of its own; it is as wide as its column.
const (
	width, height = 480.0, 220.0
	left, right   = 48.0, 10.0
	top, bottom   = 12.0, 26.0
)

// canvas draws within two axes.
type canvas struct {
	b strings.Builder
	x func(float64) float64 // to units
	y func(float64) float64
}

func newCanvas(label string, maxX, maxY float64) *canvas {
	c := &canvas{}
	if maxX <= 0 {
		maxX = 1
	}
	if maxY <= 0 {
		maxY = 1
	}
	c.x = func(v float64) float64 { return left + v/maxX*(width-left-right) }
	c.y = func(v float64) float64 { return height - bottom - v/maxY*(height-top-bottom) }
	fmt.Fprintf(&c.b, `<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(label))
	return c
}

func (c *canvas) done() template.HTML {
	c.b.WriteString("</svg>")
	return template.HTML(c.b.String()) //nolint:gosec // made of numbers and of text that was escaped
}

// gridY draws a line and a label at each value.
func (c *canvas) gridY(values []float64, text func(float64) string) {
	for _, v := range values {
		y := c.y(v)
		fmt.Fprintf(&c.b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, left, width-right, y, y)
		fmt.Fprintf(&c.b, `<text x="%.1f" y="%.1f" text-anchor="end">%s</text>`, left-7, y+4, template.HTMLEscapeString(text(v)))
	}
}

// labelsX writes below the axis; with lines, it draws up from there too.
func (c *canvas) labelsX(values []float64, text func(float64) string, lines bool) {
	for i, v := range values {
		x, anchor := c.x(v), "middle"
		if i == len(values)-1 && x > width-right-20 {
			anchor, x = "end", x+4
		}
		if lines {
			fmt.Fprintf(&c.b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, c.x(v), c.x(v), top, height-bottom)
		}
		fmt.Fprintf(&c.b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, height-8, anchor, template.HTMLEscapeString(text(v)))
	}
}

type point struct{ x, y float64 }

func (c *canvas) path(points []point) string {
	var b strings.Builder
	for i, p := range points {
		verb := "L"
		if i == 0 {
			verb = "M"
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", verb, c.x(p.x), c.y(p.y))
	}
	return b.String()
}

func (c *canvas) line(class string, points []point) {
	if len(points) > 0 {
		fmt.Fprintf(&c.b, `<path class="line %s" d="%s"/>`, class, c.path(points))
	}
}

// area fills down to the axis.
func (c *canvas) area(class string, points []point) {
	if len(points) == 0 {
		return
	}
	first, last := points[0], points[len(points)-1]
	closed := fmt.Sprintf("L%.1f %.1fL%.1f %.1fZ", c.x(last.x), c.y(0), c.x(first.x), c.y(0))
	fmt.Fprintf(&c.b, `<path class="area %s" d="%s"/>`, class, c.path(points)+closed)
}

// column is a box from one value to another, with words for who points at it.
func (c *canvas) column(class string, from, to, low, high float64, words string) {
	x, w := c.x(from), c.x(to)-c.x(from)
	if w > 3 {
		w--
	}
	fmt.Fprintf(&c.b, `<rect class="%s" x="%.2f" y="%.2f" width="%.2f" height="%.2f"><title>%s</title></rect>`,
		class, x, c.y(high), w, c.y(low)-c.y(high), template.HTMLEscapeString(words))
}

func (c *canvas) dot(class string, p point, words string) {
	fmt.Fprintf(&c.b, `<circle class="dot %s" cx="%.1f" cy="%.1f" r="3"><title>%s</title></circle>`,
		class, c.x(p.x), c.y(p.y), template.HTMLEscapeString(words))
}

// shade marks a span of the x axis.
func (c *canvas) shade(from, to float64, words string) {
	x, w := c.x(from), c.x(to)-c.x(from)
	fmt.Fprintf(&c.b, `<rect class="shade" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x, top, w, height-top-bottom)
	if w > 50 {
		fmt.Fprintf(&c.b, `<text x="%.1f" y="%.1f">%s</text>`, x+5, top+12, template.HTMLEscapeString(words))
	}
}

// ticks are about n round values from 0 to at least the highest.
func ticks(highest float64, n int) []float64 {
	if highest <= 0 {
		return []float64{0, 1}
	}
	raw := highest / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	step := power * 10
	for _, factor := range []float64{1, 2, 2.5, 5} {
		if power*factor >= raw {
			step = power * factor
			break
		}
	}
	var values []float64
	for i := 0; ; i++ {
		values = append(values, step*float64(i))
		if values[i] >= highest {
			return values
		}
	}
}

// short writes a number with few letters: 41.2k, 3M.
func short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e9:
		return trim(v/1e9) + "G"
	case a >= 1e6:
		return trim(v/1e6) + "M"
	case a >= 1e4:
		return trim(v/1e3) + "k"
	}
	return trim(v)
}

// trim writes at most three digits that say something.
func trim(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	switch a := math.Abs(v); {
	case a != 0 && a < 1:
		text = fmt.Sprintf("%.3f", v)
	case a < 10:
		text = fmt.Sprintf("%.2f", v)
	case a < 100:
		text = fmt.Sprintf("%.1f", v)
	}
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
