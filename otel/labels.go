package tandemotel

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Other is the value of the labels of what Config.Series leaves no room for, and of messages whose types this node does not have.
const Other = "other"

// labels are those of one series.
type labels struct{ pattern, at, message, code, ran string }

// series are the label sets of one side, and how many there may be. A label set that was seen once keeps
// its series; a new one that comes when the table is full is counted under Other: with its own pattern, code and
// verdict, of which there are few. So there are at most size label sets, and those with Other.
type series struct {
	size int
	name attribute.Key // of the label that says at whom the messages are

	known sync.Map // labels → *recording
	mu    sync.Mutex
	count int // of those in known without Other
}

// recording is what one label set is recorded with.
type recording struct {
	count    metric.MeasurementOption // all labels
	duration metric.MeasurementOption // without code and verdict
}

// of returns what to record with.
func (s *series) of(l labels, node string) *recording {
	if r, ok := s.known.Load(l); ok {
		return r.(*recording)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.known.Load(l); ok {
		return r.(*recording)
	}
	if l.at != Other || l.message != Other {
		if s.count >= s.size {
			l.at, l.message = Other, Other
			if r, ok := s.known.Load(l); ok {
				return r.(*recording)
			}
		} else {
			s.count++
		}
	}
	base := []attribute.KeyValue{labelNode.String(node), labelPattern.String(l.pattern), s.name.String(l.at), labelMessage.String(l.message)}
	r := &recording{
		duration: metric.WithAttributeSet(attribute.NewSet(base...)),
		count:    metric.WithAttributeSet(attribute.NewSet(append(base, labelCode.String(l.code), labelRan.String(l.ran))...)),
	}
	s.known.Store(l, r)
	return r
}
