package httpapi

import (
	"net/http"
	"strings"
)

// path is what the path of a request names.
type path struct {
	target, id, message string // id is empty where there is none
}

// pathOf returns what the mux has found in the path.
func pathOf(r *http.Request) path {
	return path{r.PathValue("target"), r.PathValue("id"), r.PathValue("message")}
}

// plainPath reads the path of a POST as the mux does, and needs no memory for that. ok is false if the mux has to look at it: if
// the path has parts that are empty, dots or escaped slashes, or is none of a message.
func plainPath(r *http.Request) (at path, ok bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/")
	if !ok || r.Method != http.MethodPost || r.URL.RawPath != "" {
		return path{}, false
	}
	target, rest, ok := strings.Cut(rest, "/")
	if !ok || target == own || !plainPart(target) {
		return path{}, false
	}
	id, message, many := strings.Cut(rest, "/")
	if !many {
		return path{target: target, message: rest}, plainPart(rest)
	}
	return path{target, id, message}, plainPart(id) && plainPart(message)
}

// plainPart reports whether the mux takes a part of a path as it is.
func plainPart(part string) bool {
	return part != "" && part != "." && part != ".." && !strings.Contains(part, "/")
}
