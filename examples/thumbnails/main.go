// Thumbnails shows a long job with a token: one process submits the job and ends, and another
// process, which has only the token's text, watches the progress and fetches the result.
//
//	go run ./examples/thumbnails
//
// The main process runs a NATS server, and starts the others. The studio (studio.go)
// makes contact sheets, and keeps its jobs in NATS. The customer submits a sheet of many
// photos, prints the token and ends. The messenger (messenger.go) redeems the token, shows
// a bar while the studio works, and writes the PNG. Half-way its TCP link is cut for good, and the
// token's Await goes on over NATS. Then the studio is killed with kill -9 and restarted: another
// messenger gets the same picture for the same token. In the end a second job is cancelled
// half-way.
//
// The program fails unless both messengers get the complete picture, and the second job ends as
// cancelled.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

const photos = 160

// options are the command line. All except out are for the processes that the main one starts.
type options struct {
	role, nats, studio, token, out string
	cut                            bool
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("thumbnails: ")
	var o options
	flag.StringVar(&o.role, "role", "", "be the `studio`, customer or messenger; the program starts them itself")
	flag.StringVar(&o.nats, "nats", "", "the NATS server's `URL`")
	flag.StringVar(&o.studio, "studio", "", "the studio's TCP `address`")
	flag.StringVar(&o.token, "token", "", "the token, for the messenger")
	flag.BoolVar(&o.cut, "cut", false, "have the messenger's TCP link cut half-way")
	flag.StringVar(&o.out, "out", filepath.Join(os.TempDir(), "contact-sheet.png"), "the `file` to write")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	play, ok := map[string]func(context.Context, options, io.Writer) error{
		"": run, "studio": studio, "customer": customer, "messenger": messenger}[o.role]
	if !ok {
		log.Fatalf("no such role: %q", o.role)
	}
	if err := play(ctx, o, os.Stdout); err != nil {
		log.Fatal(strings.TrimSpace(o.role+" "), ": ", err)
	}
}

// run starts the other processes, one after the other.
func run(ctx context.Context, o options, out io.Writer) error {
	server, err := embedded.Start(embedded.Config{})
	if err != nil {
		return err
	}
	defer server.Shutdown()
	o.nats = server.URL()
	kill, err := startStudio(ctx, &o)
	if err != nil {
		return err
	}
	defer func() { kill() }()
	text, err := process(ctx, "customer", o).Output()
	if err != nil {
		return fmt.Errorf("the customer: %w", err)
	}
	fmt.Fprintf(out, "The customer has submitted a sheet of %d photos, and left.\n", photos)
	o.token, o.cut = strings.TrimSpace(string(text)), true
	first, err := fetch(ctx, o, out)
	if err != nil {
		return err
	}
	kill()
	fmt.Fprintln(out, "The studio was killed with kill -9, and is started again.")
	if kill, err = startStudio(ctx, &o); err != nil {
		return err
	}
	o.cut = false
	second, err := fetch(ctx, o, out)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(first, second):
		return errors.New("the token stands for another picture now")
	}
	if err := cancelled(ctx, o, out); err != nil {
		return err
	}
	fmt.Fprintln(out, "The contact sheet is in", o.out)
	return nil
}

// process is this program in another role.
func process(ctx context.Context, role string, o options) *exec.Cmd {
	program, err := os.Executable()
	cmd := exec.CommandContext(ctx, program, "-role", role, "-nats", o.nats, "-studio", o.studio, "-token", o.token, "-out", o.out, fmt.Sprintf("-cut=%v", o.cut))
	cmd.Err = errors.Join(cmd.Err, err)
	cmd.Stderr = os.Stderr
	return cmd
}

// startStudio starts the studio and sets o.studio to where it is.
func startStudio(ctx context.Context, o *options) (kill func(), err error) {
	cmd := process(ctx, "studio", *o)
	said, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	kill = func() {
		_ = cmd.Process.Kill() // for the studio this is kill -9
		_ = cmd.Wait()
	}
	address, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		kill()
		return nil, fmt.Errorf("the studio did not start: %w", err)
	}
	o.studio = strings.TrimSpace(address)
	return kill, nil
}

// customer submits a job and prints its token.
func customer(ctx context.Context, o options, out io.Writer) error {
	sys, leave, err := join(ctx, "customer", o.nats, o.studio)
	if err != nil {
		return err
	}
	defer leave()
	token, err := actor.Submit(ctx, sys.Ref("studio@studio"), Sheet{Photos: photos})
	if err == nil {
		fmt.Fprintln(out, token)
	}
	return err
}

// fetch makes a messenger fetch the picture, and checks it.
func fetch(ctx context.Context, o options, out io.Writer) ([]byte, error) {
	_ = os.Remove(o.out) // there may be none yet
	cmd := process(ctx, "messenger", o)
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("the messenger: %w", err)
	}
	b, err := os.ReadFile(o.out)
	if err != nil {
		return nil, err
	}
	sheet, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if got, want := sheet.Bounds().Size(), (photos+columns-1)/columns*thumbSize; got.X != columns*thumbSize || got.Y != want {
		return nil, fmt.Errorf("the sheet has %v pixels", got)
	}
	return b, nil
}

// cancelled cancels another job half-way.
func cancelled(ctx context.Context, o options, out io.Writer) error {
	sys, leave, err := join(ctx, "office", o.nats, o.studio)
	if err != nil {
		return err
	}
	defer leave()
	token, err := actor.Submit(ctx, sys.Ref("studio@studio"), Sheet{Photos: 10_000})
	if err != nil {
		return err
	}
	if err := until(ctx, token, 10); err != nil {
		return err
	}
	if _, err := token.Cancel(ctx); err != nil {
		return err
	}
	_, err = token.Await(ctx)
	if st, _ := token.Poll(ctx); st.State != rpc.JobCancelled || rpc.Ran(err) != rpc.HasRun {
		return fmt.Errorf("the cancelled job is %v: %w", st.State, err)
	}
	fmt.Fprintf(out, "A sheet of 10,000 photos was cancelled half-way. (ran: %v)\n", rpc.Ran(err))
	return nil
}
