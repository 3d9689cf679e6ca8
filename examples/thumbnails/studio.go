package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	store "github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// Sheet asks for a contact sheet: one thumbnail of each photo, as a PNG.
type Sheet struct {
	actor.Returns[Picture]
	Photos int
}

// Picture is a finished sheet.
type Picture struct{ PNG []byte }

// Types of package main need a name to be sent to another node.
func (Sheet) WireName() string   { return "thumbnails.Sheet" }
func (Picture) WireName() string { return "thumbnails.Picture" }

const (
	photoSize = 480 // length of a side in pixels
	thumbSize = 40
	columns   = 16
)

// Studio makes contact sheets. It needs no state.
type Studio struct{}

// StudioKind is the kind of the actor on the studio's node. Its jobs and their results outlive the
// process.
var StudioKind = actor.Define("thumbnails.studio", func() Studio { return Studio{} },
	actor.Answer(Studio.Sheet)).With(actor.Durable())

// Sheet takes long, and reports its progress. Its context ends when the job is cancelled.
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

// studio is the process of the studio: it prints its address, and works until it is killed.
func studio(ctx context.Context, o options, out io.Writer) error {
	nc, err := natsbus.Connect(ctx, o.nats)
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	direct := tcp.New(tcp.Config{Listen: "127.0.0.1:0"})
	sys, err := actor.NewSystem(actor.Config{
		Name:       "studio",
		Transports: []transport.Transport{direct, natsbus.New(nc, natsbus.Config{})},
		Registry:   static.New(),
		Kinds:      []*actor.Kind{StudioKind},
		Store:      store.New(js, store.Config{}),
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	if _, err := sys.Spawn("studio", StudioKind); err != nil {
		return err
	}
	fmt.Fprintln(out, direct.Addr())
	<-ctx.Done()
	return nil
}

// join starts a node that knows where the studio is, on both roads.
func join(ctx context.Context, name, bus, address string) (sys *actor.System, leave func(), err error) {
	nc, err := natsbus.Connect(ctx, bus)
	if err != nil {
		return nil, nil, err
	}
	sys, err = actor.NewSystem(actor.Config{
		Name:       name,
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"}), natsbus.New(nc, natsbus.Config{})},
		Registry:   static.New(registry.Node{Name: "studio", Addrs: map[string]string{"tcp": address}}),
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return sys, func() { _ = sys.Shutdown(context.Background()); nc.Close() }, nil
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

// shrink draws the thumbnail of a photo. Each pixel is the mean of those that it stands for.
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
