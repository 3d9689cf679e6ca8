package main

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"

	"github.com/tandem-go/tandem/actor"
)

// Sheet asks for a contact sheet: one thumbnail of each photo, as a PNG.
type Sheet struct {
	actor.Returns[Picture]
	Photos int
}

// Picture is a finished sheet.
type Picture struct{ PNG []byte }

// Types of package main need a name to travel to another node.
func (Sheet) WireName() string   { return "thumbnails.Sheet" }
func (Picture) WireName() string { return "thumbnails.Picture" }

const (
	photoSize = 480 // pixels of a side
	thumbSize = 40
	columns   = 16
)

// Studio makes contact sheets. It needs no state.
type Studio struct{}

// StudioKind is what the studio's node hosts.
var StudioKind = actor.Define("thumbnails.studio", func() Studio { return Studio{} }, actor.Answer(Studio.Sheet))

// Sheet takes long, and says how far it is. Its context ends when the job is cancelled.
func (Studio) Sheet(ctx *actor.Context, m Sheet) (Picture, error) {
	rows := (m.Photos + columns - 1) / columns
	sheet := image.NewRGBA(image.Rect(0, 0, columns*thumbSize, rows*thumbSize))
	for i := range m.Photos {
		if ctx.Err() != nil {
			return Picture{}, context.Cause(ctx)
		}
		shrink(sheet, image.Pt(i%columns*thumbSize, i/columns*thumbSize), photo(i))
		ctx.Progress(int64(i+1), int64(m.Photos))
	}
	var out bytes.Buffer
	err := png.Encode(&out, sheet)
	return Picture{PNG: out.Bytes()}, err
}

// photo is a picture of nothing in particular.
func photo(n int) *image.RGBA {
	p := image.NewRGBA(image.Rect(0, 0, photoSize, photoSize))
	for y := range photoSize {
		for x := range photoSize {
			p.SetRGBA(x, y, color.RGBA{uint8(x * (n%5 + 1) / 4), uint8(y * (n%7 + 1) / 4), uint8((x ^ y) + 8*n), 255})
		}
	}
	return p
}

// shrink draws a photo's thumbnail, each pixel the mean of those it stands for.
func shrink(sheet *image.RGBA, at image.Point, p *image.RGBA) {
	const side = photoSize / thumbSize
	for ty := range thumbSize {
		for tx := range thumbSize {
			var r, g, b int
			for y := range side {
				for x := range side {
					c := p.RGBAAt(tx*side+x, ty*side+y)
					r, g, b = r+int(c.R), g+int(c.G), b+int(c.B)
				}
			}
			const n = side * side
			sheet.SetRGBA(at.X+tx, at.Y+ty, color.RGBA{uint8(r / n), uint8(g / n), uint8(b / n), 255})
		}
	}
}
