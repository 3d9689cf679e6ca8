package cli_test

import encoding "encoding/json"

// json reports whether a text is one JSON value.
func json(text string) bool { return encoding.Valid([]byte(text)) }
