package natsapi

import "testing"

// The id of an actor comes out of a subject as it went in, and what is no request's subject is refused.
func TestSubjects(t *testing.T) {
	for _, id := range []string{"7", "a.b", "a*b>c", "%41", "é", "-_~", "a/b?c d"} {
		token, got, err := tokens("tandem.api", "tandem.api.ann.account."+Escape(id)+".Deposit", true)
		if token != "ann" || got != id || err != nil {
			t.Errorf("%q: %q of %q, %v", id, got, token, err)
		}
	}
	if got := Escape("eu.ann"); got != "eu%2Eann" {
		t.Error(got)
	}
	for _, c := range []struct {
		subject string
		many    bool
	}{{"notes", false}, {"", false}, {"tandem.api", false}, {"tandem.apix.ann.desk.Who", false}, {"tandem.api.ann.desk.7.Who", false}, {"tandem.api.ann.desk.Who", true}, {"tandem.api.ann.desk.%.Who", true}} {
		if token, id, err := tokens("tandem.api", c.subject, c.many); err == nil {
			t.Errorf("%q: %q, %q", c.subject, token, id)
		}
	}
}
