// Package sql is being written.
package sql
