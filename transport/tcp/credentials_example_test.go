package tcp_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// tokens writes a file of them, and returns its path and a function that removes it.
func tokens(lines string) (path string, remove func()) {
	dir, _ := os.MkdirTemp("", "example")
	path = filepath.Join(dir, "tokens")
	os.WriteFile(path, []byte(lines), 0o600)
	return path, func() { os.RemoveAll(dir) }
}

// Certificates would be named in the same Files: Certificate, Key, Authorities, Revoked.
func ExampleLoad() {
	path, remove := tokens("9ae23f1c\n")
	defer remove()
	creds, err := tcp.Load(tcp.Files{Tokens: path})
	if err != nil {
		fmt.Println(err)
		return
	}
	tr := tcp.New(tcp.Config{Listen: "127.0.0.1:0", Credentials: creds})
	defer tr.Close()
	fmt.Println(tr.Road())
	// Output: tcp
}

func ExampleCredentials_Reload() {
	path, remove := tokens("9ae23f1c\n")
	defer remove()
	creds, err := tcp.Load(tcp.Files{Tokens: path})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(creds.Reload())
	os.WriteFile(path, []byte("9ae23f1c\n07d4bb52\n"), 0o600) // the next one is accepted as well
	fmt.Println(creds.Reload())
	// Output:
	// false <nil>
	// true <nil>
}

// A handler of SIGHUP, for example, can make the transport use new files at once.
func ExampleTransport_Recheck() {
	path, remove := tokens("9ae23f1c\n")
	defer remove()
	creds, err := tcp.Load(tcp.Files{Tokens: path})
	if err != nil {
		fmt.Println(err)
		return
	}
	tr := tcp.New(tcp.Config{Listen: "127.0.0.1:0", Credentials: creds})
	defer tr.Close()
	local := transport.Local{Cluster: "shop", Node: "b", Epoch: "e1", Logger: slog.New(slog.DiscardHandler)}
	if _, err := tr.Start(context.Background(), local, nil); err != nil {
		fmt.Println(err)
		return
	}
	os.WriteFile(path, []byte("07d4bb52\n"), 0o600)
	fmt.Println(tr.Recheck()) // links that were made with the former token have ended
	// Output: <nil>
}
