// Package packaging_test holds deploy/ to the programs that read it: Compose's own reader,
// Kubernetes' own types, kube-score, systemd. It is a module of its own because those
// readers are large.
package packaging_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// settings are the variables that bff knows, from the golden of its help.
func settings(t *testing.T) map[string]bool {
	t.Helper()
	help, err := os.ReadFile(filepath.Join(root, "cmd/bff/testdata/serve.txt"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, word := range strings.FieldsFunc(string(help), func(r rune) bool { return r == '[' || r == ']' || r == '\n' || r == ' ' }) {
		if strings.HasPrefix(word, "BFF_") || strings.HasPrefix(word, "WZRD_") {
			known[word] = true
		}
	}
	if len(known) < 40 {
		t.Fatalf("serve.txt names %d variables", len(known))
	}
	return known
}

func TestCompose(t *testing.T) {
	known := settings(t)
	for file, replicas := range map[string]int{"compose.yaml": 1, "compose.cluster.yaml": 3} {
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{file, "bff.env.example"} {
				text, err := os.ReadFile(filepath.Join(root, "deploy", name))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(name, ".example")), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			options, err := cli.NewProjectOptions([]string{filepath.Join(dir, file)}, cli.WithWorkingDirectory(dir))
			if err != nil {
				t.Fatal(err)
			}
			project, err := options.LoadProject(context.Background())
			if err != nil {
				t.Fatalf("load %s: %v", file, err)
			}
			if len(project.Services) != replicas {
				t.Errorf("%s has %d services, want %d", file, len(project.Services), replicas)
			}
			volumes := map[string]bool{}
			for _, s := range project.Services {
				if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.Restart != "unless-stopped" || s.StopGracePeriod == nil {
					t.Errorf("%s: %s is not locked, restarted or given time to drain", file, s.Name)
				}
				for _, p := range s.Ports {
					if p.HostIP != "127.0.0.1" {
						t.Errorf("%s: %s publishes %s on %q, want loopback", file, s.Name, p.Published, p.HostIP)
					}
				}
				for _, v := range s.Volumes {
					volumes[v.Source] = true
				}
				given(t, known, s.Environment, s.Secrets)
			}
			if len(volumes) != replicas {
				t.Errorf("%s: %d replicas share %d folders", file, replicas, len(volumes))
			}
		})
	}
}

// given checks that a service's variables exist in bff, and each secret file is one of
// the service's secrets.
func given(t *testing.T, known map[string]bool, env types.MappingWithEquals, secrets []types.ServiceSecretConfig) {
	t.Helper()
	for name, value := range env {
		if !known[name] {
			t.Errorf("bff has no setting %s", name)
		}
		if value == nil || !strings.HasSuffix(name, "_FILE") {
			continue
		}
		if !slices.ContainsFunc(secrets, func(s types.ServiceSecretConfig) bool { return "/run/secrets/"+s.Source == *value }) {
			t.Errorf("%s: %s is none of the service's secrets", name, *value)
		}
	}
	for name := range known {
		if secret, ok := strings.CutSuffix(name, "_FILE"); ok && secret != "BFF_CLUSTER_SECRET" && env[name] == nil {
			t.Errorf("%s is not set", name)
		}
	}
}

// TestKubernetes decodes every document into Kubernetes' own types, unknown members refused.
func TestKubernetes(t *testing.T) {
	known := settings(t)
	for file, want := range map[string][]string{
		"common.yaml":        {"Namespace", "ConfigMap", "ServiceAccount", "Service", "Service", "NetworkPolicy"},
		"cluster.yaml":       {"Service", "PodDisruptionBudget", "StatefulSet"},
		"external-nats.yaml": {"PodDisruptionBudget", "Deployment"},
	} {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, "deploy/kubernetes", file))
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, doc := range strings.Split(string(text), "\n---\n") {
				var head struct {
					Kind     string `json:"kind"`
					Metadata struct {
						Namespace string `json:"namespace"`
					} `json:"metadata"`
				}
				if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
					t.Fatal(err)
				}
				kinds = append(kinds, head.Kind)
				if head.Kind != "Namespace" && head.Metadata.Namespace != "checkout" {
					t.Errorf("%s is in namespace %q", head.Kind, head.Metadata.Namespace)
				}
				var (
					settings corev1.ConfigMap
					set      appsv1.StatefulSet
					deploy   appsv1.Deployment
				)
				into, ok := map[string]any{
					"Namespace": &corev1.Namespace{}, "ConfigMap": &settings, "ServiceAccount": &corev1.ServiceAccount{},
					"Service": &corev1.Service{}, "NetworkPolicy": &networkingv1.NetworkPolicy{},
					"PodDisruptionBudget": &policyv1.PodDisruptionBudget{}, "StatefulSet": &set, "Deployment": &deploy,
				}[head.Kind]
				if !ok {
					t.Fatalf("%s is not expected", head.Kind)
				}
				if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
					t.Fatalf("%s: %v", head.Kind, err)
				}
				for name := range settings.Data {
					if !known[name] {
						t.Errorf("bff has no setting %s", name)
					}
				}
				switch head.Kind {
				case "StatefulSet":
					pod(t, known, set.Spec.Template.Spec)
				case "Deployment":
					pod(t, known, deploy.Spec.Template.Spec)
				}
			}
			if !slices.Equal(kinds, want) {
				t.Errorf("%s has %v, want %v", file, kinds, want)
			}
		})
	}
}

func pod(t *testing.T, known map[string]bool, spec corev1.PodSpec) {
	t.Helper()
	c := spec.Containers[0]
	if c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Port.StrVal != "private" {
		t.Error("the probes ask for something else than /readyz and /healthz of the private plane")
	}
	if *spec.TerminationGracePeriodSeconds <= 30 {
		t.Error("bff drains for up to 30 s")
	}
	for _, v := range c.Env {
		if !known[v.Name] {
			t.Errorf("bff has no setting %s", v.Name)
		}
	}
}

// TestKubeScore runs the linter: nothing critical, no warning.
func TestKubeScore(t *testing.T) {
	for _, way := range []string{"cluster.yaml", "external-nats.yaml"} {
		t.Run(way, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "go", "tool", "kube-score", "score", "--output-format", "ci",
				filepath.Join(root, "deploy/kubernetes/common.yaml"), filepath.Join(root, "deploy/kubernetes", way))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("kube-score: %v", err)
			}
			for line := range strings.Lines(string(out)) {
				if strings.HasPrefix(line, "[CRITICAL]") || strings.HasPrefix(line, "[WARNING]") {
					t.Error(strings.TrimSpace(line))
				}
			}
			if !bytes.Contains(out, []byte("[OK]")) {
				t.Errorf("kube-score said: %s", out)
			}
		})
	}
}

// TestUnit asks systemd about the unit, with a program in the place of bff.
func TestUnit(t *testing.T) {
	path := filepath.Join(root, "deploy/systemd/wzrdcheckout.service")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	known := settings(t)
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "#"), "Environment=")
		for _, pair := range strings.Fields(rest) {
			if name, _, _ := strings.Cut(pair, "="); ok && !known[name] {
				t.Errorf("bff has no setting %s", name)
			}
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("systemd-analyze is not there")
	}
	unit := filepath.Join(t.TempDir(), "wzrdcheckout.service")
	f, err := os.Create(unit)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(f, strings.Replace(string(text), "ExecStart=/usr/local/bin/bff", "ExecStart=/bin/true", 1))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// 0 is locked up, 10 is wide open; below 2 the unit may keep.
	if out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=yes", "--threshold=20", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
