package main

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A chart is a plot with a logarithmic x axis.
type chart struct {
	title, xLabel, yLabel string
	ticks                 []tick // of the x axis
	linearY               bool   // y begins at 0; else logarithmic
	lines                 []chartLine
}

type tick struct {
	at    float64
	label string
}

type chartLine struct {
	name   string
	color  int // of the palette
	dashed bool
	spots  []spot
}

// spot is a value, and between what it was found in several measurements.
type spot struct{ x, y, low, high float64 }

// palette can be told apart by the colour-blind (Okabe and Ito).
var palette = []color.RGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {86, 180, 233, 255}, {230, 159, 0, 255}}

const (
	chartWidth  = 16 * vg.Centimeter
	chartHeight = 9 * vg.Centimeter
)

// draw writes c as SVG. The same chart gives the same bytes.
func (c chart) draw(w io.Writer) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, c.xLabel, c.yLabel
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = axis(c.ticks)
	p.Legend.Top, p.Legend.Padding = true, 0.5*vg.Millimeter
	p.Title.Padding = 3 * vg.Millimeter
	p.Add(plotter.NewGrid())
	low, high := math.Inf(1), 0.0
	for _, l := range c.lines {
		spots := slices.DeleteFunc(slices.Clone(l.spots), func(s spot) bool { return s.y <= 0 || s.x <= 0 }) // no place on the axis
		if len(spots) == 0 {
			continue
		}
		for _, s := range spots {
			low, high = min(low, s.y), max(high, s.y, s.high)
			if s.low > 0 {
				low = min(low, s.low)
			}
		}
		if err := addLine(p, l, spots, palette[l.color%len(palette)]); err != nil {
			return err
		}
	}
	if high == 0 {
		return fmt.Errorf("plot %q: nothing to show", c.title)
	}
	if n := len(c.ticks); n > 0 {
		p.X.Min, p.X.Max = c.ticks[0].at*0.9, c.ticks[n-1].at*1.1
	}
	room := 0.09 * float64(len(c.lines)) // for the legend
	if c.linearY {
		p.Y.Min, p.Y.Max = 0, high*(1+room)
	} else {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, axis(decades(low, high))
		p.Y.Min, p.Y.Max = low/1.3, high*1.3*math.Pow(high/low, room)
	}
	canvas := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.New(canvas))
	_, err := canvas.WriteTo(w)
	return err
}

func addLine(p *plot.Plot, l chartLine, spots []spot, c color.Color) error {
	xys, errs := make(plotter.XYs, len(spots)), make(plotter.YErrors, len(spots))
	hasSpread := false
	for i, s := range spots {
		xys[i].X, xys[i].Y = s.x, s.y
		if s.low > 0 && s.high > s.low {
			errs[i].Low, errs[i].High = s.y-s.low, s.high-s.y
			hasSpread = true
		}
	}
	line, points, err := plotter.NewLinePoints(xys)
	if err != nil {
		return err
	}
	line.Color, points.Color = c, c
	line.Width, points.Shape, points.Radius = 1.5, draw.CircleGlyph{}, 2
	if l.dashed {
		line.Dashes = []vg.Length{4, 3}
	}
	p.Add(line, points)
	if hasSpread {
		bars, err := plotter.NewYErrorBars(struct {
			plotter.XYer
			plotter.YErrorer
		}{xys, errs})
		if err != nil {
			return err
		}
		bars.Color, bars.Width, bars.CapWidth = c, 0.6, 4
		p.Add(bars)
	}
	p.Legend.Add(l.name, line, points)
	return nil
}

// axis has its ticks where it is told.
type axis []tick

func (a axis) Ticks(_, _ float64) (all []plot.Tick) {
	for _, t := range a {
		all = append(all, plot.Tick{Value: t.at, Label: t.label})
	}
	return all
}

// decades are ticks at 1, and where there are few decades also at 2 and 5, times powers
// of ten, from below low to above high.
func decades(low, high float64) (all []tick) {
	steps := []float64{1}
	if high/low < 1000 {
		steps = []float64{1, 2, 5}
	}
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, s := range steps {
			v := s * math.Pow(10, e)
			all = append(all, tick{v, short(v)})
		}
	}
	return all
}

// short prints a round number: 20 k, 5 M, 0.01.
func short(v float64) string {
	switch {
	case v >= 1e9:
		return strconv.FormatFloat(v/1e9, 'g', 3, 64) + " G"
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + " M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + " k"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
