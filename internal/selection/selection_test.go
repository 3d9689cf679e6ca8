package selection

import (
	"strings"
	"testing"
)

func TestConstraints(t *testing.T) {
	for _, row := range []struct{ text, canonical, yes, no string }{
		{"^2", "^2", "2.0.0 2.9.1 v2.1", "1.9.9 3.0.0 2.0.0-rc.1 blue"},
		{" ~1.4 ", "~1.4", "1.4.0 1.4.9", "1.5.0"},
		{">=1.2 <2", ">=1.2,<2", "1.2.0 1.99.0", "2.0.0 1.1.9"},
		{">= 1.2 , < 2", ">=1.2,<2", "1.2.0 1.99.0", "2.0.0"},
		{"2.x", "2.x", "2.0.0 2.7.1", "3.0.0 1.0.0"},
		{"1.2 - 1.4", ">=1.2,<=1.4", "1.2.0 1.3.9 1.4.7", "1.5.0 1.1.0"},
		{"^1 || ^3", "^1||^3", "1.0.0 3.1.0", "2.0.0"},
		{"1.2.3", "1.2.3", "1.2.3 v1.2.3", "1.2.4 1.2.3-rc1"},
		{"1.2", "1.2", "1.2.0 1.2.9", "1.3.0"},
		{"2.0.0-rc.1", "2.0.0-rc.1", "2.0.0-rc.1", "2.0.0 2.0.0-rc.2"},
		{">=2.0.0-0", ">=2.0.0-0", "2.0.0-rc.1 2.1.0 3.0.0", "1.9.0"},
		{"blue", "blue", "blue", "green 1.0.0"},
		{"=build-7", "=build-7", "build-7", "build-8"},
		{"*", "*", "0.1.0 7.0.0", "blue"},
		{"!=1.3.0", "!=1.3.0", "1.2.0", "1.3.0"},
	} {
		c, err := ParseConstraint(row.text)
		if err != nil {
			t.Errorf("%q: %v", row.text, err)
			continue
		}
		if c.String() != row.canonical {
			t.Errorf("%q became %q, want %q", row.text, c, row.canonical)
		}
		for v := range strings.FieldsSeq(row.yes) {
			if !c.Matches(v) {
				t.Errorf("%q does not match %s", row.text, v)
			}
		}
		for v := range strings.FieldsSeq(row.no) {
			if c.Matches(v) {
				t.Errorf("%q matches %s", row.text, v)
			}
		}
		if again, err := ParseConstraint(c.String()); err != nil || again.String() != c.String() {
			t.Errorf("%q: its form is read as %v, %v", row.text, again, err)
		}
	}
	for _, text := range []string{"", "  ", "^", "^^2", ">=blue", "=", "==blue", "^1,,", "||", "^1||", "blue green", "!blue", strings.Repeat("^1||", 40) + "^1"} {
		if c, err := ParseConstraint(text); err == nil {
			t.Errorf("%q was read as %v", text, c)
		}
	}
}

func TestSelections(t *testing.T) {
	for text, canonical := range map[string]string{
		"version=^2":                   "version=^2",
		"zone=eu&version=%5E2":         "version=^2&zone=eu",
		"version=>=1.2%20<2&prefer=eu": "version=>=1.2,<2&prefer=eu",
		"zone=a%20b%26c%40d%25":        "zone=a%20b%26c%40d%25",
		"zone=a=b":                     "zone=a=b",
		"zone=ü":                       "zone=ü",
		"version=1.0.0+build.7":        "version=1.0.0+build.7",
	} {
		s, err := Parse(text)
		if err != nil || s.String() != canonical {
			t.Errorf("%q: %q, %v; want %q", text, s, err, canonical)
		}
	}
	for text, want := range map[string]string{
		"": "key=value", "version": "key=value", "zone=%zz": "key=value", "zone=": "is empty", "version=": "is empty", "zone=a&zone=b": "given twice",
		"zone=a&prefer=b": "not both", "weight=1": "unknown key", "version=^^2": "no constraint", "zone=a&": "key=value",
		"zone=%00": "plain text", "zone=%ff": "plain text",
	} {
		if s, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want an error about %q", text, s, err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, row := range []struct {
		text, version, zone string
		want                bool
	}{
		{"version=^2&zone=eu", "2.1.0", "eu", true},
		{"version=^2&zone=eu", "2.1.0", "us", false},
		{"version=^2&zone=eu", "1.1.0", "eu", false},
		{"version=^2&prefer=eu", "2.1.0", "us", true},
		{"zone=eu", "", "eu", true},
		{"zone=eu", "", "", false},
	} {
		s, err := Parse(row.text)
		if got := s.Matches(row.version, row.zone); err != nil || got != row.want {
			t.Errorf("%s, version %q in zone %q: %v, %v", row.text, row.version, row.zone, got, err)
		}
	}
	if !(Selection{}).Matches("1", "eu") || (Selection{}).String() != "" {
		t.Error("the zero value does not select all")
	}
}

// What Parse reads has one canonical form, which means the same and can stand in an address.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"version=^2&zone=eu", "prefer=a%20b", "version=1.2 - 1.4||^3", "version=>= 1 , <2", "zone=%00%ff"} {
		f.Add(text, "1.2.3")
	}
	f.Fuzz(func(t *testing.T, text, version string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q became %q, which is read as %q, %v", text, s, again, err)
		}
		if strings.ContainsAny(s.String(), "@ \n\x00") {
			t.Fatalf("%q became %q", text, s)
		}
		if s.Matches(version, s.Zone) != again.Matches(version, s.Zone) {
			t.Fatalf("%q and %q differ about %q", text, s, version)
		}
	})
}
