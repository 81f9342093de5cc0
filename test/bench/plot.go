package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"havip/test/measure"
)

// The picture's measures, in pixels.
const (
	plotWidth  = 1160
	plotLeft   = 300 // of the axis
	plotRight  = 960
	plotTop    = 110
	laneHeight = 14
	panelGap   = 10
	dot        = 3 // half its width
)

// The axis is logarithmic, in milliseconds.
const axisFrom, axisTo = 2.0, 60000.0

var (
	ink    = color.NRGBA{0x22, 0x22, 0x22, 0xff}
	grid   = color.NRGBA{0xdd, 0xdd, 0xdd, 0xff}
	panel  = color.NRGBA{0xf6, 0xf6, 0xf6, 0xff}
	danger = color.NRGBA{0xc0, 0x10, 0x10, 0xff}
	// hues are the contenders', in their order.
	hues = []color.NRGBA{
		{0x1f, 0x4e, 0x9c, 0xff}, {0x2a, 0x8f, 0xbd, 0xff}, {0x17, 0x9c, 0x6b, 0xff},
		{0x9a, 0x6a, 0x00, 0xff}, {0xe0, 0x7b, 0x00, 0xff}, {0x88, 0x88, 0x88, 0xff},
	}
)

// plot is a picture in the making.
type plot struct {
	*image.NRGBA
	face font.Face
}

// lane is one contender's line in a fault's panel.
type lane struct {
	contender int
	cell
}

// Draw shows, for each fault and contender, how long clients got no answer in
// each trial, as a PNG.
func Draw(all []Trial) ([]byte, error) {
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("read font: %w", err)
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: 12, DPI: 72})
	if err != nil {
		return nil, fmt.Errorf("make font: %w", err)
	}
	defer face.Close()
	panels, height := layout(all)
	p := &plot{image.NewNRGBA(image.Rect(0, 0, plotWidth, height)), face}
	p.fill(p.Bounds(), color.White)
	p.head(height)
	y := plotTop
	for i, lanes := range panels {
		if len(lanes) == 0 {
			continue
		}
		p.panel(faults[i].title, lanes, y)
		y += len(lanes)*laneHeight + panelGap
	}
	var b bytes.Buffer
	if err := png.Encode(&b, p); err != nil {
		return nil, fmt.Errorf("write picture: %w", err)
	}
	return b.Bytes(), nil
}

// layout sorts the trials into panels and says how high the picture gets.
func layout(all []Trial) (panels [][]lane, height int) {
	height = plotTop + 30
	for _, f := range faults {
		var lanes []lane
		for i, who := range contenders {
			if c := pick(all, usual, who.name, f.name); len(c.trials) > 0 {
				lanes = append(lanes, lane{i, c})
			}
		}
		if len(lanes) > 0 {
			height += len(lanes)*laneHeight + panelGap
		}
		panels = append(panels, lanes)
	}
	return panels, height
}

// at is where a value is on the axis; what is beyond its ends is at them.
func at(ms float64) int {
	part := math.Log(ms/axisFrom) / math.Log(axisTo/axisFrom)
	return plotLeft + int(math.Round(min(max(part, 0), 1)*(plotRight-plotLeft)))
}

func (p *plot) head(height int) {
	p.text(20, 24, "How long clients got no answer: a dot per trial, the bar is the median", ink)
	p.text(20, 42, "a hollow dot: no answer came before the fault was healed; red: the longest that two nodes answered for the address on the wire", ink)
	x := 20
	for i, who := range contenders {
		p.fill(image.Rect(x, 56, x+10, 66), hues[i])
		p.text(x+15, 66, who.title, ink)
		x += 30 + font.MeasureString(p.face, who.title).Round()
	}
	for _, ms := range []float64{10, 100, 1000, 10000} {
		p.fill(image.Rect(at(ms), plotTop-8, at(ms)+1, height-22), grid)
		label := fmt.Sprintf("%v ms", ms)
		if ms >= 1000 {
			label = fmt.Sprintf("%v s", ms/1000)
		}
		p.text(at(ms)-14, plotTop-14, label, ink)
		p.text(at(ms)-14, height-8, label, ink)
	}
	p.text(plotRight+20, plotTop-14, "median", ink)
	p.text(plotRight+110, plotTop-14, "two at once", danger)
}

func (p *plot) panel(title string, lanes []lane, y int) {
	p.text(20, y+12, title, ink)
	for i, l := range lanes {
		top := y + i*laneHeight
		p.fill(image.Rect(plotLeft, top+1, plotRight, top+laneHeight-1), panel)
		middle, hue := top+laneHeight/2, hues[l.contender]
		for _, t := range l.trials {
			p.dot(at(t.Outage), middle, hue, t.Open)
		}
		median := measure.Median(l.each(outage))
		p.fill(image.Rect(at(median)-1, top+1, at(median)+1, top+laneHeight-1), hue)
		p.text(plotRight+20, top+11, ms(median), hue)
		if two := l.worst(wire); two > 0 {
			p.text(plotRight+110, top+11, ms(two), danger)
		}
	}
}

func (p *plot) dot(x, y int, hue color.NRGBA, hollow bool) {
	hue.A = 0x90
	r := image.Rect(x-dot, y-dot, x+dot, y+dot)
	if !hollow {
		p.fill(r, hue)
		return
	}
	for _, side := range []image.Rectangle{
		{r.Min, image.Pt(r.Max.X, r.Min.Y+1)}, {image.Pt(r.Min.X, r.Max.Y-1), r.Max},
		{r.Min, image.Pt(r.Min.X+1, r.Max.Y)}, {image.Pt(r.Max.X-1, r.Min.Y), r.Max},
	} {
		p.fill(side, hue)
	}
}

func (p *plot) fill(r image.Rectangle, c color.Color) {
	draw.Draw(p, r, image.NewUniform(c), image.Point{}, draw.Over)
}

func (p *plot) text(x, y int, text string, c color.Color) {
	d := font.Drawer{Dst: p, Src: image.NewUniform(c), Face: p.face, Dot: fixed.P(x, y)}
	d.DrawString(text)
}
