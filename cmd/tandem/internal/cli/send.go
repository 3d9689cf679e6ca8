package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/rpc"
)

// send are the commands that send messages to actors, and that ask for jobs. Any node, or that of --node, sends them for the user.
func (a *app) send() []*cobra.Command {
	message := func(use, short, how string, keyed bool) *cobra.Command {
		var m admin.Invoke
		c := &cobra.Command{Use: use + " ADDRESS MESSAGE [JSON]", Short: short, Long: short + `.

ADDRESS is name@node, service@* for a service, or kind/id@~ for a virtual actor. MESSAGE is the message's name on the wire.
JSON is its body; "-" reads it from standard input; without one it is {}.`, Args: cobra.RangeArgs(2, 3), RunE: func(c *cobra.Command, args []string) error {
			m.To, m.Type, m.How, m.Timeout = args[0], args[1], how, a.timeout
			var err error
			if m.Body, err = a.body(args[2:]); err != nil {
				return err
			}
			r, err := one(c.Context(), a, a.node, m)
			if err != nil {
				return err
			}
			if r.Error != nil {
				return errorOf(r.Error)
			}
			switch {
			case r.Token != "":
				return a.say(r, "%s", r.Token)
			case r.Replayed:
				fmt.Fprintln(a.err, "tandem: it had run before under this key; this is the recorded answer")
			}
			return a.show(r, func(*table) {
				if len(r.Body) > 0 {
					fmt.Fprintln(a.out, string(r.Body))
				}
			})
		}}
		if keyed {
			c.Flags().StringVar(&m.Key, "key", "", "name the request: under one key it runs once, however often it is sent")
		}
		return c
	}
	job := func(use, short, do string) *cobra.Command {
		return &cobra.Command{Use: use + " TOKEN", Short: short, Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			s, err := a.await(c.Context(), args[0], do)
			if err != nil {
				return err
			}
			if err := a.show(s, func(t *table) {
				t.head = []string{"STATE", "DONE", "TOTAL", "RESULT"}
				t.row(s.State, s.Done, s.Total, string(s.Result))
			}); err != nil || s.Error == nil || do == "poll" {
				return err
			}
			return errorOf(s.Error)
		}}
	}
	return []*cobra.Command{
		message("call", "Send a request, and print its reply", "call", true),
		message("tell", "Send a one-way message, and wait until it is in the mailbox", "tell", false),
		message("submit", "Submit a message as a job, and print its token", "submit", false),
		job("poll", "Show what a job is now", "poll"),
		job("await", "Wait until a job has ended, for --timeout, and print its result", "await"),
		job("cancel", "Have a job end early", "cancel"),
	}
}

// await asks about a job. A node waits for 20 s at most, so that it is asked again until --timeout is over.
func (a *app) await(ctx context.Context, token, do string) (s admin.JobState, err error) {
	until := time.Now().Add(a.timeout)
	for {
		left := time.Until(until)
		s, err = one(ctx, a, a.node, admin.Job{Token: token, Do: do, Wait: max(left-left/8, 0)})
		if err != nil || do != "await" || s.State != rpc.JobAccepted.String() && s.State != rpc.JobRunning.String() {
			return s, err
		}
		if time.Until(until) < time.Second {
			return s, rpc.Errorf(rpc.Expired, rpc.Unknown, "the job is %s after %v", s.State, a.timeout)
		}
	}
}

// body is the JSON that is given.
func (a *app) body(args []string) (json.RawMessage, error) {
	if len(args) == 0 {
		return nil, nil
	}
	text := []byte(args[0])
	if args[0] == "-" {
		var err error
		if text, err = io.ReadAll(a.in); err != nil {
			return nil, err
		}
	}
	if !json.Valid(text) {
		return nil, usage("the body is not JSON: %.60s", text)
	}
	return text, nil
}

// errorOf is the error of what was sent for the user.
func errorOf(f *admin.Failure) error {
	e := &rpc.Error{Code: rpc.Failed, Message: f.Message, User: f.User, Node: f.Node}
	if c, ok := rpc.ParseCode(f.Code); ok {
		e.Code = c
	}
	switch f.Ran {
	case rpc.NotRun.String():
		e.Verdict = rpc.NotRun
	case rpc.HasRun.String():
		e.Verdict = rpc.HasRun
	}
	e.Message = fmt.Sprintf("%s [%s]", e.Message, f.Ran)
	return e
}
