package observed

import (
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	tandemotel "github.com/tandem-go/tandem/otel"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

const (
	rulesFile     = "../../deploy/prometheus/tandem.rules.yml"
	dashboardFile = "../../deploy/grafana/tandem.json"
)

func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return groups.Groups[0].Rules
}

// queries are the expressions of the dashboard, with values for its variables.
func queries(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		if p.Title == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %+v", p)
		}
		for _, q := range p.Targets {
			all = append(all, strings.NewReplacer("$node", ".*", "$__rate_interval", "1m").Replace(q.Expr))
		}
	}
	if len(all) < 20 {
		t.Fatal(len(all), "queries")
	}
	return all
}

// namedIn are the metrics that an expression names.
func namedIn(t *testing.T, expr string) (names []string) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			for _, m := range v.LabelMatchers {
				if m.Name == labels.MetricName {
					names = append(names, m.Value)
				}
			}
		}
		return nil
	})
	return names
}

// Each metric that a rule or a panel names is in a scrape over HTTP of three nodes that run, under that name and as what it is
// used; so is each one that the package lists.
func TestMetricsExist(t *testing.T) {
	c := newCluster(t, func(string) []transport.Transport {
		return []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}
	})
	defer c.close()
	c.traffic(t)
	there := map[string]*dto.MetricFamily{}
	for node, h := range c.serve {
		server := httptest.NewServer(h)
		defer server.Close()
		resp, err := http.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(node, resp.Status, err)
		}
		maps.Copy(there, parsed(t, string(text)))
	}
	exists := func(name string) bool {
		if there[name] != nil {
			return true
		}
		base, ok := strings.CutSuffix(name, "_bucket")
		return ok && there[base] != nil && there[base].GetType() == dto.MetricType_HISTOGRAM
	}
	var exprs []string
	for _, r := range rules(t) {
		exprs = append(exprs, r.Expr)
	}
	for _, expr := range append(exprs, queries(t)...) {
		for _, name := range namedIn(t, expr) {
			if !exists(name) {
				t.Errorf("no %s: %s", name, expr)
			}
		}
	}
	own := []string{}
	for name := range there {
		if strings.HasPrefix(name, "tandem_") {
			own = append(own, name)
		}
	}
	for _, m := range tandemotel.Metrics() {
		name := prometheusName(m)
		if !exists(name) {
			t.Errorf("no %s, which is %s; there are %v", name, m.Name, own)
		}
		own = slices.DeleteFunc(own, func(s string) bool { return s == name })
	}
	if len(own) > 0 {
		t.Errorf("not listed: %v", own)
	}
	if there["go_goroutines"] == nil || there["process_cpu_seconds_total"] == nil {
		t.Error("nothing of the runtime, or of the process")
	}
	name := regexp.MustCompile(`^tandem(_[a-z]+)+$`)
	for n, f := range there {
		if strings.HasPrefix(n, "tandem_") && (!name.MatchString(n) || f.GetHelp() == "") {
			t.Errorf("%s: help %q", n, f.GetHelp())
		}
	}
}

// prometheusName is the name of a metric as docs/metrics.md has it for Prometheus.
func prometheusName(m tandemotel.Metric) string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	switch m.Unit {
	case "s":
		name += "_seconds"
	case "By":
		name += "_bytes"
	}
	if m.Type == "counter" {
		name += "_total"
	}
	return name
}
