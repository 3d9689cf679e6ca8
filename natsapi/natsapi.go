// Package natsapi opens actors to clients that speak plain NATS and JSON: each target of a gateway.Table is a NATS micro
// service, which the tools for these find.
//
//	table, err := gateway.New(sys, gateway.Virtual("account", Account))
//	api, err := natsapi.Serve(ctx, natsapi.Config{Table: table, Connect: func(ctx context.Context) (*nats.Conn, error) {
//		return nats.Connect(url, nats.UserInfo("gateway", secret))
//	}})
//	defer api.Close(ctx)
//
//	nats req tandem.api.ann.account.7.Deposit '{"Amount": 5}' -H Idempotency-Key:5f0a
//	nats micro info account
//
// # Requests
//
//	<prefix>.<principal>.<target>.<Message>        to an actor or a service
//	<prefix>.<principal>.<target>.<id>.<Message>   to a virtual actor; for the id see Escape
//
// The principal is a token that stands for the client; "-" is for those who have none, and are gateway.Anonymous. The body is
// JSON, and so is the answer. These headers are read, in upper or lower case:
//
//	Idempotency-Key   the request's key, see rpc.Key: under it the request runs once, through whatever gateway it comes
//	Request-Timeout   seconds after which the request ends; default and longest: Config.MaxTimeout
//	Traceparent       W3C trace context
//	Prefer            respond-async: the request is submitted as a job
//
// Every answer says in Tandem-Ran whether the request ran: yes, no or unknown; of a one-way message, and of a job, it is
// unknown. Tandem-Replayed: true is in an answer that is the recorded one of an earlier attempt. The body of an error is a
// gateway.Problem; its code is also in Tandem-Code, its status in Nats-Service-Error-Code, its text in Nats-Service-Error, and
// Retry-After has the seconds before which no attempt should come. A message that does not exist has no responders.
//
// A message that is answered with a stream gets a message for each item, with its number in Tandem-Item, and a last one with
// the number of items in Tandem-End, which has the headers and the body of an error if the stream failed.
//
// A job's answer is {"token": "...", "state": "accepted"}. Its client sends {"token": "..."} to
//
//	<prefix>.<principal>.jobs.poll     what the job is now, and its result if it is done
//	<prefix>.<principal>.jobs.await    the same when it has ended, or after three quarters of Request-Timeout
//	<prefix>.<principal>.jobs.cancel   has it end early
//
// # Who may
//
// NATS does not tell who has sent a message. So a client is who its subject says, and the server's permissions have to confine
// each user to a token of its own, and to an inbox of its own, where others cannot read its answers. The gateway's user is not
// a client: it may not publish below the prefix.
//
//	{user: ann, permissions: {publish: ["tandem.api.ann.>", "$SRV.>"], subscribe: "_INBOX_ann.>"}}
//	{user: gateway, permissions: {publish: {deny: "tandem.api.>"}, subscribe: ["tandem.api.>", "$SRV.>"]}}
//
// Services that answer to whatever subject a request names could be made to send a message where a client may not. An answer
// has no inbox of its own, and neither has what JetStream delivers. So a request is served only if its reply subject begins as
// one of Config.Inboxes. A client that publishes without one gets no answer, and its request does not run.
//
// # Several gateways
//
// Any number of nodes can serve the same targets: the server gives each request to one of them. A client whose gateway has died
// asks again under the same key, and gets the outcome of the first attempt from another one. For services, see
// gateway.Config.Bindings and package gateway/natskv.
//
// # Limits
//
// A client that has given up is not noticed: the request, and a stream, ends when its time is over. A stream does not wait for
// its client, and the server disconnects one that reads too slowly; the numbers show what is missing. An answer over the
// server's max_payload is not sent: its error has the code reply-dropped, and Tandem-Ran: yes. The error counts of STATS are in
// its data, since the library's own know only what is answered at once.
package natsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tandem-go/tandem/gateway"
)

// Config says what is served, and how. Table and Connect are required; the zero value of the other fields is the documented
// default.
type Config struct {
	Table *gateway.Table

	// Connect opens the connection that the gateway alone uses, and closes: the library for micro services takes over its
	// handlers.
	Connect func(ctx context.Context) (*nats.Conn, error)

	Prefix  string   // what subjects begin with. Default "tandem.api"
	Inboxes []string // what reply subjects may begin with. Default "_INBOX", and "_R_", which the server makes of an inbox in another account

	// Principal says whom a token stands for, as access rules name it; it is called concurrently. An error is answered with
	// code denied, and not shown. Default: "nats:" and the token.
	Principal func(token string) (string, error)

	MaxBody     int           // bytes of a request's body. Default 1 MiB
	MaxTimeout  time.Duration // longest Request-Timeout, and that of requests that have none. Default 1 min
	MaxRequests int           // requests that may be open, streams among them; more are refused as overloaded. Default 4,096
	MaxBytes    int           // that the bodies of these may have together. Default 64 MiB

	Version string       // of the micro services. Default "1.0.0"
	Logger  *slog.Logger // nil: slog.Default()
}

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = "tandem.api"
	}
	if c.Inboxes == nil {
		c.Inboxes = []string{"_INBOX", "_R_"}
	}
	if c.Principal == nil {
		c.Principal = func(token string) (string, error) { return "nats:" + token, nil }
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 1 << 20
	}
	if c.MaxTimeout <= 0 {
		c.MaxTimeout = time.Minute
	}
	if c.MaxRequests <= 0 {
		c.MaxRequests = 4096
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 64 << 20
	}
	if c.Version == "" {
		c.Version = "1.0.0"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Server is a running gateway. Its methods may be called concurrently.
type Server struct {
	cfg  Config
	conn *nats.Conn
	door *door
	crew crew
	ctx  context.Context // of all requests; ended by stop
	stop context.CancelFunc

	headers  headers
	services []micro.Service
	stats    map[string]*counts // by the subject of the endpoint; not changed after Serve

	closing sync.Once
	err     error // of Close
}

// startWait bounds the start.
const startWait = 30 * time.Second

// Serve connects and serves, until Close. The start takes at most 30 s; ctx bounds it, too, and nothing else. The error says what is missing in cfg or cannot be a
// subject, or is that of the connection.
func Serve(ctx context.Context, cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.Table == nil || cfg.Connect == nil || !validSubject(cfg.Prefix) {
		return nil, errors.New("natsapi: Config needs Table and Connect, and a Prefix without wildcards")
	}
	for _, inbox := range cfg.Inboxes {
		if inbox == "" {
			return nil, errors.New("natsapi: an empty string in Config.Inboxes would let answers go to all subjects")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	conn, err := cfg.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("natsapi: %w", err)
	}
	s := &Server{cfg: cfg, conn: conn, door: newDoor(cfg.MaxRequests, cfg.MaxBytes), headers: newHeaders(), stats: map[string]*counts{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err = s.open(); err == nil {
		err = conn.FlushWithContext(ctx)
	}
	if err != nil {
		s.stop()
		conn.Close()
		return nil, fmt.Errorf("natsapi: %w", err)
	}
	return s, nil
}

// endpoint is what is added to a service.
type endpoint struct {
	service, name, subject string
	many                   bool
	about                  map[string]string
	do                     work
}

// open adds the services.
func (s *Server) open() error {
	var all []endpoint
	for _, e := range s.cfg.Table.Endpoints() {
		if e.Target == jobs {
			return fmt.Errorf("a target cannot have the name %q", jobs)
		}
		about, err := describe(e)
		if err != nil {
			return err
		}
		all = append(all, endpoint{e.Target, e.Name, subjectOf(s.cfg.Prefix, e), e.Many, about, s.serve(e)})
	}
	for name, about := range map[string]func(context.Context, *asked, string) (gateway.Job, error){"poll": s.poll, "await": s.await, "cancel": s.cancel} {
		all = append(all, endpoint{jobs, name, s.cfg.Prefix + ".*." + jobs + "." + name, false, nil, s.ofJob(about)})
	}
	services := map[string]micro.Service{}
	for _, e := range all {
		s.stats[e.subject] = &counts{}
	}
	for _, e := range all {
		service := services[e.service]
		if service == nil {
			var err error
			if service, err = s.add(e.service); err != nil {
				return err
			}
			services[e.service] = service
			s.services = append(s.services, service)
		}
		if err := service.AddEndpoint(e.name, s.post(e.many, s.stats[e.subject], e.do), micro.WithEndpointSubject(e.subject), micro.WithEndpointMetadata(e.about)); err != nil {
			return fmt.Errorf("%s: %w", e.subject, err)
		}
	}
	return nil
}

// add adds a service without endpoints.
func (s *Server) add(name string) (micro.Service, error) {
	service, err := micro.AddService(s.conn, micro.Config{
		Name: name, Version: s.cfg.Version, Description: "actors, by package natsapi of Tandem",
		QueueGroup:   s.cfg.Prefix,
		StatsHandler: func(e *micro.Endpoint) any { return s.stats[e.Subject].figures(s.door.open()) },
		ErrorHandler: func(_ micro.Service, e *micro.NATSError) {
			s.cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, "natsapi: NATS", slog.String("subject", e.Subject), slog.String("error", e.Description))
		},
	})
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	return service, nil
}

// drainWait bounds how long the end of the connection waits for the server, when nothing runs anymore.
const drainWait = 2 * time.Second

// Close stops serving: requests that still come are refused as leaving, not run, unless another gateway gets them. It waits for
// those that are open; when ctx ends, their contexts end, too, and they are answered with that. It returns when nothing runs
// and the connection is closed, with the error of ctx if that ended. It may be called again, and then waits for the first call.
func (s *Server) Close(ctx context.Context) error {
	s.closing.Do(func() { s.err = s.close(ctx) })
	return s.err
}

func (s *Server) close(ctx context.Context) error {
	defer s.stop()
	s.door.close()
	for _, service := range s.services {
		if err := service.Stop(); err != nil {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "natsapi: stopping a service", slog.Any("error", err))
		}
	}
	select {
	case <-s.door.empty:
	case <-ctx.Done():
	}
	s.stop()
	<-s.door.empty
	s.crew.close()
	closed := s.conn.StatusChanged(nats.CLOSED)
	defer s.conn.RemoveStatusListener(closed)
	if s.conn.Drain() == nil { // what has arrived is refused, and what was published is sent
		select {
		case <-closed:
		case <-time.After(drainWait):
		}
	}
	s.conn.Close()
	return ctx.Err()
}
