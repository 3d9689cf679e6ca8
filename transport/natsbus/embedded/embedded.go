// Package embedded runs a NATS server with JetStream inside the program, for installations that
// are a single binary, and for tests.
//
//	srv, err := embedded.Start(embedded.Config{StoreDir: "/var/lib/shop/nats"})
//	if err != nil { ... }
//	defer srv.Shutdown()
//	nc, err := srv.Connect()
//
// No other package of Tandem imports nats-server, outside of tests. So a program that connects to
// a server elsewhere does not contain one.
//
// The server authenticates nobody unless Configure sets that up. It listens on the loopback
// interface unless Host is set.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startTimeout bounds how long a server may take to listen on all its ports.
const startTimeout = 10 * time.Second

// A process that is being started has copies of all sockets of its parent until it executes its own
// program. So a port that was closed in that time is in use for some milliseconds more, and for longer
// on a busy machine.
const portTimeout, portRetry = time.Second, 5 * time.Millisecond

// Config describes a server. Its zero value is a single server on a free loopback port, whose
// data is deleted by Shutdown.
type Config struct {
	Host       string         // address to listen on; default 127.0.0.1
	Port       int            // 0 means any free port
	Name       string         // server name; default a random one. In a cluster it is required, and must be unique
	StoreDir   string         // folder of JetStream; default a temporary one, removed by Shutdown
	SyncAlways bool           // fsync every JetStream write before it is confirmed, instead of every 2 minutes
	MaxPayload int32          // bytes of one message with its headers; default 1 MiB
	Cluster    *ClusterConfig // nil means a single server
	Logger     *slog.Logger   // gets what the server logs; nil discards it

	// Configure, if not nil, changes the server's options before it is started, for example
	// TLS, users and limits. It is called last.
	Configure func(*server.Options)
}

// ClusterConfig makes the server a member of a NATS cluster. JetStream does not serve before a
// majority of the members that Routes lists are connected, which may be after Start has returned.
type ClusterConfig struct {
	Name   string   // the same on all members
	Host   string   // address for the other members; default 127.0.0.1
	Port   int      // port for the other members; required, since their Routes name it
	Routes []string // all members, as nats://host:port; each may get the same list
}

// Server is a running server. Its methods may be called concurrently.
type Server struct {
	srv     *server.Server
	tempDir string // a folder that Shutdown removes, or empty
	stop    sync.Once
}

// Start starts a server and returns once it accepts connections. If it returns an error, nothing is
// left behind. If a port is in use and does not become free within a second, the error wraps that of
// the system.
func Start(cfg Config) (*Server, error) {
	if cfg.Host == "" {
		cfg.Host = "127.0.0.1"
	}
	s := &Server{}
	if cfg.StoreDir == "" {
		dir, err := os.MkdirTemp("", "tandem-nats-")
		if err != nil {
			return nil, fmt.Errorf("embedded: %w", err)
		}
		cfg.StoreDir, s.tempDir = dir, dir
	}
	if err := s.start(cfg); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("embedded: %w", err)
	}
	return s, nil
}

func (s *Server) start(cfg Config) error {
	opts, err := options(cfg)
	if err != nil {
		return err
	}
	// The server reports a port that is in use only as text in its log, so check before.
	for _, at := range listenAddrs(opts) {
		if err := awaitFree(at); err != nil {
			return err
		}
	}
	if s.srv, err = server.NewServer(opts); err != nil {
		return err
	}
	log := newLogger(cfg.Logger)
	s.srv.SetLoggerV2(log, false, false, false)
	s.srv.Start()
	for deadline := time.Now().Add(startTimeout); ; {
		select {
		case err := <-log.fatal:
			return err
		default:
		}
		if s.srv.ReadyForConnections(100 * time.Millisecond) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("server not ready after %v", startTimeout)
		}
	}
}

// awaitFree returns nil once the address can be listened on.
func awaitFree(at string) error {
	for deadline := time.Now().Add(portTimeout); ; time.Sleep(portRetry) {
		l, err := net.Listen("tcp", at)
		if err == nil {
			return l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return err
		}
	}
}

func options(cfg Config) (*server.Options, error) {
	opts := &server.Options{
		ServerName: cfg.Name,
		Host:       cfg.Host,
		Port:       anyPort(cfg.Port),
		JetStream:  true,
		StoreDir:   cfg.StoreDir,
		SyncAlways: cfg.SyncAlways,
		MaxPayload: cfg.MaxPayload,
		NoSigs:     true,
		NoLog:      true,
	}
	if c := cfg.Cluster; c != nil {
		if cfg.Name == "" || c.Name == "" || c.Port == 0 {
			return nil, errors.New("a cluster member needs a name, its cluster's name and a cluster port")
		}
		opts.Cluster.Name = c.Name
		opts.Cluster.Port = c.Port
		if opts.Cluster.Host = c.Host; c.Host == "" {
			opts.Cluster.Host = "127.0.0.1"
		}
		opts.Routes = server.RoutesFromStr(strings.Join(c.Routes, ","))
	}
	if cfg.Configure != nil {
		cfg.Configure(opts)
	}
	return opts, nil
}

// anyPort translates 0, for any free port, into the value that the server has for it.
func anyPort(port int) int {
	if port == 0 {
		return server.RANDOM_PORT
	}
	return port
}

// listenAddrs returns the fixed addresses that the server is going to listen on.
func listenAddrs(opts *server.Options) []string {
	var at []string
	if opts.Port > 0 && !opts.DontListen {
		at = append(at, net.JoinHostPort(opts.Host, strconv.Itoa(opts.Port)))
	}
	if opts.Cluster.Port > 0 {
		at = append(at, net.JoinHostPort(opts.Cluster.Host, strconv.Itoa(opts.Cluster.Port)))
	}
	return at
}

// URL returns the URL for clients.
func (s *Server) URL() string { return s.srv.ClientURL() }

// Port returns the port for clients. To restart a server so that its clients find it again, pass
// this port and the same StoreDir to Start.
func (s *Server) Port() int {
	if a, ok := s.srv.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// Server returns the server itself, for what this package does not offer.
func (s *Server) Server() *server.Server { return s.srv }

// Connect opens a connection to the server that package natsbus can use. It has no reconnect
// buffer, from which a message could be sent long after its sender has given up. It never stops
// trying to reconnect, not even while the server refuses its user or password. opts are applied
// last.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{
		nats.ReconnectBufSize(-1),
		nats.RetryOnFailedConnect(false),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond),
	}, opts...)
	nc, err := nats.Connect(s.URL(), all...)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	return nc, nil
}

// Shutdown stops the server, waits until it has ended, and removes its folder if that is a
// temporary one. It is idempotent, and every call waits.
func (s *Server) Shutdown() {
	s.stop.Do(func() {
		if s.srv != nil {
			s.srv.Shutdown()
			s.srv.WaitForShutdown()
		}
		if s.tempDir != "" {
			os.RemoveAll(s.tempDir)
		}
	})
}
