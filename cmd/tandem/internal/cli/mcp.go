package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/gateway"
)

// mcp serves the Model Context Protocol on standard input and output: each question of package admin is a tool.
func (a *app) mcp() *cobra.Command {
	operate := false
	c := &cobra.Command{Use: "mcp", Short: "Serve what this program can see as tools of the Model Context Protocol, on standard input and output", Long: `mcp is started by a program that speaks the Model Context Protocol. Each question of package admin is a tool of its name.
Without --operate no tool changes anything, and what messages say is never shown.`,
		Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			cluster, err := a.asks()
			if err != nil {
				return err
			}
			return a.mcpServer(cluster, operate).Run(c.Context(), &mcp.StdioTransport{})
		}}
	c.Flags().BoolVar(&operate, "operate", false, "with the tools that change something, as far as the nodes let this user")
	return c
}

// mcpServer is the server of the tools.
func (a *app) mcpServer(cluster *admin.Cluster, operate bool) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "tandem", Version: version()}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "Nodes", Description: "Names of the nodes of the cluster. Ask this first.", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			names, err := cluster.Nodes(ctx)
			return nil, map[string]any{"Nodes": names}, err
		})
	for _, m := range admin.Kind().Messages() {
		name := m.Type.Name()
		right, ok := admin.RightFor(name)
		if !ok || right == admin.ToOperate && !operate {
			continue
		}
		schema, err := gateway.Schema(m.Type, true)
		if err != nil {
			continue // it has no form in JSON, which a test would see
		}
		destructive := right == admin.ToOperate
		s.AddTool(&mcp.Tool{Name: name, Description: about[name], InputSchema: withNode(schema), Annotations: &mcp.ToolAnnotations{ReadOnlyHint: !destructive, DestructiveHint: &destructive}},
			func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				return a.tool(ctx, cluster, name, r.Params.Arguments, operate)
			})
	}
	return s
}

// withNode adds the node that is asked to the schema of a question.
func withNode(schema json.RawMessage) any {
	var s map[string]any
	if json.Unmarshal(schema, &s) != nil || s == nil {
		s = map[string]any{"type": "object"}
	}
	props, _ := s["properties"].(map[string]any)
	if props == nil {
		props = map[string]any{}
	}
	props["node"] = map[string]any{"type": "string", "description": "name of the node that is asked; without it, any node"}
	s["properties"] = props
	delete(s, "required")
	return s
}

// tool asks one question.
func (a *app) tool(ctx context.Context, cluster *admin.Cluster, name string, arguments json.RawMessage, operate bool) (*mcp.CallToolResult, error) {
	fields := map[string]json.RawMessage{}
	if len(arguments) > 0 {
		if err := json.Unmarshal(arguments, &fields); err != nil {
			return nil, fmt.Errorf("arguments: %w", err)
		}
	}
	node := ""
	if n, ok := fields["node"]; ok {
		if err := json.Unmarshal(n, &node); err != nil {
			return nil, fmt.Errorf("node: %w", err)
		}
		delete(fields, "node")
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	var items admin.QueueItems
	if name == "QueueItems" && !operate && json.Unmarshal(body, &items) == nil && items.Content {
		return failed("what messages say is not shown without --operate"), nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	answer, err := cluster.AskJSON(ctx, node, name, body)
	if err != nil {
		return failed(text(err)), nil
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(answer)}}}, nil
}

func failed(why string) *mcp.CallToolResult {
	return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: why}}}
}

// about says what each tool is for.
var about = map[string]string{
	"Overview":       "All that is most worth knowing of one node: counters, peers, services, queues, the actors that have been busy for longest.",
	"Node":           "Version, start, memory and counters of one node.",
	"Members":        "The nodes that a node knows from the registry.",
	"Peers":          "The nodes that a node has links with: roads, round trips, requests that wait.",
	"Sessions":       "The sessions that other nodes have opened at a node.",
	"Services":       "Services, and what a node knows of their instances: latency, and which are left out and why.",
	"Actors":         "Actors of a node. By: busy (age of the oldest message), waiting, failed or name.",
	"Actor":          "One actor of a node, and what it does now.",
	"Jobs":           "Jobs that a node was given.",
	"Topics":         "What a node's actors have subscribed to.",
	"Queues":         "Queues that a node serves: how much waits, how old, dead items.",
	"QueueItems":     "The first items of a queue that wait, or the dead ones.",
	"Letters":        "Dead letters of a node: one-way messages that reached nobody, and why.",
	"Requests":       "Requests that a node remembers. Unusual: true lists those that had copies, replays or errors, or took long.",
	"Why":            "What became of a request, by its id, a key, a job's token or a trace id. Whole: true asks all nodes.",
	"Settings":       "Which settings are in force at a node.",
	"Events":         "What has happened at a node lately.",
	"Access":         "The access rules of a node.",
	"StopActor":      "End an actor.",
	"ResendLetters":  "Send dead letters again, all that match.",
	"DiscardLetters": "Remove dead letters, all that match.",
	"ManageQueue":    "Pause, resume or purge a queue, or cancel, revive or discard items of it.",
	"Invoke":         "Send a message to an actor.",
	"Job":            "Poll, await or cancel a job by its token.",
	"SetLevel":       "Set the least level of a node's log.",
}
