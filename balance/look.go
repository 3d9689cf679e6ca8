package balance

import "time"

// Seen is what a Picker knows about an instance.
type Seen struct {
	Instance
	Outstanding int           // requests that it has not answered, and streams
	Latency     time.Duration // that a request takes there, smoothed; 0: not known
	Ejected     bool          // it gets no requests
	Probing     bool          // it gets one request, which decides whether it is ejected again
	Why         Why           // it was ejected, if it is Ejected or Probing
	Until       time.Duration // on the clock of now: when it is tried again at the earliest, if it is Ejected
}

// Look returns what is known about each instance, by node, actor and epoch.
func (p *Picker) Look() []Seen {
	all := make([]Seen, 0, len(p.whole.members))
	for _, c := range p.whole.members {
		s := Seen{Instance: c.Instance, Outstanding: c.out + c.held, Latency: time.Duration(c.service), Ejected: c.state == ejected, Probing: c.state == probation}
		if c.state != in {
			s.Why, s.Until = c.why, c.until
		}
		all = append(all, s)
	}
	return all
}
