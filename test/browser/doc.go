// Package browser has a real browser use the page of package httpapi on which messages can be tried.
package browser
