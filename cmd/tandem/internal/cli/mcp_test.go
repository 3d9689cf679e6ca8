package cli

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
)

// client is a client of the server of tools, for a node of its own.
func client(t *testing.T, operate bool) *mcp.ClientSession {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	sys, err := actor.NewSystem(actor.Config{Name: "till-1", Logger: quiet, Setup: func(sys *actor.System) error { return admin.Open(sys, admin.Config{Logger: quiet}) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
	a := &app{out: new(bytes.Buffer), err: new(bytes.Buffer), timeout: 5 * time.Second}
	here, there := mcp.NewInMemoryTransports()
	serving, err := a.mcpServer(admin.Of(sys), operate).Connect(t.Context(), there, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = serving.Close() })
	c, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func tools(t *testing.T, c *mcp.ClientSession) (names []string) {
	t.Helper()
	for tool, err := range c.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, tool.Name)
		if tool.Description == "" {
			t.Errorf("%s says nothing of what it is for", tool.Name)
		}
	}
	return names
}

func call(t *testing.T, c *mcp.ClientSession, name string, arguments map[string]any) (text string, failed bool) {
	t.Helper()
	r, err := c.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		return err.Error(), true
	}
	for _, part := range r.Content {
		if p, ok := part.(*mcp.TextContent); ok {
			text += p.Text
		}
	}
	return text, r.IsError
}

// Every question is a tool, and without --operate none changes anything or shows what messages say.
func TestTools(t *testing.T) {
	reader, operator := client(t, false), client(t, true)
	all, read := tools(t, operator), tools(t, reader)
	for _, m := range admin.Kind().Messages() {
		name := m.Type.Name()
		if !slices.Contains(all, name) {
			t.Errorf("%s is no tool", name)
		}
		right, _ := admin.RightFor(name)
		if slices.Contains(read, name) != (right == admin.ToRead) {
			t.Errorf("%s, for which one needs to %s, is a tool without --operate: %v", name, right, slices.Contains(read, name))
		}
	}
	if text, failed := call(t, reader, "Nodes", nil); failed || !strings.Contains(text, "till-1") {
		t.Error(text)
	}
	if text, failed := call(t, reader, "Actors", map[string]any{"node": "till-1", "Prefix": "adm"}); failed || !strings.Contains(text, `"Name":"admin"`) {
		t.Error(text)
	}
	if text, failed := call(t, reader, "QueueItems", map[string]any{"Queue": "x", "content": true}); !failed || !strings.Contains(text, "--operate") {
		t.Error(text)
	}
	if text, failed := call(t, reader, "StopActor", map[string]any{"Name": "admin"}); !failed {
		t.Error(text)
	}
	if text, failed := call(t, operator, "Actor", map[string]any{"Name": "nobody"}); !failed || !strings.Contains(text, "not found") {
		t.Error(text)
	}
	if text, failed := call(t, operator, "DiscardLetters", map[string]any{}); failed || !strings.Contains(text, `"Count":0`) {
		t.Error(text)
	}
}
