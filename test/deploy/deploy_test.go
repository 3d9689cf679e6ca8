package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/probe"
)

// lastWord is what the end of a node takes beyond ShutdownWait, at most.
const lastWord = 4 * time.Second

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The manifests have no field that Kubernetes does not know, they belong together, and a drain ends before the process is killed.
func TestKubernetes(t *testing.T) {
	docs := bytes.Split(read(t, "kubernetes.yaml"), []byte("\n---\n"))
	var service corev1.Service
	var budget policyv1.PodDisruptionBudget
	var set appsv1.StatefulSet
	into := []any{&service, &budget, &set}
	if len(docs) != len(into) {
		t.Fatalf("%d documents", len(docs))
	}
	for i, doc := range docs {
		if err := yaml.UnmarshalStrict(doc, into[i]); err != nil {
			t.Errorf("document %d: %v", i, err)
		}
		if err := yaml.UnmarshalStrict(append(doc, "\nspec2: {}"...), into[i]); err == nil { // planted: a field too many
			t.Errorf("document %d: an unknown field is taken", i)
		}
	}
	labels := set.Spec.Template.Labels
	for what, selector := range map[string]map[string]string{"Service": service.Spec.Selector, "PodDisruptionBudget": budget.Spec.Selector.MatchLabels, "StatefulSet": set.Spec.Selector.MatchLabels} {
		if len(selector) == 0 || selector["app"] != labels["app"] {
			t.Errorf("%s selects %v, pods have %v", what, selector, labels)
		}
	}
	if set.Spec.ServiceName != service.Name || service.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Error("the set has no headless service")
	}
	pod := set.Spec.Template.Spec
	c := pod.Containers[0]
	grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	sleep := time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	if least := sleep + actor.DefaultShutdown + lastWord; grace <= least {
		t.Errorf("killed after %v, and the drain takes up to %v", grace, least)
	}
	unready := time.Duration(c.ReadinessProbe.PeriodSeconds*c.ReadinessProbe.FailureThreshold) * time.Second
	if sleep < unready {
		t.Errorf("the drain begins after %v, and that it is not ready is seen after %v", sleep, unready)
	}
	paths := map[string]*corev1.Probe{"/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe}
	for path, p := range paths {
		if p.HTTPGet.Path != path || time.Duration(p.TimeoutSeconds)*time.Second <= probe.DefaultWait {
			t.Errorf("%s: %+v", path, p)
		}
	}
	ports := map[string]bool{}
	for _, p := range c.Ports {
		ports[p.Name] = true
	}
	for _, name := range []string{c.LivenessProbe.HTTPGet.Port.StrVal, service.Spec.Ports[0].TargetPort.StrVal} {
		if !ports[name] {
			t.Errorf("no port %q", name)
		}
	}
	if !*pod.SecurityContext.RunAsNonRoot || *c.SecurityContext.AllowPrivilegeEscalation || !*c.SecurityContext.ReadOnlyRootFilesystem {
		t.Error("it may too much")
	}
	known := string(program(t, "environment.go"))
	for _, e := range c.Env {
		if e.Name != "POD_IP" && e.Name != "GOMEMLIMIT" && !strings.Contains(known, `"`+e.Name+`"`) {
			t.Errorf("the program does not read %s", e.Name)
		}
	}
}

func program(t *testing.T, name string) []byte {
	t.Helper()
	return read(t, "../examples/service/"+name)
}

// The unit is one that systemd takes; it gives a drain its time, and does not start again after what another start does not mend.
func TestSystemd(t *testing.T) {
	unit := string(read(t, "prices@.service"))
	value := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(unit)
		if m == nil {
			t.Fatalf("no %s", name)
		}
		return m[1]
	}
	stop, err := strconv.Atoi(value("TimeoutStopSec"))
	if err != nil || time.Duration(stop)*time.Second <= actor.DefaultShutdown+lastWord {
		t.Errorf("killed after %d s: %v", stop, err)
	}
	if got, want := value("RestartPreventExitStatus"), strconv.Itoa(actor.ExitFenced)+" "+strconv.Itoa(actor.ExitConfig); got != want {
		t.Errorf("RestartPreventExitStatus=%s, want %s", got, want)
	}
	if value("Type") != "notify" || !strings.Contains(string(program(t, "notify.go")), "READY=1") {
		t.Error("the program does not say when it is ready")
	}
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("NOT CHECKED: systemd-analyze is not there")
		return
	}
	dir := t.TempDir()
	check := func(unit string) (string, error) {
		path := filepath.Join(dir, "prices@1.service")
		if err := os.WriteFile(path, []byte(strings.Replace(unit, "/usr/local/bin/prices", "/bin/true", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(verify, "verify", path).CombinedOutput()
		return string(out), err
	}
	if out, err := check(unit); err != nil || strings.Contains(out, "prices@1.service") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := check(strings.Replace(unit, "KillMode=mixed", "KillModus=mixed", 1)); err == nil && !strings.Contains(out, "KillModus") { // planted
		t.Error("a directive that there is not was not noticed")
	}
}

// What the Dockerfile builds is a static program, and it runs as nobody.
func TestDockerfile(t *testing.T) {
	file := string(read(t, "Dockerfile"))
	m := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0) go (build .*) -ldflags="([^"]*)" -o /service (\./examples/service)$`).FindStringSubmatch(file)
	if m == nil {
		t.Fatal("no line that builds the program")
	}
	path := filepath.Join(t.TempDir(), "service")
	cmd := exec.Command("go", append(strings.Fields(m[2]), "-ldflags="+m[3], "-o", path, m[4])...)
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), m[1])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, _ := exec.Command("ldd", path).CombinedOutput(); !strings.Contains(string(out), "not a dynamic executable") {
		t.Errorf("it is not static: %s", out)
	}
	for _, line := range []string{"USER 65532:65532", `ENTRYPOINT ["/service"]`} {
		if !strings.Contains(file, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(read(t, "../go.mod")))[1]
	if !strings.Contains(file, "FROM golang:"+version+" AS build") {
		t.Errorf("it is not built with Go %s", version)
	}
}
