package stored

// AppendOutcome is how an activation stores the outcome of a request.
var AppendOutcome = appendOutcome
