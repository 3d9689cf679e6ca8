// Thumbnails has a long job done by token: one process submits it and leaves, and another
// one, which has only the token's text, watches its progress and fetches the result.
//
//	go run ./examples/thumbnails
//
// The main process hosts the studio (studio.go). It starts two more processes: the
// customer submits a contact sheet of many photos, prints the token and ends; the
// messenger redeems the token, shows a bar while the studio works, and writes the PNG. A
// second job is cancelled half-way.
//
// The program fails unless the picture is complete and the cancelled job says that it was.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

const photos = 160

func main() {
	log.SetFlags(0)
	log.SetPrefix("thumbnails: ")
	role := flag.String("role", "", "be the `customer` or the messenger; the program starts them itself")
	studio := flag.String("studio", "", "the studio's TCP `address`, for those")
	token := flag.String("token", "", "the token, for the messenger")
	out := flag.String("out", filepath.Join(os.TempDir(), "contact-sheet.png"), "the `file` to write")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	switch *role {
	case "":
		err = run(ctx, *out, os.Stdout)
	case "customer":
		err = customer(ctx, *studio)
	case "messenger":
		err = messenger(ctx, *studio, *token, *out)
	default:
		err = fmt.Errorf("no such role: %q", *role)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// join starts a node that knows where the studio is.
func join(name, studio string) (*actor.System, error) {
	return actor.NewSystem(actor.Config{
		Name:       name,
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})},
		Registry:   static.New(registry.Node{Name: "studio", Addrs: map[string]string{"tcp": studio}}),
		Logger:     slog.New(slog.DiscardHandler),
	})
}

// run hosts the studio, and has the other two do their part.
func run(ctx context.Context, file string, out io.Writer) error {
	nodes := static.New()
	sys, err := actor.NewSystem(actor.Config{Name: "studio", Registry: nodes, Logger: slog.New(slog.DiscardHandler),
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}})
	if err != nil {
		return err
	}
	defer sys.Shutdown(context.WithoutCancel(ctx))
	if _, err := sys.Spawn("studio", StudioKind); err != nil {
		return err
	}
	here, err := nodes.Lookup(ctx, "studio")
	if err != nil {
		return err
	}
	studio := here.Addrs["tcp"]
	token, err := process(ctx, "-role", "customer", "-studio", studio).Output()
	if err != nil {
		return fmt.Errorf("the customer: %w", err)
	}
	fmt.Fprintf(out, "The customer has submitted a sheet of %d photos, and left.\n", photos)
	messenger := process(ctx, "-role", "messenger", "-studio", studio, "-token", strings.TrimSpace(string(token)), "-out", file)
	messenger.Stdout = out
	if err := messenger.Run(); err != nil {
		return fmt.Errorf("the messenger: %w", err)
	}
	return check(ctx, file, sys, out)
}

// process is this program in another role.
func process(ctx context.Context, args ...string) *exec.Cmd {
	program, err := os.Executable()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Err = errors.Join(cmd.Err, err)
	cmd.Stderr = os.Stderr
	return cmd
}

// customer submits a job and prints its token.
func customer(ctx context.Context, studio string) error {
	sys, err := join("customer", studio)
	if err != nil {
		return err
	}
	defer sys.Shutdown(context.WithoutCancel(ctx))
	token, err := actor.Submit(ctx, sys.Ref("studio@studio"), Sheet{Photos: photos})
	if err != nil {
		return err
	}
	fmt.Println(token)
	return nil
}

// messenger fetches what a token stands for.
func messenger(ctx context.Context, studio, text, file string) error {
	sys, err := join("messenger", studio)
	if err != nil {
		return err
	}
	defer sys.Shutdown(context.WithoutCancel(ctx))
	token, err := actor.Redeem[Picture](sys, text)
	if err != nil {
		return err
	}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	go watch(watched, token)
	picture, err := token.Await(ctx) // the studio says when
	if err != nil {
		return err
	}
	fmt.Printf("The messenger has fetched it: %d bytes.\n", len(picture.PNG))
	return os.WriteFile(file, picture.PNG, 0o644)
}

// watch shows on the terminal how far the studio is.
func watch(ctx context.Context, token rpc.Token[Picture]) {
	bar := progressbar.NewOptions(photos, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish())
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = bar.Clear()
			return
		}
		if st, err := token.Poll(ctx); err == nil {
			_ = bar.Set64(st.Done)
		}
	}
}

// check looks at the picture, and cancels another job half-way.
func check(ctx context.Context, file string, sys *actor.System, out io.Writer) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	sheet, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if got, want := sheet.Bounds().Size(), (photos+columns-1)/columns*thumbSize; got.X != columns*thumbSize || got.Y != want {
		return fmt.Errorf("the sheet has %v pixels", got)
	}
	token, err := actor.Submit(ctx, sys.Ref("studio@studio"), Sheet{Photos: 10_000})
	if err != nil {
		return err
	}
	for {
		st, err := token.Poll(ctx)
		if err != nil {
			return err
		}
		if st.Done > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := token.Cancel(ctx); err != nil {
		return err
	}
	_, err = token.Await(ctx)
	if st, _ := token.Poll(ctx); st.State != rpc.JobCancelled || rpc.Ran(err) != rpc.HasRun {
		return fmt.Errorf("the cancelled job is %v: %w", st.State, err)
	}
	fmt.Fprintf(out, "A sheet of 10,000 photos was cancelled half-way. (ran: %v)\nThe contact sheet is in %s\n", rpc.Ran(err), file)
	return nil
}
