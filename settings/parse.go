package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/internal/strictjson"
	"github.com/tandem-go/tandem/rpc"
)

// Bounds of a document. One that is larger is refused.
const (
	MaxDocument = 256 << 10 // bytes
	MaxAuthor   = 128       // bytes of Document.Author
	MaxNote     = 1 << 10   // bytes of Document.Note
	MaxWeight   = 1_000_000 // of a version
	MaxVersions = 64        // of a service that have weights
)

// Document is the value of a section with who wrote it, as it is kept in a bucket:
//
//	{"author": "ann", "note": "the sale begins", "value": {"level": "debug"}}
type Document struct {
	Author string // who wrote it, as the writer says; required
	Note   string // why; may be empty
	Value  Value  // nil: the section is deleted
}

// Error says what is wrong with a document. It is wrapped by an *rpc.Error with the code Invalid or TooLarge,
// and the verdict NotRun.
type Error struct {
	Section Section
	Field   string // where in the document, as "value.rules[2].effect"; empty: it is about the whole document
	Err     error  // what is wrong
}

// Error says where it is, and what is wrong.
func (e *Error) Error() string {
	text := "settings: " + string(e.Section)
	if e.Field != "" {
		text += ": " + e.Field
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Why an author or a note is refused.
var (
	ErrNoAuthor = fmt.Errorf("want an author of 1 to %d bytes", MaxAuthor)
	ErrText     = errors.New("it is too long, or no text")
	ErrNoValue  = errors.New("there is no value")
	ErrTooLarge = fmt.Errorf("the document is larger than %d bytes", MaxDocument)
)

// refuse makes the error of a section.
func refuse(s Section, field string, err error) error {
	code := rpc.Invalid
	if errors.Is(err, ErrTooLarge) {
		code = rpc.TooLarge
	}
	return rpc.Errorf(code, rpc.NotRun, "%w", &Error{s, field, err})
}

// Parse decodes the document of a section, and checks it. The error is described at Error.
func Parse(s Section, data []byte) (Document, error) {
	if err := (Key{Section: s}).check(); err != nil {
		return Document{}, err
	}
	if len(data) > MaxDocument {
		return Document{}, refuse(s, "", ErrTooLarge)
	}
	var d Document
	var value json.RawMessage
	if err := strictjson.Object(data, map[string]any{"author": &d.Author, "note": &d.Note, "value": &value}); err != nil {
		return Document{}, refuse(s, fieldOf(err), err)
	}
	if err := d.checkTexts(s); err != nil {
		return Document{}, err
	}
	if value == nil {
		return Document{}, refuse(s, "value", ErrNoValue)
	}
	var err error
	d.Value, err = ParseValue(s, value)
	return d, err
}

// ParseValue decodes the value of a section, without its author. The error is described at Error.
func ParseValue(s Section, data []byte) (Value, error) {
	if len(data) > MaxDocument {
		return nil, refuse(s, "", ErrTooLarge)
	}
	var v Value
	var err error
	switch s {
	case LogSection:
		v, err = parseLog(data)
	case LimitsSection:
		var l Limits
		err = l.UnmarshalJSON(data)
		v = l
	case BreakersSection:
		v, err = parseBreakers(data)
	case RetrySection:
		v, err = parseRetry(data)
	case WeightsSection:
		v, err = parseWeights(data)
	case AccessSection:
		var a Access
		err = a.UnmarshalJSON(data)
		v = a
	default:
		return nil, Key{Section: s}.check()
	}
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return nil, refuse(s, fieldOf(&strictjson.Error{Name: "value", Err: err}), err)
	}
	return v, nil
}

// Encode returns the document as it is kept, which Parse takes. If it is wrong, the error is described at Error.
func (d Document) Encode(s Section) ([]byte, error) {
	if err := d.checkTexts(s); err != nil {
		return nil, err
	}
	form := struct {
		Author string          `json:"author"`
		Note   string          `json:"note,omitempty"`
		Value  json.RawMessage `json:"value,omitempty"`
	}{d.Author, d.Note, nil}
	if d.Value != nil {
		if d.Value.Section() != s {
			return nil, refuse(s, "value", fmt.Errorf("it is of section %s", d.Value.Section()))
		}
		err := d.Value.check()
		if err == nil {
			form.Value, err = d.Value.MarshalJSON()
		}
		if err != nil {
			return nil, refuse(s, fieldOf(&strictjson.Error{Name: "value", Err: err}), err)
		}
	}
	data, err := json.Marshal(form)
	if err == nil && len(data) > MaxDocument {
		err = ErrTooLarge
	}
	if err != nil {
		return nil, refuse(s, "", err)
	}
	return data, nil
}

// AuthorOf returns who wrote data, also if the value is wrong, or is that of a deletion; empty if it does not say.
func AuthorOf(data []byte) (author, note string) {
	if len(data) > MaxDocument {
		return "", ""
	}
	var d Document
	_ = strictjson.Each(data, func(name string, value json.RawMessage) error { // what is wrong with it is said by Parse
		switch name {
		case "author":
			return json.Unmarshal(value, &d.Author)
		case "note":
			return json.Unmarshal(value, &d.Note)
		}
		return nil
	})
	return cut(d.Author, MaxAuthor), cut(d.Note, MaxNote)
}

func (d Document) checkTexts(s Section) error {
	if d.Author == "" || len(d.Author) > MaxAuthor || !utf8.ValidString(d.Author) {
		return refuse(s, "author", ErrNoAuthor)
	}
	if len(d.Note) > MaxNote || !utf8.ValidString(d.Note) {
		return refuse(s, "note", ErrText)
	}
	return nil
}

// fieldOf returns where an error is, as far as the errors in it say so.
func fieldOf(err error) string {
	path := ""
	add := func(name string) {
		switch {
		case name == "":
		case path == "" || strings.HasPrefix(name, "["):
			path += name
		default:
			path += "." + name
		}
	}
	for err != nil {
		switch e := err.(type) {
		case *strictjson.Error:
			add(e.Name)
		case *access.FieldError:
			if e.Rule >= 0 {
				add(fmt.Sprintf("rules[%d]", e.Rule))
			}
			add(asJSON(e.Field))
			return path
		case *admission.FieldError:
			if e.Limit >= 0 {
				add(fmt.Sprintf("limits[%d]", e.Limit))
			}
			add(asJSON(e.Field))
			return path
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				err = all[0]
				continue
			}
		}
		err = errors.Unwrap(err)
	}
	return path
}

// asJSON returns the name in JSON of a field of a Go type.
func asJSON(field string) string {
	if field == "" {
		return ""
	}
	return strings.ToLower(field[:1]) + field[1:]
}

// equal reports whether two values of weights say the same of a service.
func (w Weights) equal(o Weights, service string) bool {
	a, ok := w[service]
	b, other := o[service]
	return ok == other && maps.Equal(a, b)
}
